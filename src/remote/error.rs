//! Errors of a remote, and whether a retry can help.

use std::time::Duration;

use crate::model::{ErrorKind, FsError};

/// The kind of an error, which decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteErrorKind {
    /// The object is absent. Never used when something could not be read.
    NotFound,
    /// The remote does not answer, or failed temporarily.
    Unavailable,
    /// The remote asks to wait.
    RateLimited,
    /// The remote has no room.
    Full,
    /// Permission is missing.
    Denied,
    /// The bytes are not those that were stored.
    Corrupt,
    /// Another process has locked it.
    Locked,
    /// It was written by a newer program, or belongs to another library or writer.
    Foreign,
    /// The request is wrong; a retry changes nothing.
    Invalid,
}

/// An error of a remote.
#[derive(Debug, thiserror::Error)]
#[error("{op}: {message}")]
pub struct RemoteError {
    pub kind: RemoteErrorKind,
    /// Operation that failed, e.g. `put pack 0f3c…`.
    pub op: String,
    /// Event, and what to do about it.
    pub message: String,
    /// Wait that the remote asks for.
    pub retry_after: Option<Duration>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl RemoteError {
    pub fn new(kind: RemoteErrorKind, op: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            op: op.into(),
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Tells whether the same request may succeed later without anybody's help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            RemoteErrorKind::Unavailable | RemoteErrorKind::RateLimited
        )
    }
}

/// The retry loop takes the error by value and behind an `Arc`.
impl AsRef<Self> for RemoteError {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl From<RemoteError> for FsError {
    fn from(error: RemoteError) -> Self {
        Self::from(&error)
    }
}

impl From<&RemoteError> for FsError {
    fn from(error: &RemoteError) -> Self {
        let kind = match error.kind {
            RemoteErrorKind::Corrupt => ErrorKind::Corrupt,
            RemoteErrorKind::NotFound
            | RemoteErrorKind::Unavailable
            | RemoteErrorKind::RateLimited
            | RemoteErrorKind::Full
            | RemoteErrorKind::Denied
            | RemoteErrorKind::Locked
            | RemoteErrorKind::Foreign
            | RemoteErrorKind::Invalid => ErrorKind::RemoteUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}
