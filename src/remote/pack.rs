//! The layout of a pack. `docs/FORMAT.md`:
//!
//! ```text
//! slices, one behind the other | table (an envelope) | table length u64 LE | "tgfsPAK1"
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Kind, Record};
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, Digest, PackId};

/// Last bytes of each pack; the digit is the layout's version.
pub const PACK_MAGIC: [u8; 8] = *b"tgfsPAK1";
/// Length of the table, and the magic.
pub const TRAILER_BYTES: u64 = 16;

/// Version 1 of the table; frozen.
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

/// One run of bytes that goes into a pack.
#[derive(Debug, Clone)]
pub struct PackInput {
    pub path: PathBuf,
    pub offset: u64,
    pub len: u64,
}

/// A pack whose id, table and digests are fixed; its data is still read from the spool. A clone
/// is another reference to the same pack.
#[derive(Debug, Clone)]
pub struct SealedPack {
    pub id: PackId,
    body: Arc<Body>,
}

#[derive(Debug)]
struct Body {
    inputs: Vec<PackInput>,
    data_len: u64,
    /// Table and trailer.
    tail: Bytes,
    table: PackTable,
    table_digest: Digest,
}

impl SealedPack {
    /// Reads all inputs once and computes the table. Blocking.
    ///
    /// # Errors
    /// When an input cannot be read or is shorter than it should be.
    pub fn seal(inputs: Vec<PackInput>) -> io::Result<Self> {
        let id = PackId::random();
        let mut digests = Vec::new();
        let mut hasher = blake3::Hasher::new();
        let mut in_block = 0;
        let mut data_len = 0;
        let mut buffer = vec![0; 128 * 1024];
        for input in &inputs {
            let mut left = input.len;
            let mut at = input.offset;
            let file = open(input)?;
            while left > 0 {
                let room = (BLOCK_BYTES - in_block).min(left).min(buffer.len() as u64);
                let part = &mut buffer[..usize::try_from(room).map_err(io::Error::other)?];
                file.read_exact_at(part, at)?;
                hasher.update(part);
                in_block += room;
                at += room;
                left -= room;
                if in_block == BLOCK_BYTES {
                    digests.push(Digest(*hasher.finalize().as_bytes()));
                    hasher.reset();
                    in_block = 0;
                }
            }
            data_len += input.len;
        }
        if in_block > 0 {
            digests.push(Digest(*hasher.finalize().as_bytes()));
        }
        let record = TableV1 {
            pack: id,
            slices: inputs.iter().map(|input| input.len).collect(),
            blocks: digests,
        };
        let table = codec::encode(&record).map_err(io::Error::other)?;
        let table_digest = Digest::of(&table);
        let mut tail = table;
        let table_len = tail.len() as u64;
        tail.extend_from_slice(&table_len.to_le_bytes());
        tail.extend_from_slice(&PACK_MAGIC);
        let body = Body {
            inputs,
            data_len,
            tail: tail.into(),
            table: PackTable { record, data_len },
            table_digest,
        };
        Ok(Self {
            id,
            body: Arc::new(body),
        })
    }

    /// Bytes of all slices.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.body.data_len
    }
    /// Bytes of the whole pack.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.body.data_len + self.body.tail.len() as u64
    }
    #[must_use]
    pub fn table_digest(&self) -> Digest {
        self.body.table_digest
    }
    #[must_use]
    pub fn table(&self) -> &PackTable {
        &self.body.table
    }
    /// Where each input begins in the pack, in order.
    #[must_use]
    pub fn slice_offsets(&self) -> Vec<u64> {
        let mut at = 0;
        let next = self.body.inputs.iter().map(|input| {
            let offset = at;
            at += input.len;
            offset
        });
        next.collect()
    }

    /// Exactly the bytes of `range`. Blocking.
    ///
    /// # Errors
    /// When the range passes the pack's end or an input cannot be read.
    pub fn read(&self, range: ByteRange) -> io::Result<Bytes> {
        if range.end() > self.len() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the range passes the end of the pack",
            ));
        }
        let len = usize::try_from(range.len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        let mut start = 0;
        for input in &self.body.inputs {
            let slice = ByteRange::new(start, input.len);
            if let Some(common) = intersect(slice, range) {
                let target = target_range(common, range)?;
                let from = input.offset + (common.offset - start);
                open(input)?.read_exact_at(&mut bytes[target], from)?;
            }
            start += input.len;
        }
        let tail = ByteRange::new(start, self.body.tail.len() as u64);
        if let Some(common) = intersect(tail, range) {
            let target = target_range(common, range)?;
            let source = target_range(common, tail)?;
            bytes[target].copy_from_slice(&self.body.tail[source]);
        }
        Ok(bytes.into())
    }

    /// The pack's bytes from start to end. Blocking.
    ///
    /// # Errors
    /// When an input cannot be read.
    pub fn copy_to(&self, output: &mut impl io::Write) -> io::Result<()> {
        for input in &self.body.inputs {
            let mut file = open(input)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(input.offset))?;
            let copied = io::copy(&mut file.take(input.len), output)?;
            if copied != input.len {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{} is shorter than it was", input.path.display()),
                ));
            }
        }
        output.write_all(&self.body.tail)
    }
}

fn open(input: &PackInput) -> io::Result<File> {
    File::open(&input.path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", input.path.display())))
}

fn intersect(a: ByteRange, b: ByteRange) -> Option<ByteRange> {
    let start = a.offset.max(b.offset);
    let end = a.end().min(b.end());
    (start < end).then(|| ByteRange::new(start, end - start))
}

/// `part` as positions in a buffer that holds `whole`.
fn target_range(part: ByteRange, whole: ByteRange) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(part.offset - whole.offset).map_err(io::Error::other)?;
    let len = usize::try_from(part.len).map_err(io::Error::other)?;
    Ok(start..start + len)
}

/// Why bytes are not the block, or the table, that was asked for.
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
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Slices and block digests of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackTable {
    record: TableV1,
    data_len: u64,
}

impl PackTable {
    /// Reads a table (without the trailer) and checks that it is consistent in itself.
    ///
    /// # Errors
    /// See [`PackError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PackError> {
        let record: TableV1 = codec::decode(bytes)?;
        let data_len = record
            .slices
            .iter()
            .try_fold(0_u64, |sum, len| sum.checked_add(*len))
            .ok_or(PackError::Inconsistent)?;
        if record.blocks.len() as u64 != data_len.div_ceil(BLOCK_BYTES) {
            return Err(PackError::Inconsistent);
        }
        Ok(Self { record, data_len })
    }

    /// The bytes that [`Self::decode`] reads: for a cache of tables.
    ///
    /// # Errors
    /// None for a table that was decoded or sealed.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(&self.record)
    }

    #[must_use]
    pub fn pack(&self) -> PackId {
        self.record.pack
    }
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.data_len
    }
    /// Lengths of the slices, in order from offset 0.
    #[must_use]
    pub fn slices(&self) -> &[u64] {
        &self.record.slices
    }
    #[must_use]
    pub fn block_count(&self) -> u32 {
        u32::try_from(self.record.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Where a block stands in the pack; `None` behind the last one.
    #[must_use]
    pub fn block_range(&self, block: BlockIndex) -> Option<ByteRange> {
        let offset = u64::from(block.0) * BLOCK_BYTES;
        (offset < self.data_len)
            .then(|| ByteRange::new(offset, BLOCK_BYTES.min(self.data_len - offset)))
    }

    /// # Errors
    /// When `bytes` are not the block's bytes.
    pub fn check_block(&self, block: BlockIndex, bytes: &[u8]) -> Result<(), PackError> {
        let pack = self.record.pack;
        let digest = self
            .record
            .blocks
            .get(block.0 as usize)
            .ok_or(PackError::NoSuchBlock { pack, block })?;
        if *digest == Digest::of(bytes) {
            Ok(())
        } else {
            Err(PackError::WrongBlock { pack, block })
        }
    }
}

#[cfg(test)]
impl PackTable {
    /// The same in each run, for the test of stored bytes.
    pub(super) fn sample() -> Self {
        Self {
            record: TableV1 {
                pack: PackId::from_bytes([1; 16]),
                slices: vec![3, 0, 5],
                blocks: vec![Digest([2; 32])],
            },
            data_len: 8,
        }
    }
}
