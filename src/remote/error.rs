//! What can go wrong with a remote, and whether trying again can help.

use std::time::Duration;

use crate::model::{ErrorKind, FsError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteErrorKind {
    /// The object is not there. Never said because something could not be read.
    NotFound,
    /// The remote does not answer, or failed in a way that may pass.
    Unavailable,
    /// The remote asks to wait.
    RateLimited,
    /// There is no room.
    Full,
    /// We may not do this.
    Denied,
    /// What came back is not what was stored.
    Corrupt,
    /// Another process holds it.
    Locked,
    /// It was written by a newer program, or belongs to another library or writer.
    Foreign,
    /// A mistake in the request; trying again changes nothing.
    Invalid,
}

#[derive(Debug, thiserror::Error)]
#[error("{op}: {message}")]
pub struct RemoteError {
    pub kind: RemoteErrorKind,
    /// What was being done, e.g. `put pack 0f3c…`.
    pub op: String,
    /// What happened and what to do about it.
    pub message: String,
    /// How long the remote asks to wait.
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

    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the same request may succeed later without anybody doing something about it.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            RemoteErrorKind::Unavailable | RemoteErrorKind::RateLimited
        )
    }
}

/// So that the retry loop takes it by itself and shared.
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
