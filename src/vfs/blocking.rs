//! Short blocking work, kept off the async threads.

use crate::model::{ErrorKind, FsError, FsResult};

/// Runs `work` (local disk, index) on a thread where it may block.
///
/// # Errors
/// Errors of `work`, and `Io` when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> FsResult<T> + Send + 'static,
) -> FsResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(FsError::caused_by(ErrorKind::Io, error)))
}
