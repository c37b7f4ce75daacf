//! Entries of the tree, the content of files, and changes. `stored` has the forms in which records
//! hold them.

use std::collections::BTreeMap;

use super::{
    Blob, BlobId, ByteRange, EntryId, Extent, ExtentSource, Ino, Name, PackRef, Seq, Timestamp,
    ViewsState,
};

/// Extended user attributes (`user.*`), by full name.
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

/// Attributes of a file or directory, as `stat` and `getxattr` show them.
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

/// Kind of an [`Entry`], with the content of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryKind {
    Directory,
    File(Box<FileContent>),
}

/// The content of a file, and its progress to the store.
#[derive(Debug, Clone, PartialEq)]
pub struct FileContent {
    /// Number of commits, by which a job finds that its version is out of date.
    pub version: u64,
    pub size: u64,
    /// Extents in file order, without gaps; their lengths add up to `size`.
    pub extents: Vec<Extent>,
    /// Every blob that an extent names, once.
    pub blobs: Vec<Blob>,
    pub state: FileState,
    pub views: ViewsState,
    /// Sidecars that the user deleted, which stay hidden.
    pub hidden_sidecars: Vec<Name>,
}

impl FileContent {
    /// Returns the content of an empty file.
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
    /// Returns whether acknowledged packs hold every byte, so that a manifest may name the file.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.extents.iter().all(|extent| match extent.source {
            ExtentSource::Zeros => true,
            ExtentSource::Blob(id) => self
                .blob(id)
                .is_some_and(|blob| blob.covers(ByteRange::new(extent.offset, extent.len))),
        })
    }
    /// Returns the blob with this id, if the file uses it.
    #[must_use]
    pub fn blob(&self, id: BlobId) -> Option<&Blob> {
        self.blobs.iter().find(|blob| blob.id == id)
    }
    /// Returns the packs of the file and its views, each once.
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

/// Progress of a file's bytes to the store. The states in between (`ingesting`, `uploading`) follow
/// from its job and are not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// The spool holds the bytes; their upload may be under way.
    Spooled,
    /// Acknowledged packs hold every byte.
    Stored,
    /// The file stays in the spool and is not ingested, for this reason.
    Failed(String),
}

/// A change of the tree, absolute and by id, so that replaying it twice changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Put(Box<Entry>),
    Remove {
        id: EntryId,
        /// Packs of the entry, which clean-up deletes once no other entry refers to them.
        released: Vec<PackRef>,
    },
}

impl Change {
    /// Returns the id of the entry that is changed.
    #[must_use]
    pub fn entry_id(&self) -> EntryId {
        match self {
            Self::Put(entry) => entry.id,
            Self::Remove { id, .. } => *id,
        }
    }
}

/// A change with its position in the library's history, as the remote's log holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    pub seq: Seq,
    pub change: Change,
}
