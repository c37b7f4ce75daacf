//! Entries of the tree, the content of files, and changes. `stored` has the forms in which records
//! hold them.

use std::collections::BTreeMap;

use super::{
    BlobId, ByteRange, ChannelId, Digest, EntryId, Ino, MessageId, Name, PackId, Seq,
    SubtitleTexts, Timestamp, Views,
};

/// Extended attributes of the user (`user.*`), by full name.
pub type XattrMap = BTreeMap<Vec<u8>, Vec<u8>>;

/// The whole state of one file or directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub id: EntryId,
    pub parent: EntryId,
    pub name: Name,
    pub ino: Ino,
    pub attributes: Attributes,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attributes {
    /// Permission bits, set-id and sticky bits (`0o7777`).
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub created: Timestamp,
    pub xattrs: XattrMap,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EntryKind {
    Directory,
    File(Box<FileContent>),
}

/// What a file holds and how far it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct FileContent {
    /// Counts commits; a job of an older version finds that it is out of date.
    pub version: u64,
    pub size: u64,
    /// In file order, without gaps, summing up to `size`.
    pub extents: Vec<Extent>,
    /// Every blob that `extents` names, once.
    pub blobs: Vec<Blob>,
    pub state: FileState,
    pub views: ViewsState,
    /// Names of sidecars that the user deleted: hidden for good.
    pub hidden_sidecars: Vec<Name>,
}

impl FileContent {
    /// A file without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: 0,
            size: 0,
            extents: Vec::new(),
            blobs: Vec::new(),
            state: FileState::Spooled,
            views: ViewsState::Pending,
            hidden_sidecars: Vec::new(),
        }
    }
    /// Whether every byte stands in an acknowledged pack, so that a manifest may name the file.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.extents.iter().all(|extent| match extent.source {
            ExtentSource::Zeros => true,
            ExtentSource::Blob(id) => self
                .blob(id)
                .is_some_and(|blob| blob.covers(ByteRange::new(extent.offset, extent.len))),
        })
    }
    #[must_use]
    pub fn blob(&self, id: BlobId) -> Option<&Blob> {
        self.blobs.iter().find(|blob| blob.id == id)
    }
    /// Packs that this file keeps alive, its views' included, each once.
    #[must_use]
    pub fn packs(&self) -> Vec<PackRef> {
        let mut packs: Vec<PackRef> = self
            .blobs
            .iter()
            .chain(self.views.derived())
            .flat_map(|blob| blob.slices.iter().map(|slice| slice.pack.clone()))
            .collect();
        packs.sort_by_key(|pack| pack.id);
        packs.dedup_by_key(|pack| pack.id);
        packs
    }
}

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

/// How far a file's bytes have come. What is in between (`ingesting`, `uploading`) follows from
/// its job and is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// The bytes are in the spool; they may also be on their way to the remote.
    Spooled,
    /// Every byte stands in acknowledged packs.
    Stored,
    /// Kept in the spool and not ingested, for this reason.
    Failed(String),
}

/// How far a file's views have come.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewsState {
    /// Not looked at yet.
    Pending,
    /// Neither name nor bytes say that it is media.
    NotMedia,
    Ready(Box<Views>),
    /// Media that HLS cannot carry, for this reason; the file itself is stored.
    Unsupported(String),
    /// A media name on bytes that media tools cannot read (state `plain`).
    Unreadable(String),
    /// Subtitles, which join the playlist of the film that they lie beside.
    Subtitles(Box<SubtitleTexts>),
}

/// One change of the tree, absolute and by id: replaying it twice changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Put(Box<Entry>),
    Remove {
        id: EntryId,
        /// Packs that the entry kept alive, so that clean-up may delete them once no other entry
        /// does.
        released: Vec<PackRef>,
    },
}

impl Change {
    #[must_use]
    pub fn entry_id(&self) -> EntryId {
        match self {
            Self::Put(entry) => entry.id,
            Self::Remove { id, .. } => *id,
        }
    }
}

/// A change with its place in the library's history, as the remote's log holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    pub seq: Seq,
    pub change: Change,
}
