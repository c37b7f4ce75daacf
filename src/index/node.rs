//! Entries without their content, and rows of directories.

use crate::model::{Attributes, EntryId, Ino, Name};

/// An entry without its content, for lookup and getattr.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub id: EntryId,
    pub parent: EntryId,
    pub name: Name,
    pub ino: Ino,
    pub attributes: Attributes,
    pub kind: NodeKind,
}

/// Kind of a [`Node`].
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

/// Kind of a [`Child`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    Directory,
    File,
}
