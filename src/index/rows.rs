//! Tables of small records for other modules.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::core::{Index, IndexCore};
use super::error::IndexError;
use super::record::RowV1;
use super::store::{KeySpace, RowStore, StoreError, Writes};
use crate::codec::{decode, encode};

/// A table of small records, e.g. jobs or slugs. The journal does not hold them, so their module must be
/// able to do without them. A damaged row counts as absent.
#[derive(Debug, Clone)]
pub struct Rows {
    pub(super) core: Arc<IndexCore>,
    pub(super) table: &'static str,
}

/// A row's key, without its table, and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

impl Index {
    /// Opens a table.
    ///
    /// # Errors
    /// Never today: opening a table does not touch the disk.
    pub fn rows(&self, table: &'static str) -> Result<Rows, IndexError> {
        Ok(Rows {
            core: Arc::clone(&self.core),
            table,
        })
    }
}

impl Rows {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        let mut full = self.table.as_bytes().to_vec();
        full.push(0);
        full.extend_from_slice(key);
        full
    }

    /// Returns the value at `key`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let key = self.key(key);
        let found = self.core.read(|store| store.get(KeySpace::Rows, &key))?;
        Ok(found.and_then(|bytes| decode::<RowV1>(&bytes).ok().map(|row| row.0)))
    }

    /// Stores a value.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        let bytes = encode(&RowV1(value.to_vec())).map_err(IndexError::Codec)?;
        self.write(key, Some(bytes))
    }

    /// Stores a value, and returns when the death of this process cannot undo it. A power cut still can.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_lastingly(&self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        self.put(key, value)?;
        self.core.read(RowStore::write_out)
    }

    /// Removes a value.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remove(&self, key: &[u8]) -> Result<(), IndexError> {
        self.write(key, None)
    }

    fn write(&self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), IndexError> {
        let writes = Writes::from([(self.key(key), value)]);
        let applied = self
            .core
            .read(|store| Ok::<_, IndexError>(store.apply(KeySpace::Rows, &writes)))?;
        applied.map_err(|error: StoreError| {
            *self.core.store_mut() = None;
            error.into()
        })
    }

    /// Returns all rows whose keys start with `prefix`, in the order of the keys.
    ///
    /// # Errors
    /// When the database fails.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyValue>, IndexError> {
        let from = self.key(prefix);
        let skip = self.table.len() + 1;
        self.core.read(|store| {
            let mut found = Vec::new();
            store.visit(KeySpace::Rows, &from, &from, &mut |key, value| {
                if let Ok(row) = decode::<RowV1>(value) {
                    found.push((key[skip..].to_vec(), row.0));
                }
                ControlFlow::Continue(())
            })?;
            Ok::<_, StoreError>(found)
        })
    }
}
