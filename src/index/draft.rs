//! A draft of row changes. Reads see the rows drafted so far. At the end, all of them go into the store in
//! one batch, with the new sum over all rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use super::bulk::BulkWriter;
use super::error::IndexError;
use super::key;
use super::record::{ChildKindV1, ChildV1, InodeV1, MetaV1, NodeKindV1, NodeV1};
use super::store::{KeySpace, RowStore, StoreError, Writes};
use super::sum::row_sum;
use crate::codec::{Stored, decode, encode};
use crate::model::stored::{AttributesV1, StoredForm as _};
use crate::model::{Entry, EntryId, EntryKind, FileContent, Seq};

impl From<StoreError> for IndexError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(source) => Self::io("use", "index", source),
            StoreError::Damaged(reason) => Self::Damaged(reason),
        }
    }
}

#[derive(Debug)]
pub(super) struct RowDraft<'a> {
    store: &'a RowStore,
    writes: Writes,
    /// Rows that were read; `None` when they are not remembered.
    read: Option<RefCell<ReadRows>>,
    /// Tables that are known to have no stored rows.
    empty: Vec<u8>,
}

/// Stored rows by key, `None` when there is none.
type ReadRows = HashMap<Vec<u8>, Option<Vec<u8>>>;

impl<'a> RowDraft<'a> {
    /// Starts a draft over the rows of `store`.
    pub fn new(store: &'a RowStore) -> Self {
        Self {
            store,
            writes: Writes::new(),
            read: None,
            empty: Vec::new(),
        }
    }

    /// Starts a draft that reads each row once. It takes the memory of the rows.
    pub fn remembering(store: &'a RowStore) -> Self {
        Self {
            store,
            writes: Writes::new(),
            read: Some(RefCell::default()),
            empty: Vec::new(),
        }
    }

    /// Starts a draft of many rows, which reads each row once, and none of tables that are empty.
    pub fn of_many(store: &'a RowStore) -> Result<Self, IndexError> {
        let mut draft = Self::remembering(store);
        for table in key::TABLES {
            if !draft.any(&[table])? {
                draft.empty.push(table);
            }
        }
        Ok(draft)
    }

    fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.writes.get(key) {
            Some(drafted) => Ok(drafted.clone()),
            None => self.stored(key),
        }
    }
    /// Returns the row at `key` as stored.
    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        if key.first().is_some_and(|table| self.empty.contains(table)) {
            return Ok(None);
        }
        let Some(read) = &self.read else {
            return Ok(self.store.get(KeySpace::Records, key)?);
        };
        if let Some(known) = read.borrow().get(key) {
            return Ok(known.clone());
        }
        let found = self.store.get(KeySpace::Records, key)?;
        read.borrow_mut().insert(key.to_vec(), found.clone());
        Ok(found)
    }
    /// Returns the row at `key`, as drafted or as stored.
    pub fn get<R: Stored>(&self, key: &[u8]) -> Result<Option<R>, IndexError> {
        self.bytes(key)?
            .map(|bytes| decode(&bytes))
            .transpose()
            .map_err(Into::into)
    }
    /// Drafts the row at `key`.
    pub fn put<R: Stored>(&mut self, key: Vec<u8>, record: &R) -> Result<(), IndexError> {
        let bytes = encode(record).map_err(IndexError::Codec)?;
        self.writes.insert(key, Some(bytes));
        Ok(())
    }
    /// Drafts the removal of the row at `key`.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }
    /// Returns the number of drafted rows.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns whether any key starts with `prefix`.
    pub fn any(&self, prefix: &[u8]) -> Result<bool, IndexError> {
        let drafted = self.writes.range(prefix.to_vec()..);
        for (_, value) in drafted.take_while(|(key, _)| key.starts_with(prefix)) {
            if value.is_some() {
                return Ok(true);
            }
        }
        let mut found = false;
        self.store
            .visit(KeySpace::Records, prefix, prefix, &mut |key, _| {
                if self.writes.contains_key(key) {
                    return ControlFlow::Continue(());
                }
                found = true;
                ControlFlow::Break(())
            })?;
        Ok(found)
    }

    /// Returns an entry with the number of its newest change.
    pub fn entry(&self, id: EntryId) -> Result<Option<(Seq, Entry)>, IndexError> {
        let Some(node) = self.get::<NodeV1>(&key::node(id))? else {
            return Ok(None);
        };
        let kind = match node.kind {
            NodeKindV1::Directory => EntryKind::Directory,
            NodeKindV1::File { .. } => {
                let content = self.get::<FileContent>(&key::content(id))?;
                let content = content
                    .ok_or_else(|| IndexError::Damaged(format!("file {id} has no content")))?;
                EntryKind::File(Box::new(content))
            }
        };
        let entry = Entry {
            id,
            parent: node.parent,
            name: node.name,
            ino: node.ino,
            attributes: node.attributes.restore(),
            kind,
        };
        Ok(Some((node.seq, entry)))
    }

    /// Drafts the node and content rows of an entry, without those that lead to it.
    pub fn put_entry(&mut self, entry: &Entry, seq: Seq) -> Result<(), IndexError> {
        let kind = match &entry.kind {
            EntryKind::Directory => {
                self.remove(key::content(entry.id));
                NodeKindV1::Directory
            }
            EntryKind::File(content) => {
                self.put(key::content(entry.id), &**content)?;
                NodeKindV1::File { size: content.size }
            }
        };
        let node = NodeV1 {
            seq,
            parent: entry.parent,
            name: entry.name.clone(),
            ino: entry.ino,
            attributes: AttributesV1::of(&entry.attributes),
            kind,
        };
        self.put(key::node(entry.id), &node)
    }

    /// Drafts the rows that lead to an entry: by name, by cookie and by inode number.
    pub fn link(&mut self, entry: &Entry) -> Result<(), IndexError> {
        self.put(key::inode(entry.ino), &InodeV1(entry.id))?;
        if entry.id == EntryId::ROOT {
            return Ok(());
        }
        let child = ChildV1 {
            id: entry.id,
            ino: entry.ino,
            name: entry.name.clone(),
            kind: match entry.kind {
                EntryKind::Directory => ChildKindV1::Directory,
                EntryKind::File(_) => ChildKindV1::File,
            },
        };
        self.put(key::name(entry.parent, &entry.name), &child)?;
        self.put(key::child(entry.parent, entry.ino), &child)
    }

    /// Removes the rows that lead to an entry if they still do. Another entry of the same commit may
    /// already have its name.
    pub fn unlink(&mut self, entry: &Entry) -> Result<(), IndexError> {
        let id = entry.id;
        let inode = key::inode(entry.ino);
        if self.get::<InodeV1>(&inode)? == Some(InodeV1(id)) {
            self.remove(inode);
        }
        if id == EntryId::ROOT {
            return Ok(());
        }
        let by_name = key::name(entry.parent, &entry.name);
        for key in [by_name, key::child(entry.parent, entry.ino)] {
            if self.get::<ChildV1>(&key)?.is_some_and(|row| row.id == id) {
                self.remove(key);
            }
        }
        Ok(())
    }

    /// Writes the draft into an index that is being filled, without a change of the meta row but the sum. Rows that
    /// others need come before those that need them, and go after them: contents and nodes, in the order of their
    /// tables.
    pub fn write_all(mut self, meta: &mut MetaV1) -> Result<(), IndexError> {
        let mut bulk = BulkWriter::new(self.store, meta);
        let writes = std::mem::take(&mut self.writes);
        let mut removed = Vec::new();
        let mut table = None;
        for (key, value) in writes {
            if value.is_none() {
                removed.push(key);
                continue;
            }
            if table.replace(key.first().copied()) != Some(key.first().copied()) {
                bulk.settle()?;
            }
            let old = self.stored(&key)?;
            bulk.write(key, old.as_deref(), value);
        }
        for key in removed.into_iter().rev() {
            let Some(old) = self.stored(&key)? else {
                continue;
            };
            if table.replace(key.first().copied()) != Some(key.first().copied()) {
                bulk.settle()?;
            }
            bulk.write(key, Some(&old), None);
        }
        bulk.finish()
    }

    /// Returns the batch to apply, and the meta row in it.
    pub fn finish(mut self, mut meta: MetaV1) -> Result<(Writes, MetaV1), IndexError> {
        let mut absent = Vec::new();
        for (key, value) in &self.writes {
            let old = self.stored(key)?;
            match (&old, value) {
                (None, None) => absent.push(key.clone()),
                (Some(old), _) => meta.sum = meta.sum.wrapping_sub(row_sum(key, old)),
                (None, Some(_)) => {}
            }
            if let Some(new) = value {
                meta.sum = meta.sum.wrapping_add(row_sum(key, new));
            }
        }
        // The database would look for each of them.
        for key in absent {
            self.writes.remove(&key);
        }
        let bytes = encode(&meta).map_err(IndexError::Codec)?;
        self.writes.insert(key::META.to_vec(), Some(bytes));
        Ok((self.writes, meta))
    }
}
