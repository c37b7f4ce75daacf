//! Blocks of packs: ciphertext as long as the block, so that offsets stay aligned; the tag goes into
//! the pack's table.

use chacha20poly1305::{AeadInPlace, KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use super::{MasterKey, NONCE_BYTES, PACK_CONTEXT, TAG_BYTES};
use crate::model::{BlockIndex, PackId};

/// Pack id, block, count and length.
const AAD_BYTES: usize = 16 + 4 + 4 + 4;

/// Poly1305's tag of a block: what is not the block that was stored has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag(pub [u8; TAG_BYTES]);

/// Which block of how many.
#[derive(Debug, Clone, Copy)]
pub struct BlockPlace {
    pub block: BlockIndex,
    pub count: u32,
}

/// The bytes are not what was sealed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongBytes;

/// The key of one pack. A pack's id is random and stands for one composition for good, so a key and
/// a nonce never meet two plaintexts as long as each block is compared with its tag before it is
/// sent; [`super::super::SealedPack`] does.
#[derive(Clone)]
pub struct PackCipher {
    pack: PackId,
    aead: XChaCha20Poly1305,
}

impl std::fmt::Debug for PackCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackCipher({})", self.pack)
    }
}

impl PackCipher {
    pub(super) fn new(key: &MasterKey, pack: PackId) -> Self {
        let key = key.derive(PACK_CONTEXT, pack.as_bytes());
        Self {
            pack,
            aead: XChaCha20Poly1305::new((&*key).into()),
        }
    }

    /// Encrypts a block in place.
    ///
    /// # Errors
    /// Never for a block: only bytes beyond ChaCha20's 256 GiB cannot be sealed.
    pub fn seal(&self, place: BlockPlace, bytes: &mut [u8]) -> Result<Tag, WrongBytes> {
        let aad = self.associated(place, bytes.len());
        self.aead
            .encrypt_in_place_detached(&nonce(place.block), &aad, bytes)
            .map(|tag| Tag(tag.into()))
            .map_err(|_| WrongBytes)
    }

    /// Decrypts a block in place once its tag was found right; else the bytes stay as they are.
    ///
    /// # Errors
    /// [`WrongBytes`].
    pub fn open(&self, place: BlockPlace, bytes: &mut [u8], tag: &Tag) -> Result<(), WrongBytes> {
        let aad = self.associated(place, bytes.len());
        self.aead
            .decrypt_in_place_detached(&nonce(place.block), &aad, bytes, (&tag.0).into())
            .map_err(|_| WrongBytes)
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

/// The block's number, little endian, then zeros.
fn nonce(block: BlockIndex) -> XNonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..4].copy_from_slice(&block.0.to_le_bytes());
    nonce.into()
}
