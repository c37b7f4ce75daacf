//! Encryption of the bytes that leave this machine. `docs/FORMAT.md` describes them.
//!
//! A library has one random master key, and a passphrase only wraps it (`wrap`). Each pack has its own
//! key, which is derived from the master key and the pack's id. A block's number can therefore serve as
//! its nonce (`block`). Objects of the log are sealed whole (`log`).

mod aead;
mod block;
mod log;
mod wrap;

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::model::PackId;
pub use block::Tag;
pub(super) use block::{BlockPlace, PackCipher};
pub(super) use log::{LogForm, log_form, open_log, seal_log};
pub use wrap::{KdfCost, Wrap, WrapError};

/// Contexts of BLAKE3's key derivation, one for each purpose. Frozen.
const PACK_CONTEXT: &str = "tgfs 2026-11-24 key of the blocks of one pack";
const LOG_KEY_CONTEXT: &str = "tgfs 2026-11-24 key of the objects of the log";
const LOG_NONCE_CONTEXT: &str = "tgfs 2026-11-24 nonces of the objects of the log";

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Bytes of a nonce of XChaCha20: long enough that random ones never collide.
const NONCE_BYTES: usize = 24;

/// The form in which packs and log are written. Objects that were written in another form before can still
/// be read; see [`super::EncryptedRemote`].
#[derive(Debug, Clone)]
pub enum Cipher {
    Plain,
    Keyed(MasterKey),
}

impl Cipher {
    /// Returns the cipher of the blocks of one pack; `None` without a key.
    pub(super) fn of_pack(&self, pack: PackId) -> Option<PackCipher> {
        match self {
            Self::Plain => None,
            Self::Keyed(key) => Some(PackCipher::new(key, pack)),
        }
    }
}

/// The key of a library. A clone is another reference. The bytes are overwritten when the last
/// reference is dropped, and are never printed.
#[derive(Clone)]
pub struct MasterKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl MasterKey {
    /// Makes a key from the system's random source.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self(Arc::new(bytes)))
    }

    /// Returns true if both are the same key.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.as_slice() == other.0.as_slice()
    }

    fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Arc::new(bytes))
    }

    /// Derives the key of one purpose and object.
    fn derive(&self, context: &str, object: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(self.0.as_slice()).update(object);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(********)")
    }
}

#[cfg(test)]
impl MasterKey {
    /// Returns a fixed key, for tests of stored bytes.
    pub(super) fn sample() -> Self {
        Self::from_bytes(Zeroizing::new([7; KEY_BYTES]))
    }
}

#[cfg(test)]
mod tests;
