//! Encryption of blocks. The ciphertext is as long as the block, so offsets stay aligned. The tag
//! goes into the pack's table.

use serde::{Deserialize, Serialize};

use super::aead::{Aead, WrongBytes};
use super::{MasterKey, NONCE_BYTES, PACK_CONTEXT, TAG_BYTES};
use crate::model::{BlockIndex, PackId};

/// Bytes of the associated data: pack id, block, number of blocks, length.
const AAD_BYTES: usize = 16 + 4 + 4 + 4;

/// Poly1305's tag of a block, which any other bytes fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag(pub [u8; TAG_BYTES]);

/// The number of a block, and the number of blocks in its pack.
#[derive(Debug, Clone, Copy)]
pub struct BlockPlace {
    pub block: BlockIndex,
    pub count: u32,
}

/// The key of one pack. A pack's id is random and names one composition for ever, so a key and nonce
/// are used for one plaintext only, provided that each block is compared with its tag before it is
/// sent; [`super::super::SealedPack`] does that.
#[derive(Clone)]
pub struct PackCipher {
    pack: PackId,
    aead: Aead,
}

impl std::fmt::Debug for PackCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackCipher({})", self.pack)
    }
}

impl PackCipher {
    pub(super) fn new(key: &MasterKey, pack: PackId) -> Self {
        Self {
            pack,
            aead: Aead::new(key.derive(PACK_CONTEXT, pack.as_bytes())),
        }
    }

    /// Encrypts a block in place.
    ///
    /// # Errors
    /// Never for a block: see [`WrongBytes`].
    pub fn seal(&self, place: BlockPlace, bytes: &mut [u8]) -> Result<Tag, WrongBytes> {
        let associated = self.associated(place, bytes.len());
        self.aead
            .seal(&nonce(place.block), &associated, bytes)
            .map(Tag)
    }

    /// Decrypts a block in place.
    ///
    /// # Errors
    /// [`WrongBytes`].
    pub fn open(&self, place: BlockPlace, bytes: &mut [u8], tag: Tag) -> Result<(), WrongBytes> {
        let associated = self.associated(place, bytes.len());
        self.aead
            .open(&nonce(place.block), &associated, bytes, tag.0)
    }

    fn associated(&self, place: BlockPlace, len: usize) -> [u8; AAD_BYTES] {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let mut aad = [0; AAD_BYTES];
        aad[..16].copy_from_slice(self.pack.as_bytes());
        aad[16..20].copy_from_slice(&place.block.0.to_le_bytes());
        aad[20..24].copy_from_slice(&place.count.to_le_bytes());
        aad[24..].copy_from_slice(&len.to_le_bytes());
        aad
    }
}

/// Returns the nonce of a block: its number, little endian, then zeros.
fn nonce(block: BlockIndex) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..4].copy_from_slice(&block.0.to_le_bytes());
    nonce
}
