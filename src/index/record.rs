//! Rows and journal records in their stored forms. Version 1 of each is frozen.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::error::IndexError;
use crate::codec::{CodecError, Kind, Record, Stored, decode, encode};
use crate::model::stored::{
    AttributesV1, ChangeV1, ENTRY_SCHEMA, EntryForm, EntryV1, FileContentV1, OLDEST_ENTRY_SCHEMA,
    PackRefV1, StoredForm,
};
use crate::model::{Change, EntryId, FileContent, Ino, LibraryId, Name, Seq, Timestamp};

/// First record of a journal file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalHeaderV1 {
    /// Number of this journal file; later files of a state have higher ones.
    pub number: u64,
    /// Changes up to this one are in the flushed index. Those that no acknowledged manifest holds are
    /// restated at the head of this file.
    pub base: Seq,
    pub identity: IdentityV1,
}
impl Record for JournalHeaderV1 {
    const KIND: Kind = Kind::JournalHeader;
}

/// Identity of the state. Both index and journal keep it, so either may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityV1 {
    pub library: LibraryId,
    /// Description of the store; empty until the state was first used with one.
    pub store: String,
}

/// All changes of one commit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JournalRecord<'a> {
    pub seq: Seq,
    pub next_ino: Ino,
    pub changes: Cow<'a, [Change]>,
}

impl Stored for JournalRecord<'_> {
    fn to_envelope(&self) -> Result<Vec<u8>, CodecError> {
        encode(&JournalRecordV1::<EntryV1> {
            seq: self.seq,
            next_ino: self.next_ino,
            changes: self.changes.iter().map(ChangeV1::of).collect(),
        })
    }
    fn from_envelope(bytes: &[u8]) -> Result<Self, CodecError> {
        let record: JournalRecordV1<EntryV1> = decode(bytes)?;
        Ok(Self {
            seq: record.seq,
            next_ino: record.next_ino,
            changes: Cow::Owned(record.changes.restore()),
        })
    }
}

/// A [`JournalRecord`] whose entries have the form `E`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "E: EntryForm")]
struct JournalRecordV1<E> {
    seq: Seq,
    next_ino: Ino,
    changes: Vec<ChangeV1<E>>,
}
impl<E: EntryForm> Record for JournalRecordV1<E> {
    const KIND: Kind = Kind::JournalRecord;
    const SCHEMA: u16 = E::SCHEMA;
    const OLDEST: u16 = E::OLDEST;

    fn schema(&self) -> u16 {
        let schemas = self.changes.iter().map(ChangeV1::schema);
        schemas.max().unwrap_or(E::OLDEST)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NodeV1 {
    pub seq: Seq,
    pub parent: EntryId,
    pub name: Name,
    pub ino: Ino,
    pub attributes: AttributesV1,
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

/// The row of a file's content.
impl Stored for FileContent {
    fn to_envelope(&self) -> Result<Vec<u8>, CodecError> {
        encode(&ContentV1(StoredForm::of(self)))
    }
    fn from_envelope(bytes: &[u8]) -> Result<Self, CodecError> {
        decode::<ContentV1>(bytes).map(|content| content.0.restore())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ContentV1(FileContentV1);
impl Record for ContentV1 {
    const KIND: Kind = Kind::Content;
    const SCHEMA: u16 = ENTRY_SCHEMA;
    const OLDEST: u16 = OLDEST_ENTRY_SCHEMA;

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

/// A reference of an entry to a pack; the key holds both ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReferenceV1;
impl Record for ReferenceV1 {
    const KIND: Kind = Kind::Reference;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DyingV1 {
    pub pack: PackRefV1,
    pub since: Timestamp,
    /// Entry whose change `seq` took the last reference.
    pub owner: EntryId,
    pub seq: Seq,
}
impl Record for DyingV1 {
    const KIND: Kind = Kind::Dying;
}

/// The newest change of an entry, which no acknowledged manifest holds.
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
    pub released: Vec<PackRefV1>,
    /// Replacements, which were put in the same commit. The tombstone must not be published before them.
    pub after: Vec<EntryId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MetaV1 {
    pub identity: IdentityV1,
    pub last_seq: Seq,
    pub next_ino: Ino,
    /// Sum over all other rows (`sum::row_sum`), which reveals a missing row.
    pub sum: u64,
    /// State of reading the remote's log into this index.
    pub fill: FillV1,
    /// Newest acknowledged manifest of the log.
    pub log: LogHeadV1,
}
impl MetaV1 {
    /// Returns the number of the next change.
    pub fn next_seq(&self) -> Result<Seq, IndexError> {
        let next = self.last_seq.0.checked_add(1);
        next.map(Seq)
            .ok_or_else(|| IndexError::Damaged("no sequence number is left".into()))
    }

    /// Takes the next inode number.
    pub fn take_ino(&mut self) -> Ino {
        let ino = self.next_ino;
        self.next_ino = Ino(ino.0.saturating_add(1));
        ino
    }
}
impl Record for MetaV1 {
    const KIND: Kind = Kind::Meta;
}

/// State of reading the remote's log into this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FillV1 {
    Complete,
    Needed,
}

/// The newest manifest of the log that this index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogHeadV1 {
    /// Number of the manifest; 0 for none yet.
    pub number: u64,
    pub digest: [u8; 32],
    /// Epoch, which `tgfs recover --take-over` raises.
    pub epoch: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowV1(pub Vec<u8>);
impl Record for RowV1 {
    const KIND: Kind = Kind::Row;
}
