//! A key store in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::model::{KeyStore, KeyStoreError};
use crate::sync::MutexExt as _;

/// A [`KeyStore`] that is lost with the process, for commands and tests without a state.
#[derive(Debug, Default)]
pub struct MemoryKeys(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryKeys {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.acquire()
    }
}

impl KeyStore for MemoryKeys {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KeyStoreError> {
        Ok(self.rows().get(key).cloned())
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), KeyStoreError> {
        self.rows().insert(key.to_vec(), value.to_vec());
        Ok(())
    }
    fn remove(&self, key: &[u8]) -> Result<(), KeyStoreError> {
        self.rows().remove(key);
        Ok(())
    }
    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, KeyStoreError> {
        let rows = self.rows();
        let from = rows.range(prefix.to_vec()..);
        let found = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
