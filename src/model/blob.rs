//! Blobs, the extents of files over them, and the packs that hold their bytes.

use super::{BlobId, ByteRange, ChannelId, Digest, MessageId, PackId};

/// A run of bytes of a file, taken from a blob or all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub source: ExtentSource,
    /// Position in the blob; 0 for zeros.
    pub offset: u64,
    pub len: u64,
}

/// Origin of the bytes of an [`Extent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentSource {
    Blob(BlobId),
    Zeros,
}

/// An immutable byte string, and the packs that hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub id: BlobId,
    /// Length including holes.
    pub len: u64,
    /// Digest of the bytes in the order of `slices`; `None` until sealed and digested.
    pub digest: Option<Digest>,
    /// Stored ranges, ascending by `blob_offset`, without overlaps. A range without a slice is still in
    /// the spool. In the blob of an overlay it may also be unwritten; no extent names it then.
    pub slices: Vec<PackSlice>,
}

impl Blob {
    /// Returns whether acknowledged packs hold all of `range`.
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

/// A range of a blob that a pack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackSlice {
    pub blob_offset: u64,
    pub pack_offset: u64,
    pub len: u64,
    pub pack: PackRef,
}

/// A pack, as manifests name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackRef {
    pub id: PackId,
    pub address: PackAddress,
    /// Bytes of slices before the table.
    pub data_len: u64,
    /// Bytes of the whole pack, its table included.
    pub len: u64,
    /// Digest of the table at the pack's end, which holds the digest of each block.
    pub table_digest: Digest,
}

/// Location of a pack in the remote.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PackAddress {
    /// An object that the store finds by the pack's id.
    Local,
    /// A document in a channel.
    Telegram(TelegramAddress),
    /// Somebody else's document in a channel, with its table in one of ours.
    Adopted(AdoptedAddress),
}

/// Location of a pack whose data is somebody else's document, which is read and never deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdoptedAddress {
    /// All of the data, from its first byte on.
    pub document: TelegramAddress,
    /// Our document with the table and the trailer. In other packs these follow the data.
    pub table: TelegramAddress,
}

/// Permanent location of a pack in Telegram, the same for every bot. Access hash and file reference,
/// which a bot needs to read it, are derived from it and never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TelegramAddress {
    /// The channel.
    pub channel: ChannelId,
    /// The message within the channel.
    pub message: MessageId,
    /// Id of the document, the same for every bot.
    pub document: i64,
    /// Data centre that holds the bytes.
    pub dc: i32,
}
