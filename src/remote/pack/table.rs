//! A pack's table: its slices, and the check of each block.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Kind, Record};
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, Digest, PackId};
use crate::remote::cipher::{BlockPlace, Cipher, Tag};

/// Version 1 of the table, of a pack that is not encrypted; frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TableV1 {
    pack: PackId,
    /// Lengths of the slices, in order from offset 0.
    slices: Vec<u64>,
    /// BLAKE3 of each block of the data; the last block may be shorter.
    blocks: Vec<Digest>,
}
impl Record for TableV1 {
    const KIND: Kind = Kind::PackTable;
}

/// Version 2 of the table, of an encrypted pack; frozen. Both versions are still written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TableV2 {
    pack: PackId,
    /// Lengths of the slices, in order from offset 0.
    slices: Vec<u64>,
    /// Tag of each block. The ciphertext is as long as the data.
    blocks: Vec<Tag>,
}
impl Record for TableV2 {
    const KIND: Kind = Kind::PackTable;
    const SCHEMA: u16 = 2;
}

/// The checks of the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checks {
    Digests(Vec<Digest>),
    Tags(Vec<Tag>),
}

impl Checks {
    fn len(&self) -> usize {
        match self {
            Self::Digests(digests) => digests.len(),
            Self::Tags(tags) => tags.len(),
        }
    }
}

/// Reason why bytes are not the expected block or table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("the table of pack {0} is not the one that was stored")]
    WrongTable(PackId),
    #[error("block {} of pack {pack} is not what was stored", block.0)]
    WrongBlock { pack: PackId, block: BlockIndex },
    #[error("pack {pack} has no block {}", block.0)]
    NoSuchBlock { pack: PackId, block: BlockIndex },
    #[error("the table does not fit the pack's length")]
    Inconsistent,
    /// The key of the pack is missing. Nothing is wrong with the pack.
    #[error("pack {0} is encrypted: set TGFS_PASSPHRASE")]
    NeedsKey(PackId),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Slices and block checks of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackTable {
    pack: PackId,
    slices: Vec<u64>,
    checks: Checks,
    data_len: u64,
}

impl PackTable {
    /// # Errors
    /// When there is not one check for each block.
    pub(super) fn new(pack: PackId, slices: Vec<u64>, checks: Checks) -> Result<Self, PackError> {
        let data_len = slices
            .iter()
            .try_fold(0_u64, |sum, len| sum.checked_add(*len))
            .ok_or(PackError::Inconsistent)?;
        if checks.len() as u64 != data_len.div_ceil(BLOCK_BYTES) {
            return Err(PackError::Inconsistent);
        }
        Ok(Self {
            pack,
            slices,
            checks,
            data_len,
        })
    }

    /// Decodes a table (without the trailer) and checks that it is consistent.
    ///
    /// # Errors
    /// See [`PackError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PackError> {
        match codec::decode::<TableV2>(bytes) {
            Ok(table) => Self::new(table.pack, table.slices, Checks::Tags(table.blocks)),
            Err(CodecError::UnknownVersion { found: 1, .. }) => {
                let table: TableV1 = codec::decode(bytes)?;
                Self::new(table.pack, table.slices, Checks::Digests(table.blocks))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the bytes that [`Self::decode`] reads, for the cache of tables.
    ///
    /// # Errors
    /// None for a table that was decoded or sealed.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let (pack, slices) = (self.pack, self.slices.clone());
        match &self.checks {
            Checks::Digests(blocks) => codec::encode(&TableV1 {
                pack,
                slices,
                blocks: blocks.clone(),
            }),
            Checks::Tags(blocks) => codec::encode(&TableV2 {
                pack,
                slices,
                blocks: blocks.clone(),
            }),
        }
    }

    /// Returns the pack's id.
    #[must_use]
    pub fn pack(&self) -> PackId {
        self.pack
    }
    /// Returns the bytes of all slices.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.data_len
    }
    /// Returns the lengths of the slices, in order from offset 0.
    #[must_use]
    pub fn slices(&self) -> &[u64] {
        &self.slices
    }
    /// Returns the number of blocks.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        u32::try_from(self.checks.len()).unwrap_or(u32::MAX)
    }
    /// Tells whether the blocks are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.checks, Checks::Tags(_))
    }

    /// Returns the range of a block in the pack; `None` after the last one.
    #[must_use]
    pub fn block_range(&self, block: BlockIndex) -> Option<ByteRange> {
        block_range(self.data_len, block)
    }

    pub(super) fn tag(&self, block: BlockIndex) -> Option<&Tag> {
        match &self.checks {
            Checks::Digests(_) => None,
            Checks::Tags(tags) => tags.get(block.0 as usize),
        }
    }

    /// Checks the stored bytes of a block and returns its plain bytes.
    ///
    /// # Errors
    /// When `stored` is not the block; [`PackError::NeedsKey`] when the key to tell is missing.
    pub fn open_block(
        &self,
        block: BlockIndex,
        stored: Bytes,
        cipher: &Cipher,
    ) -> Result<Bytes, PackError> {
        let pack = self.pack;
        let at = block.0 as usize;
        let missing = PackError::NoSuchBlock { pack, block };
        let wrong = PackError::WrongBlock { pack, block };
        match &self.checks {
            Checks::Digests(digests) => {
                let digest = digests.get(at).ok_or(missing)?;
                if *digest == Digest::of(&stored) {
                    Ok(stored)
                } else {
                    Err(wrong)
                }
            }
            Checks::Tags(tags) => {
                let tag = *tags.get(at).ok_or(missing)?;
                let cipher = cipher.of_pack(pack).ok_or(PackError::NeedsKey(pack))?;
                let place = BlockPlace {
                    block,
                    count: self.block_count(),
                };
                // The bytes are decrypted in place when nobody else holds them, as after a fetch.
                let mut bytes = stored
                    .try_into_mut()
                    .unwrap_or_else(|shared| (&shared[..]).into());
                cipher.open(place, &mut bytes, tag).map_err(|_| wrong)?;
                Ok(bytes.freeze())
            }
        }
    }
}

/// Encryption of a block, the inverse of opening it.
impl PackTable {
    /// Returns the stored bytes of a block from its plain bytes.
    ///
    /// # Errors
    /// When `plain` is not the block; [`PackError::NeedsKey`] without the key.
    pub fn stored_block(
        &self,
        block: BlockIndex,
        plain: Bytes,
        cipher: &Cipher,
    ) -> Result<Bytes, PackError> {
        let Some(tag) = self.tag(block) else {
            return self.open_block(block, plain, cipher);
        };
        let pack = self.pack;
        let cipher = cipher.of_pack(pack).ok_or(PackError::NeedsKey(pack))?;
        let count = self.block_count();
        let mut bytes = plain.to_vec();
        match cipher.seal(BlockPlace { block, count }, &mut bytes) {
            Ok(sealed) if sealed == *tag => Ok(bytes.into()),
            _ => Err(PackError::WrongBlock { pack, block }),
        }
    }
}

pub(super) fn block_range(data_len: u64, block: BlockIndex) -> Option<ByteRange> {
    let offset = u64::from(block.0) * BLOCK_BYTES;
    (offset < data_len).then(|| ByteRange::new(offset, BLOCK_BYTES.min(data_len - offset)))
}

#[cfg(test)]
impl PackTable {
    /// Returns two fixed tables, for tests of stored bytes.
    pub(in crate::remote) fn samples() -> [Self; 2] {
        [
            Checks::Digests(vec![Digest([2; 32])]),
            Checks::Tags(vec![Tag([3; 16])]),
        ]
        .map(|checks| Self {
            pack: PackId::from_bytes([1; 16]),
            slices: vec![3, 0, 5],
            checks,
            data_len: 8,
        })
    }
}
