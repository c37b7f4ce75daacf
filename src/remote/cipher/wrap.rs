//! The master key wrapped by a passphrase: Argon2id, then XChaCha20-Poly1305. The record is in the
//! library's mark and in each object of the log, readable by everybody.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::aead::Aead;
use super::{KEY_BYTES, MasterKey, NONCE_BYTES, TAG_BYTES};
use crate::codec::{self, CodecError, Kind, Record};

const SALT_BYTES: usize = 16;
/// Most memory that a wrap may ask for, in KiB: 1 GiB. The wrap comes from the remote and is not trusted.
const MAX_MEMORY_KIB: u32 = 1 << 20;
/// Most passes and lanes: about ten seconds with that much memory.
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// The cost of one guess of the passphrase, for us and for an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl KdfCost {
    /// RFC 9106's second recommendation (64 MiB, 3 passes) with one lane instead of four: our lanes are
    /// computed one after the other, so more lanes would only help an attacker, who computes them in
    /// parallel. It takes about an eighth of a second at each start and in each command without a
    /// daemon, and fits the smallest machine that can run a daemon.
    pub const STANDARD: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };
    /// No protection, for tests.
    pub const NONE: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
}

/// Version 1; frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WrapV1 {
    salt: [u8; SALT_BYTES],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    /// Number up to which objects of the log may be unencrypted, since they are older than the key.
    plain_until: u64,
    nonce: [u8; NONCE_BYTES],
    /// The master key, encrypted.
    sealed: [u8; KEY_BYTES],
    tag: [u8; TAG_BYTES],
}
impl Record for WrapV1 {
    const KIND: Kind = Kind::KeyWrap;
}

/// Reason why a wrap cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    #[error("it is not the passphrase of this library")]
    WrongPassphrase,
    #[error(
        "the library's key asks for {memory_mib} MiB of memory, {passes} passes and {lanes} lanes; at most 1024 MiB, {MAX_PASSES} and {MAX_LANES} are granted"
    )]
    TooCostly {
        memory_mib: u32,
        passes: u32,
        lanes: u32,
    },
    #[error("the passphrase cannot be worked on: {0}")]
    Derivation(argon2::Error),
    #[error("the system has no random numbers: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A wrapped master key. A new passphrase is a new wrap of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap(WrapV1);

impl Wrap {
    /// Wraps a key. Blocking: takes the time and memory that `cost` says.
    ///
    /// # Errors
    /// See [`WrapError`].
    pub fn seal(
        key: &MasterKey,
        passphrase: &[u8],
        cost: KdfCost,
        plain_until: u64,
    ) -> Result<Self, WrapError> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        getrandom::fill(&mut salt).map_err(WrapError::Random)?;
        getrandom::fill(&mut nonce).map_err(WrapError::Random)?;
        let mut record = WrapV1 {
            salt,
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
            plain_until,
            nonce,
            sealed: [0; KEY_BYTES],
            tag: [0; TAG_BYTES],
        };
        record.close(key, passphrase)?;
        Ok(Self(record))
    }

    /// Returns the key. Blocking, like [`Self::seal`].
    ///
    /// # Errors
    /// See [`WrapError`]; costs above the limits are refused before anything is allocated.
    pub fn open(&self, passphrase: &[u8]) -> Result<MasterKey, WrapError> {
        let record = &self.0;
        let aead = record.aead(passphrase)?;
        let mut key = Zeroizing::new(record.sealed);
        let associated = record.associated();
        aead.open(&record.nonce, &associated, key.as_mut_slice(), record.tag)
            .map_err(|_| WrapError::WrongPassphrase)?;
        Ok(MasterKey::from_bytes(key))
    }

    /// Returns the number up to which objects of the log may be unencrypted.
    #[must_use]
    pub fn plain_until(&self) -> u64 {
        self.0.plain_until
    }

    /// Decodes the stored bytes.
    ///
    /// # Errors
    /// When the bytes are no wrap, or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes).map(Self)
    }

    /// Returns the bytes to be stored.
    ///
    /// # Errors
    /// None: a wrap always has the same size.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(&self.0)
    }
}

impl WrapV1 {
    fn aead(&self, passphrase: &[u8]) -> Result<Aead, WrapError> {
        if self.memory_kib > MAX_MEMORY_KIB || self.passes > MAX_PASSES || self.lanes > MAX_LANES {
            return Err(WrapError::TooCostly {
                memory_mib: self.memory_kib / 1024,
                passes: self.passes,
                lanes: self.lanes,
            });
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES))
            .map_err(WrapError::Derivation)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &self.salt, key.as_mut_slice())
            .map_err(WrapError::Derivation)?;
        Ok(Aead::new(key))
    }

    fn close(&mut self, key: &MasterKey, passphrase: &[u8]) -> Result<(), WrapError> {
        let aead = self.aead(passphrase)?;
        let associated = self.associated();
        self.sealed = **key.0;
        let tag = aead.seal(&self.nonce, &associated, &mut self.sealed);
        // The only possible error is a length that 32 bytes do not have.
        self.tag = tag.map_err(|_| WrapError::WrongPassphrase)?;
        Ok(())
    }

    /// Returns the associated data: everything before the nonce, as it is stored.
    fn associated(&self) -> Vec<u8> {
        let numbers = [self.memory_kib, self.passes, self.lanes];
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        let mut aad = self.salt.to_vec();
        aad.extend(numbers);
        aad.extend(self.plain_until.to_le_bytes());
        aad
    }
}

#[cfg(test)]
impl Wrap {
    /// Returns a fixed wrap with the passphrase `correct horse`, for tests.
    pub(in crate::remote) fn sample() -> Self {
        let mut record = WrapV1 {
            salt: [1; SALT_BYTES],
            memory_kib: 8,
            passes: 1,
            lanes: 1,
            plain_until: 5,
            nonce: [2; NONCE_BYTES],
            sealed: [0; KEY_BYTES],
            tag: [0; TAG_BYTES],
        };
        record
            .close(&MasterKey::sample(), b"correct horse")
            .expect("cheap");
        Self(record)
    }

    /// Returns the wrap with other costs, as an attacker might write them.
    pub(in crate::remote) fn with_cost(mut self, cost: KdfCost) -> Self {
        self.0.memory_kib = cost.memory_kib;
        self.0.passes = cost.passes;
        self.0.lanes = cost.lanes;
        self
    }
}
