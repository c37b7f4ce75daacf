//! Queries of the tree.

use std::ops::ControlFlow;

use super::core::Index;
use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::node::{Child, ChildKind, Node, NodeKind};
use super::record::{ChildKindV1, ChildV1, DirtyV1, InodeV1, NodeKindV1, NodeV1};
use super::scan::{row, visit_rows};
use super::store::KeySpace;
use crate::model::stored::StoredForm as _;
use crate::model::{Entry, EntryId, Ino, Name, PackId, PackRef};

impl From<ChildV1> for Child {
    fn from(row: ChildV1) -> Self {
        Self {
            name: row.name,
            id: row.id,
            ino: row.ino,
            kind: match row.kind {
                ChildKindV1::Directory => ChildKind::Directory,
                ChildKindV1::File => ChildKind::File,
            },
        }
    }
}

fn node_of(id: EntryId, row: NodeV1) -> Node {
    Node {
        id,
        parent: row.parent,
        name: row.name,
        ino: row.ino,
        attributes: row.attributes.restore(),
        kind: match row.kind {
            NodeKindV1::Directory => NodeKind::Directory,
            NodeKindV1::File { size } => NodeKind::File { size },
        },
    }
}

/// Queries. They fail only when the database does; a missing entry is `None`.
impl Index {
    /// Returns the node with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn node(&self, id: EntryId) -> Result<Option<Node>, IndexError> {
        let found = self.core.read(|store| row(store, &key::node(id)))?;
        Ok(found.map(|row| node_of(id, row)))
    }

    /// Returns the node with this inode number.
    ///
    /// # Errors
    /// When the database fails.
    pub fn node_by_ino(&self, ino: Ino) -> Result<Option<Node>, IndexError> {
        self.core.read(|store| {
            let Some(InodeV1(id)) = row(store, &key::inode(ino))? else {
                return Ok::<_, IndexError>(None);
            };
            let found = row(store, &key::node(id))?;
            Ok(found.map(|row| node_of(id, row)))
        })
    }

    /// Returns the entry with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn entry(&self, id: EntryId) -> Result<Option<Entry>, IndexError> {
        let found = self.core.read(|store| RowDraft::new(store).entry(id))?;
        Ok(found.map(|(_, entry)| entry))
    }

    /// Returns the child of `parent` with this name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn child(&self, parent: EntryId, name: &Name) -> Result<Option<Child>, IndexError> {
        let key = key::name(parent, name);
        let found = self.core.read(|store| row::<ChildV1>(store, &key))?;
        Ok(found.map(Into::into))
    }

    /// Returns children with an inode number above `after`, ascending by it. The number is a stable
    /// readdir cookie.
    ///
    /// # Errors
    /// When the database fails.
    pub fn children(
        &self,
        parent: EntryId,
        after: Ino,
        limit: usize,
    ) -> Result<Vec<Child>, IndexError> {
        let Some(from) = after.0.checked_add(1) else {
            return Ok(Vec::new());
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let prefix = key::children(parent);
        let from = key::child(parent, Ino(from));
        self.core.read(|store| {
            let mut children = Vec::new();
            visit_rows::<ChildV1>(store, &prefix, &from, &mut |_, row| {
                children.push(row.into());
                if children.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            Ok::<_, IndexError>(children)
        })
    }

    /// Returns at most `limit` children whose names start with `prefix`, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn children_named(
        &self,
        parent: EntryId,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Child>, IndexError> {
        let from = key::names(parent, prefix);
        self.core.read(|store| {
            let mut children = Vec::new();
            visit_rows::<ChildV1>(store, &from, &from, &mut |_, row| {
                if children.len() == limit {
                    return ControlFlow::Break(());
                }
                children.push(row.into());
                ControlFlow::Continue(())
            })?;
            Ok::<_, IndexError>(children)
        })
    }

    /// Returns entries with an id above `after`, ascending by it, for walks over the whole library in
    /// short steps.
    ///
    /// # Errors
    /// When the database fails.
    pub fn entries(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<Entry>, IndexError> {
        let from = match after {
            Some(id) => {
                let mut key = key::node(id);
                key.push(0);
                key
            }
            None => vec![key::NODES],
        };
        self.core.read(|store| {
            let mut ids = Vec::new();
            store.visit(KeySpace::Records, &[key::NODES], &from, &mut |row, _| {
                ids.extend(key::entry_of(row));
                if ids.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            let draft = RowDraft::new(store);
            let mut entries = Vec::with_capacity(ids.len());
            for id in ids {
                entries.extend(draft.entry(id)?.map(|(_, entry)| entry));
            }
            Ok::<_, IndexError>(entries)
        })
    }

    /// Returns whether an acknowledged manifest holds the newest state of the entry.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_published(&self, id: EntryId) -> Result<bool, IndexError> {
        let dirty = self
            .core
            .read(|store| row::<DirtyV1>(store, &key::dirty(id)))?;
        Ok(dirty.is_none())
    }

    /// Returns whether an entry refers to the pack.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_referenced(&self, pack: &PackRef) -> Result<bool, IndexError> {
        let prefix = key::references(pack.id);
        self.core.read(|store| RowDraft::new(store).any(&prefix))
    }

    /// Returns whether an entry refers to the pack, or did and the pack is not deleted yet.
    ///
    /// # Errors
    /// When the database fails.
    pub fn knows_pack(&self, pack: PackId) -> Result<bool, IndexError> {
        let (references, dying) = (key::references(pack), key::dying(pack));
        self.core.read(|store| {
            let draft = RowDraft::new(store);
            Ok::<_, IndexError>(draft.any(&references)? || draft.any(&dying)?)
        })
    }
}
