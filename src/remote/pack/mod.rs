//! The layout of a pack. `docs/FORMAT.md`:
//!
//! ```text
//! slices, one after the other | table (an envelope) | table length u64 LE | "tgfsPAK1"
//! ```
//! In an encrypted pack the slices are encrypted by blocks, without changing a length.

mod input;
mod meter;
mod table;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::cipher::{BlockPlace, Cipher, PackCipher};
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, Digest, PackId};
pub use input::PackInput;
use input::{PackInputs, intersect, positions};
pub use meter::SendMeter;
use table::{Checks, block_range};
pub use table::{PackError, PackTable};

/// Last bytes of each pack; the digit is the layout's version.
pub const PACK_MAGIC: [u8; 8] = *b"tgfsPAK1";
/// Bytes of the trailer: the length of the table, and the magic.
pub const TRAILER_BYTES: u64 = 16;

/// A pack with a fixed id, table and checks, whose data is still in the spool. A clone is another
/// reference to the same pack.
#[derive(Debug, Clone)]
pub struct SealedPack {
    pub id: PackId,
    body: Arc<PackBody>,
    meter: Arc<SendMeter>,
}

#[derive(Debug)]
struct PackBody {
    inputs: PackInputs,
    /// Table and trailer.
    tail: Bytes,
    table: PackTable,
    table_digest: Digest,
    /// `None` for a pack that is not encrypted.
    cipher: Option<PackCipher>,
}

impl SealedPack {
    /// Reads all inputs once, computes the table and chooses an id. Blocking.
    ///
    /// # Errors
    /// When an input cannot be read or is shorter than it should be.
    pub fn seal(inputs: Vec<PackInput>, cipher: &Cipher) -> io::Result<Self> {
        let id = PackId::random();
        let inputs = PackInputs::new(inputs);
        let count = inputs.len().div_ceil(BLOCK_BYTES);
        let count = u32::try_from(count).map_err(io::Error::other)?;
        let cipher = cipher.of_pack(id);
        let blocks = (0..count).map(BlockIndex);
        let checks = match &cipher {
            None => {
                let digest = |block| Ok(Digest::of(&read_block(&inputs, block)?));
                Checks::Digests(blocks.map(digest).collect::<io::Result<_>>()?)
            }
            Some(cipher) => {
                let tag = |block| {
                    let mut bytes = read_block(&inputs, block)?;
                    let place = BlockPlace { block, count };
                    cipher
                        .seal(place, &mut bytes)
                        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
                };
                Checks::Tags(blocks.map(tag).collect::<io::Result<_>>()?)
            }
        };
        let table = PackTable::new(id, inputs.lens(), checks).map_err(io::Error::other)?;
        let (tail, table_digest) = tail_of(&table).map_err(io::Error::other)?;
        let body = PackBody {
            inputs,
            tail,
            table,
            table_digest,
            cipher,
        };
        Ok(Self {
            id,
            body: Arc::new(body),
            meter: Arc::default(),
        })
    }

    /// Replaces the meter of the pack.
    #[must_use]
    pub fn measured_by(self, meter: Arc<SendMeter>) -> Self {
        Self { meter, ..self }
    }

    /// Returns the meter, to which stores tell the bytes that they have.
    #[must_use]
    pub fn meter(&self) -> &SendMeter {
        &self.meter
    }

    /// Returns the bytes of all slices.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.body.inputs.len()
    }
    /// Returns the bytes of the whole pack.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.data_len() + self.body.tail.len() as u64
    }
    #[must_use]
    /// Returns the digest of the table.
    pub fn table_digest(&self) -> Digest {
        self.body.table_digest
    }
    #[must_use]
    /// Returns the table.
    pub fn table(&self) -> &PackTable {
        &self.body.table
    }
    /// Returns the offset of each input in the pack, in order.
    #[must_use]
    pub fn slice_offsets(&self) -> Vec<u64> {
        self.body.inputs.offsets()
    }

    /// Returns exactly the stored bytes of `range`. Blocking. Whole blocks of an encrypted pack are read,
    /// regardless of the range.
    ///
    /// # Errors
    /// When the range passes the pack's end, or an input cannot be read. `InvalidData` when an input of
    /// an encrypted pack has changed.
    pub fn read(&self, range: ByteRange) -> io::Result<Bytes> {
        if range.end() > self.len() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the range passes the end of the pack",
            ));
        }
        let data = ByteRange::new(0, self.data_len());
        let mut bytes = match (intersect(data, range), &self.body.cipher) {
            (None, _) => Vec::new(),
            (Some(part), None) => self.body.inputs.read(part)?,
            (Some(part), Some(cipher)) => self.read_encrypted(cipher, part)?,
        };
        let tail = ByteRange::new(data.len, self.body.tail.len() as u64);
        if let Some(common) = intersect(tail, range) {
            bytes.extend_from_slice(&self.body.tail[positions(common, tail)?]);
        }
        Ok(bytes.into())
    }

    fn read_encrypted(&self, cipher: &PackCipher, part: ByteRange) -> io::Result<Vec<u8>> {
        let blocks = part.offset / BLOCK_BYTES..part.end().div_ceil(BLOCK_BYTES);
        let mut bytes = Vec::with_capacity(usize::try_from(part.len).map_err(io::Error::other)?);
        for block in blocks {
            let block = BlockIndex(u32::try_from(block).map_err(io::Error::other)?);
            let stored = self.encrypted_block(cipher, block)?;
            let whole = ByteRange::new(u64::from(block.0) * BLOCK_BYTES, stored.len() as u64);
            if let Some(common) = intersect(whole, part) {
                bytes.extend_from_slice(&stored[positions(common, whole)?]);
            }
        }
        Ok(bytes)
    }

    /// Encrypts a block. A block that changed after the pack was sealed is an error: its nonce would be
    /// used for two plaintexts, and both ciphertexts together would reveal their difference.
    fn encrypted_block(&self, cipher: &PackCipher, block: BlockIndex) -> io::Result<Vec<u8>> {
        let mut bytes = read_block(&self.body.inputs, block)?;
        let count = self.body.table.block_count();
        let tag = cipher.seal(BlockPlace { block, count }, &mut bytes).ok();
        if tag.is_some() && tag.as_ref() == self.body.table.tag(block) {
            return Ok(bytes);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "block {} of pack {} changed in the spool after it was sealed",
                block.0, self.id
            ),
        ))
    }

    /// Writes the pack's stored bytes from start to end, and tells its meter. Blocking.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn copy_to(&self, output: &mut impl io::Write) -> io::Result<()> {
        match &self.body.cipher {
            None => self.body.inputs.copy_to(output, &self.meter)?,
            Some(cipher) => {
                for block in 0..self.body.table.block_count() {
                    output.write_all(&self.encrypted_block(cipher, BlockIndex(block))?)?;
                    let done = u64::from(block + 1) * BLOCK_BYTES;
                    self.meter.reach(done.min(self.data_len()));
                }
            }
        }
        output.write_all(&self.body.tail)?;
        self.meter.reach(self.len());
        Ok(())
    }
}

/// Returns the table and trailer of a pack, and the digest of the table.
fn tail_of(table: &PackTable) -> Result<(Bytes, Digest), PackError> {
    let mut tail = table.encode()?;
    let digest = Digest::of(&tail);
    let table_len = tail.len() as u64;
    tail.extend_from_slice(&table_len.to_le_bytes());
    tail.extend_from_slice(&PACK_MAGIC);
    Ok((tail.into(), digest))
}

/// Returns the table and trailer of an adopted file (one slice, not encrypted), and the digest of the
/// table.
///
/// # Errors
/// When there is not one digest for each block.
pub fn tail_of_plain(
    id: PackId,
    data_len: u64,
    blocks: Vec<Digest>,
) -> Result<(Bytes, Digest), PackError> {
    let table = PackTable::new(id, vec![data_len], Checks::Digests(blocks))?;
    tail_of(&table)
}

fn read_block(inputs: &PackInputs, block: BlockIndex) -> io::Result<Vec<u8>> {
    let range = block_range(inputs.len(), block).ok_or(io::ErrorKind::UnexpectedEof)?;
    inputs.read(range)
}
