//! Rows and journal records as they stand on disk. Version 1 of each is frozen.

use serde::{Deserialize, Serialize};

use crate::codec::{Kind, Record};
use crate::model::{
    Attributes, Change, EntryId, FileContent, Ino, LibraryId, Name, OLDEST_VIEWS_SCHEMA, PackRef,
    Seq, Timestamp, VIEWS_SCHEMA,
};

/// First record of a journal file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalHeaderV1 {
    /// Counts journal files of this state.
    pub number: u64,
    /// Changes up to here are in the flushed index, and those that no acknowledged manifest holds
    /// are stated again at the head of this file.
    pub base: Seq,
    pub identity: IdentityV1,
}
impl Record for JournalHeaderV1 {
    const KIND: Kind = Kind::JournalHeader;
}

/// Whose state this is: kept in the index and in the journal, so that either can go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityV1 {
    pub library: LibraryId,
    /// The store as `Remote::describe` tells it; empty until the state was first used with one.
    pub store: String,
}

/// All changes of one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JournalRecordV1 {
    pub seq: Seq,
    pub next_ino: Ino,
    pub changes: Vec<Change>,
}
impl Record for JournalRecordV1 {
    const KIND: Kind = Kind::JournalRecord;
    const SCHEMA: u16 = VIEWS_SCHEMA;
    const OLDEST: u16 = OLDEST_VIEWS_SCHEMA;

    fn schema(&self) -> u16 {
        let schemas = self.changes.iter().map(Change::schema);
        schemas.max().unwrap_or(OLDEST_VIEWS_SCHEMA)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NodeV1 {
    pub seq: Seq,
    pub parent: EntryId,
    pub name: Name,
    pub ino: Ino,
    pub attributes: Attributes,
    pub kind: NodeKindV1,
}
impl Record for NodeV1 {
    const KIND: Kind = Kind::Node;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NodeKindV1 {
    Directory,
    File { size: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ContentV1(pub FileContent);
impl Record for ContentV1 {
    const KIND: Kind = Kind::Content;
    const SCHEMA: u16 = VIEWS_SCHEMA;
    const OLDEST: u16 = OLDEST_VIEWS_SCHEMA;

    fn schema(&self) -> u16 {
        self.0.schema()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChildV1 {
    pub id: EntryId,
    pub ino: Ino,
    pub name: Name,
    pub kind: ChildKindV1,
}
impl Record for ChildV1 {
    const KIND: Kind = Kind::Child;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChildKindV1 {
    Directory,
    File,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InodeV1(pub EntryId);
impl Record for InodeV1 {
    const KIND: Kind = Kind::Inode;
}

/// The owner keeps the pack alive; both ids stand in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReferenceV1;
impl Record for ReferenceV1 {
    const KIND: Kind = Kind::Reference;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DyingV1 {
    pub pack: PackRef,
    pub since: Timestamp,
    /// The entry whose change took the last reference, and that change.
    pub owner: EntryId,
    pub seq: Seq,
}
impl Record for DyingV1 {
    const KIND: Kind = Kind::Dying;
}

/// The newest change of an entry stands in no acknowledged manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirtyV1 {
    pub seq: Seq,
    pub since: Timestamp,
    pub tombstone: Option<TombstoneV1>,
}
impl Record for DirtyV1 {
    const KIND: Kind = Kind::Dirty;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TombstoneV1 {
    pub released: Vec<PackRef>,
    /// Entries put in the same commit: what replaced this one. Its tombstone must not be published
    /// before they are.
    pub after: Vec<EntryId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MetaV1 {
    pub identity: IdentityV1,
    pub last_seq: Seq,
    pub next_ino: Ino,
    /// Sum over all other rows, see `draft::row_sum`: tells a row that vanished.
    pub sum: u64,
    /// Whether the remote's log still has to be read into this index.
    pub fill: FillV1,
    /// Of the log: number and digest of the newest acknowledged manifest, and the epoch.
    pub log: LogHeadV1,
}
impl Record for MetaV1 {
    const KIND: Kind = Kind::Meta;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FillV1 {
    Complete,
    Needed,
}

/// The newest manifest of the log that this index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogHeadV1 {
    /// 0: none yet.
    pub number: u64,
    pub digest: [u8; 32],
    /// Raised by `tgfs recover --take-over`.
    pub epoch: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowV1(pub Vec<u8>);
impl Record for RowV1 {
    const KIND: Kind = Kind::Row;
}
