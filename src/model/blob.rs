//! Blobs, the extents of files over them, and the packs that hold their bytes.

use super::{BlobId, ByteRange, ChannelId, Digest, MessageId, PackId};

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub source: ExtentSource,
    /// Position in the blob; 0 for zeros.
    pub offset: u64,
    pub len: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentSource {
    Blob(BlobId),
    Zeros,
}

/// An immutable byte string and where its bytes stand in the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub id: BlobId,
    /// Length including holes.
    pub len: u64,
    /// Of the bytes in `slices` order; `None` until sealed and digested.
    pub digest: Option<Digest>,
    /// Ascending by `blob_offset`, not overlapping; ranges without a slice are still in the spool
    /// or (in the blob of an overlay) were never written and are named by no extent.
    pub slices: Vec<PackSlice>,
}

impl Blob {
    /// Whether acknowledged packs hold all of `range`.
    #[must_use]
    pub fn covers(&self, range: ByteRange) -> bool {
        let mut at = range.offset;
        for slice in &self.slices {
            if slice.blob_offset > at || at >= range.end() {
                break;
            }
            at = at.max(slice.blob_offset.saturating_add(slice.len));
        }
        at >= range.end()
    }
}

/// `len` bytes of a blob, standing in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackSlice {
    pub blob_offset: u64,
    pub pack_offset: u64,
    pub len: u64,
    pub pack: PackRef,
}

/// A pack as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackRef {
    pub id: PackId,
    pub address: PackAddress,
    /// Bytes of slices before the table.
    pub data_len: u64,
    /// Bytes of the whole pack, its table included.
    pub len: u64,
    /// Of the table at the pack's end, which holds the digest of each block.
    pub table_digest: Digest,
}

/// Where the remote keeps a pack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PackAddress {
    /// An object that the store finds by the pack's id.
    Local,
    /// A document in a channel.
    Telegram(TelegramAddress),
    /// Somebody else's document in a channel, with its table in one of ours.
    Adopted(AdoptedAddress),
}

/// A pack whose data is a document as others posted it: it is read, and never deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdoptedAddress {
    /// All of the data, from its first byte on.
    pub document: TelegramAddress,
    /// What stands behind the data in other packs: table and trailer.
    pub table: TelegramAddress,
}

/// What names a pack in Telegram for every bot and for good. What one bot needs to read it (access
/// hash, file reference) follows from it and is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TelegramAddress {
    /// The channel.
    pub channel: ChannelId,
    /// The message within the channel.
    pub message: MessageId,
    /// The same for every bot.
    pub document: i64,
    /// Data centre that holds the bytes.
    pub dc: i32,
}
