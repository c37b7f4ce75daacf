//! Where a remote keeps what it needs again after a restart and must not lose to another process:
//! keys of connections, ids that were resolved, notes on what is under way.

/// The state could not keep or give back a value.
#[derive(Debug, thiserror::Error)]
#[error("the state directory: {0}")]
pub struct KeyStoreError(pub String);

/// A key and its value.
pub type KeyAndValue = (Vec<u8>, Vec<u8>);

/// Small values by key, kept in the state directory. Losing all of them costs time, never bytes.
pub trait KeyStore: std::fmt::Debug + Send + Sync {
    /// # Errors
    /// When the state cannot be read; a value that was never put is `None`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KeyStoreError>;
    /// Durable when it returns.
    ///
    /// # Errors
    /// When the state cannot be written.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), KeyStoreError>;
    /// Removing what is not there is success.
    ///
    /// # Errors
    /// When the state cannot be written.
    fn remove(&self, key: &[u8]) -> Result<(), KeyStoreError>;
    /// All keys that begin with `prefix`, with their values, in order.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyAndValue>, KeyStoreError>;
}
