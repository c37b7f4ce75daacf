//! Durable local records: sled, and the journal beside it. SKELETON: signatures only.

use std::path::Path;

use crate::model::{Attributes, Change, Entry, EntryId, Ino, LibraryId, Name, PackRef, Seq};

/// An entry without its content: what lookup and getattr need.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub id: EntryId,
    pub parent: EntryId,
    pub name: Name,
    pub ino: Ino,
    pub attributes: Attributes,
    pub kind: NodeKind,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Directory,
    File { size: u64 },
}
/// A row of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub name: Name,
    pub id: EntryId,
    pub ino: Ino,
    pub kind: ChildKind,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    Directory,
    File,
}
#[derive(Debug, thiserror::Error)]
#[error("index")]
pub struct IndexError;
/// What opening found and did, for the log and `status`.
#[derive(Debug, Default)]
pub struct OpenReport {}

#[derive(Debug)]
pub struct Index {}

#[allow(unused_variables, clippy::missing_errors_doc)]
impl Index {
    pub fn open(state: &Path) -> Result<(Self, OpenReport), IndexError> {
        unimplemented!()
    }
    pub fn library_id(&self) -> LibraryId {
        unimplemented!()
    }
    pub fn node(&self, id: EntryId) -> Result<Option<Node>, IndexError> {
        unimplemented!()
    }
    pub fn node_by_ino(&self, ino: Ino) -> Result<Option<Node>, IndexError> {
        unimplemented!()
    }
    pub fn entry(&self, id: EntryId) -> Result<Option<Entry>, IndexError> {
        unimplemented!()
    }
    pub fn child(&self, parent: EntryId, name: &Name) -> Result<Option<Child>, IndexError> {
        unimplemented!()
    }
    /// Children with an inode number above `after`, ascending by it: a stable readdir cookie.
    pub fn children(
        &self,
        parent: EntryId,
        after: Ino,
        limit: usize,
    ) -> Result<Vec<Child>, IndexError> {
        unimplemented!()
    }
    /// A number above any ever seen, also after recovery.
    pub fn next_ino(&self) -> Ino {
        unimplemented!()
    }
    /// Journal first, then one sled transaction for all of `changes`, pack references included.
    pub fn commit(&self, changes: &[Change]) -> Result<Seq, IndexError> {
        unimplemented!()
    }
    /// Returns when everything committed before the call is on the disk (group commit).
    pub fn sync(&self) -> Result<(), IndexError> {
        unimplemented!()
    }
    /// Whether the newest state of the entry stands in an acknowledged manifest.
    pub fn is_published(&self, id: EntryId) -> Result<bool, IndexError> {
        unimplemented!()
    }
    /// Whether anything still refers to the pack.
    pub fn is_referenced(&self, pack: &PackRef) -> Result<bool, IndexError> {
        unimplemented!()
    }
    /// Small records of other modules (jobs, slugs, settings of the state), outside the journal:
    /// whoever uses them must be able to do without.
    pub fn rows(&self, table: &'static str) -> Result<Rows, IndexError> {
        unimplemented!()
    }
}

#[derive(Debug, Clone)]
pub struct Rows {}
#[allow(unused_variables, clippy::missing_errors_doc)]
impl Rows {
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        unimplemented!()
    }
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        unimplemented!()
    }
    pub fn remove(&self, key: &[u8]) -> Result<(), IndexError> {
        unimplemented!()
    }
    /// Key-ordered, from the first key with this prefix on.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, IndexError> {
        unimplemented!()
    }
}
