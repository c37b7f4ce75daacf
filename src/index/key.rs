//! Keys of the index's rows. `docs/FORMAT.md` has the table.

use crate::model::{EntryId, Ino, Name, PackId};

pub(super) const META: &[u8] = b"m";
pub(super) const NODES: u8 = b'n';
pub(super) const CONTENTS: u8 = b'c';
pub(super) const NAMES: u8 = b'd';
pub(super) const CHILDREN: u8 = b'i';
pub(super) const INODES: u8 = b'o';
pub(super) const REFERENCES: u8 = b'r';
pub(super) const DYING: u8 = b'x';
pub(super) const DIRTY: u8 = b'y';
pub(super) const PUBLISHED: u8 = b'p';

/// All tables.
pub(super) const TABLES: [u8; 9] = [
    NODES, CONTENTS, NAMES, CHILDREN, INODES, REFERENCES, DYING, DIRTY, PUBLISHED,
];

fn join(table: u8, first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + first.len() + second.len());
    key.push(table);
    key.extend_from_slice(first);
    key.extend_from_slice(second);
    key
}

pub(super) fn node(id: EntryId) -> Vec<u8> {
    join(NODES, id.as_bytes(), b"")
}
pub(super) fn content(id: EntryId) -> Vec<u8> {
    join(CONTENTS, id.as_bytes(), b"")
}
pub(super) fn name(parent: EntryId, name: &Name) -> Vec<u8> {
    join(NAMES, parent.as_bytes(), name.as_bytes())
}
/// Returns the prefix of the keys of all children whose names start with `prefix`.
pub(super) fn names(parent: EntryId, prefix: &[u8]) -> Vec<u8> {
    join(NAMES, parent.as_bytes(), prefix)
}
pub(super) fn children(parent: EntryId) -> Vec<u8> {
    join(CHILDREN, parent.as_bytes(), b"")
}
/// Returns the key of a child. The number is big endian, so rows ascend by inode number.
pub(super) fn child(parent: EntryId, ino: Ino) -> Vec<u8> {
    join(CHILDREN, parent.as_bytes(), &ino.0.to_be_bytes())
}
pub(super) fn inode(ino: Ino) -> Vec<u8> {
    join(INODES, &ino.0.to_be_bytes(), b"")
}
pub(super) fn references(pack: PackId) -> Vec<u8> {
    join(REFERENCES, pack.as_bytes(), b"")
}
pub(super) fn reference(pack: PackId, owner: EntryId) -> Vec<u8> {
    join(REFERENCES, pack.as_bytes(), owner.as_bytes())
}
pub(super) fn dying(pack: PackId) -> Vec<u8> {
    join(DYING, pack.as_bytes(), b"")
}
pub(super) fn dirty(id: EntryId) -> Vec<u8> {
    join(DIRTY, id.as_bytes(), b"")
}
pub(super) fn published(id: EntryId) -> Vec<u8> {
    join(PUBLISHED, id.as_bytes(), b"")
}

/// Returns the entry id at the end of a node, content, dirty or published key.
pub(super) fn entry_of(key: &[u8]) -> Option<EntryId> {
    key.get(1..)?.try_into().ok().map(EntryId::from_bytes)
}

/// Returns the pack id at the end of a dying key.
pub(super) fn pack_of(key: &[u8]) -> Option<PackId> {
    key.get(1..)?.try_into().ok().map(PackId::from_bytes)
}
