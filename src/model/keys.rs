//! Private values that a remote needs again after a restart: keys of connections, resolved ids, notes
//! on posts under way.

/// Error of the state directory in keeping or returning a value.
#[derive(Debug, thiserror::Error)]
#[error("the state directory: {0}")]
pub struct KeyStoreError(pub String);

/// A key and its value.
pub type KeyAndValue = (Vec<u8>, Vec<u8>);

/// A store of small values by key, in the state directory. Losing all of them costs time, never bytes: an
/// encrypted library is then judged as by a new state.
pub trait KeyStore: std::fmt::Debug + Send + Sync {
    /// Returns the value at `key`.
    ///
    /// # Errors
    /// When the state cannot be read. A value that was never put is `None`, not an error.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KeyStoreError>;
    /// Stores a value, which is durable when this returns.
    ///
    /// # Errors
    /// When the state cannot be written.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), KeyStoreError>;
    /// Removes a value; a missing one is no error.
    ///
    /// # Errors
    /// When the state cannot be written.
    fn remove(&self, key: &[u8]) -> Result<(), KeyStoreError>;
    /// Returns all keys that begin with `prefix`, with their values, in order.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyAndValue>, KeyStoreError>;
}
