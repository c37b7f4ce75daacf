//! The key store of a remote. Its rows are on the disk when `put` returns.

use std::sync::{Arc, Weak};

use super::core::{Index, IndexCore};
use super::error::IndexError;
use super::kept_keys::TABLE;
use super::rows::Rows;
use super::store::RowStore;
use crate::model::{KeyAndValue, KeyStore, KeyStoreError};

/// The key store. It does not keep the index open.
#[derive(Debug)]
struct Keys(Weak<IndexCore>);

impl Index {
    /// Returns the key store for the remote of this state.
    #[must_use]
    pub fn key_store(&self) -> Arc<dyn KeyStore> {
        Arc::new(Keys(Arc::downgrade(&self.core)))
    }

    /// Copies all keys from `other`.
    ///
    /// # Errors
    /// When one of the databases fails.
    pub fn take_keys_of(&self, other: &Self) -> Result<(), IndexError> {
        let rows = self.rows(TABLE)?;
        for (key, value) in other.rows(TABLE)?.scan(b"")? {
            rows.put(&key, &value)?;
        }
        self.core.read(RowStore::flush)
    }
}

impl Keys {
    fn rows(&self) -> Result<Rows, KeyStoreError> {
        let core = self.0.upgrade();
        let core = core.ok_or_else(|| KeyStoreError("it was closed".to_owned()))?;
        Ok(Rows { core, table: TABLE })
    }

    /// Writes a row, and returns when it is on the disk. Writes are rare (one for each pack or sign-in).
    /// Each costs two syncs of sled's file, about as much as closing a file.
    fn written(
        &self,
        write: impl FnOnce(&Rows) -> Result<(), IndexError>,
    ) -> Result<(), KeyStoreError> {
        let rows = self.rows()?;
        write(&rows).map_err(told)?;
        rows.core.read(RowStore::flush).map_err(told)
    }
}

impl KeyStore for Keys {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KeyStoreError> {
        self.rows()?.get(key).map_err(told)
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), KeyStoreError> {
        self.written(|rows| rows.put(key, value))
    }
    fn remove(&self, key: &[u8]) -> Result<(), KeyStoreError> {
        self.written(|rows| rows.remove(key))
    }
    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyAndValue>, KeyStoreError> {
        self.rows()?.scan(prefix).map_err(told)
    }
}

/// Returns the error for the caller, which names no value.
fn told(error: IndexError) -> KeyStoreError {
    KeyStoreError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Owner;

    fn open(state: &std::path::Path) -> Index {
        Index::open(state, Owner { uid: 0, gid: 0 }).unwrap().0
    }

    #[test]
    fn keys_stay_and_hold_nothing() {
        let state = tempfile::tempdir().unwrap();
        let index = open(state.path());
        let keys = index.key_store();
        keys.put(b"auth 2", b"secret").unwrap();
        keys.put(b"auth 1", b"key").unwrap();
        keys.put(b"peer", b"-100").unwrap();
        keys.remove(b"peer").unwrap();
        keys.remove(b"never").unwrap();
        assert_eq!(keys.get(b"peer").unwrap(), None);
        // The remote may outlive the index.
        drop(index);
        keys.put(b"late", b"").unwrap_err();
        let index = open(state.path());
        let pairs = index.key_store().scan(b"auth").unwrap();
        let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(pairs, [pair(b"auth 1", b"key"), pair(b"auth 2", b"secret")]);
        assert!(!format!("{keys:?}").contains("secret"));
        // Other tables belong to other modules.
        index.rows("remotely").unwrap().put(b"x", b"y").unwrap();
        assert_eq!(index.key_store().scan(b"").unwrap().len(), 2);
    }

    /// A killed process leaves its files as they are at that moment.
    #[test]
    fn a_put_is_on_the_disk_when_it_returns() {
        let (state, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let index = open(state.path());
        let keys = index.key_store();
        for number in 0..20_u8 {
            keys.put(&[number], &[number; 300]).unwrap();
            let target = copy.path().join(number.to_string());
            copy_files(state.path(), &target);
            let copied = open(&target);
            let found = copied.key_store().get(&[number]).unwrap();
            assert_eq!(found, Some(vec![number; 300]));
        }
    }

    fn copy_files(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir(to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let (file, target) = file
                .map(|file| (file.path(), to.join(file.file_name())))
                .unwrap();
            match file.is_dir() {
                true => copy_files(&file, &target),
                false => std::fs::copy(file, target).map(|_| ()).unwrap(),
            }
        }
    }
}
