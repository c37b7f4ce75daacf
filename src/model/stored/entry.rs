//! Stored forms of entries, changes and records of the log.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{
    Attributes, Change, Entry, EntryId, EntryKind, FileContent, FileState, Ino, LogRecord,
    MAX_NAME_BYTES, Name, Seq, Timestamp, XattrMap,
};
use super::blob::{BlobV1, ExtentV1, PackRefV1};
use super::form::{StoredForm, stored_struct};
use super::text;
use super::views::ViewsStateV1;
use super::{ENTRY_SCHEMA, OLDEST_ENTRY_SCHEMA};

/// A form of an entry. A record that holds entries takes it as a parameter, so a new form needs no new
/// form of each record.
pub trait EntryForm: Serialize + DeserializeOwned {
    /// Newest schema number of records with this form.
    const SCHEMA: u16;
    /// Oldest schema number of records with this form.
    const OLDEST: u16;

    /// Returns the oldest schema number of a record that holds this entry.
    fn schema(&self) -> u16;
}

stored_struct!(
    /// An [`Entry`], up to schema 3. Frozen.
    EntryV1 of Entry {
        id: EntryId,
        parent: EntryId,
        name: Name,
        ino: Ino,
        attributes: AttributesV1,
        kind: EntryKindV1,
    }
);

impl EntryForm for EntryV1 {
    const SCHEMA: u16 = ENTRY_SCHEMA;
    const OLDEST: u16 = OLDEST_ENTRY_SCHEMA;

    fn schema(&self) -> u16 {
        match &self.kind {
            EntryKindV1::Directory => OLDEST_ENTRY_SCHEMA,
            EntryKindV1::File(content) => content.schema(),
        }
    }
}

/// [`Attributes`]. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributesV1 {
    mode: u32,
    uid: u32,
    gid: u32,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
    created: Timestamp,
    xattrs: XattrMap,
}

impl StoredForm<Attributes> for AttributesV1 {
    fn of(value: &Attributes) -> Self {
        Self {
            mode: value.mode,
            uid: value.uid,
            gid: value.gid,
            atime: value.atime,
            mtime: value.mtime,
            ctime: value.ctime,
            created: value.created,
            xattrs: value.xattrs.clone(),
        }
    }
    fn restore(self) -> Attributes {
        let mut xattrs = self.xattrs;
        xattrs.retain(|name, _| is_attribute_name(name));
        Attributes {
            mode: self.mode & PERMISSIONS,
            uid: self.uid,
            gid: self.gid,
            atime: self.atime.bounded(),
            mtime: self.mtime.bounded(),
            ctime: self.ctime.bounded(),
            created: self.created.bounded(),
            xattrs,
        }
    }
}

/// The bits of a mode that are not the kind of a file.
const PERMISSIONS: u32 = 0o7777;

/// Returns whether the kernel lists these bytes as the name of an extended attribute.
fn is_attribute_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(&0)
}

/// An [`EntryKind`]. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKindV1 {
    /// Number 0.
    Directory,
    /// Number 1.
    File(Box<FileContentV1>),
}

impl StoredForm<EntryKind> for EntryKindV1 {
    fn of(kind: &EntryKind) -> Self {
        match kind {
            EntryKind::Directory => Self::Directory,
            EntryKind::File(content) => Self::File(StoredForm::of(content)),
        }
    }
    fn restore(self) -> EntryKind {
        match self {
            Self::Directory => EntryKind::Directory,
            Self::File(content) => EntryKind::File(content.restore()),
        }
    }
}

stored_struct!(
    /// A [`FileContent`], up to schema 3. Frozen, but for the variants of its views.
    FileContentV1 of FileContent {
        version: u64,
        size: u64,
        extents: Vec<ExtentV1>,
        blobs: Vec<BlobV1>,
        state: FileStateV1,
        views: ViewsStateV1,
        hidden_sidecars: Vec<Name>,
    }
);

impl FileContentV1 {
    /// Returns the oldest schema number of a record that holds this content.
    #[must_use]
    pub const fn schema(&self) -> u16 {
        self.views.schema()
    }
}

/// A [`FileState`]. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileStateV1 {
    /// Number 0.
    Spooled,
    /// Number 1.
    Stored,
    /// Number 2.
    Failed(String),
}

impl StoredForm<FileState> for FileStateV1 {
    fn of(state: &FileState) -> Self {
        match state {
            FileState::Spooled => Self::Spooled,
            FileState::Stored => Self::Stored,
            FileState::Failed(reason) => Self::Failed(reason.clone()),
        }
    }
    fn restore(self) -> FileState {
        match self {
            Self::Spooled => FileState::Spooled,
            Self::Stored => FileState::Stored,
            Self::Failed(reason) => FileState::Failed(text::line(reason)),
        }
    }
}

/// A [`Change`] whose entry has the form `E`. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "E: EntryForm")]
pub enum ChangeV1<E> {
    /// Number 0.
    Put(Box<E>),
    /// Number 1.
    Remove {
        /// The removed entry.
        id: EntryId,
        /// Packs that it kept alive.
        released: Vec<PackRefV1>,
    },
}

impl<E: EntryForm> ChangeV1<E> {
    /// Returns the oldest schema number of a record that holds this change.
    #[must_use]
    pub fn schema(&self) -> u16 {
        match self {
            Self::Put(entry) => entry.schema(),
            Self::Remove { .. } => E::OLDEST,
        }
    }
}

impl<E: EntryForm + StoredForm<Entry>> StoredForm<Change> for ChangeV1<E> {
    fn of(change: &Change) -> Self {
        match change {
            Change::Put(entry) => Self::Put(StoredForm::of(entry)),
            Change::Remove { id, released } => Self::Remove {
                id: *id,
                released: StoredForm::of(released),
            },
        }
    }
    fn restore(self) -> Change {
        match self {
            Self::Put(entry) => Change::Put(entry.restore()),
            Self::Remove { id, released } => Change::Remove {
                id,
                released: released.restore(),
            },
        }
    }
}

/// A [`LogRecord`] whose entry has the form `E`. Frozen, but for that form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "E: EntryForm")]
pub struct LogRecordV1<E> {
    pub(crate) seq: Seq,
    pub(crate) change: ChangeV1<E>,
}

impl<E: EntryForm + StoredForm<Entry>> StoredForm<LogRecord> for LogRecordV1<E> {
    fn of(record: &LogRecord) -> Self {
        Self {
            seq: record.seq,
            change: StoredForm::of(&record.change),
        }
    }
    fn restore(self) -> LogRecord {
        LogRecord {
            seq: self.seq,
            change: self.change.restore(),
        }
    }
}
