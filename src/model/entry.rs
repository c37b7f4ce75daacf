//! Entries of the tree, the content of files, and changes. `stored` has the forms in which records
//! hold them.

use std::collections::BTreeMap;

use super::{
    Blob, BlobId, ByteRange, EntryId, Extent, ExtentSource, Ino, Name, PackRef, Seq, Timestamp,
    ViewsState,
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
