//! Errors of file operations. Both faces translate them: the mount to errno, HTTP to a status.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Result of a file operation.
pub type FsResult<T> = Result<T, FsError>;

/// Kind of an error. It decides errno, HTTP status, and whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    NotFound,
    Exists,
    NotDirectory,
    IsDirectory,
    NotEmpty,
    /// Views and everything under `/.hls`, or a library that is being filled (EROFS).
    ReadOnly,
    /// Refused on principle: links, devices, `.Trash-*` (EPERM).
    NotPermitted,
    InvalidArgument,
    NameTooLong,
    /// Nothing drains, and nothing more fits (ENOSPC).
    NoSpace,
    /// Larger than a file may be here (EFBIG).
    TooLarge,
    NoAttribute,
    AttributeTooLarge,
    BadHandle,
    /// The operation does not exist here (EOPNOTSUPP).
    NotSupported,
    /// No data or hole behind this position (ENXIO).
    NoSuchPosition,
    /// The remote did not answer in time, or cannot be reached.
    RemoteUnavailable,
    /// The bytes that came back are not those that were stored.
    Corrupt,
    /// A generated file can only be copied, not renamed (EXDEV, on which `mv` copies).
    CannotMove,
    /// The local disk failed.
    Io,
}

impl ErrorKind {
    /// Returns the kind in words, for errors that have no text of their own.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "no such file or directory",
            Self::Exists => "the name is taken",
            Self::NotDirectory => "is a file, not a directory",
            Self::IsDirectory => "is a directory, not a file",
            Self::NotEmpty => "the directory is not empty",
            Self::ReadOnly => "cannot be changed: views and a read-only library are fixed",
            Self::NotPermitted => "is not permitted in a library",
            Self::InvalidArgument => "is not valid here",
            Self::NameTooLong => "the name is too long: a name has at most 255 bytes",
            Self::NoSpace => "there is no space left",
            Self::TooLarge => "the file is too large",
            Self::NoAttribute => "there is no such attribute",
            Self::AttributeTooLarge => "the attribute is too large",
            Self::BadHandle => "the file is not open",
            Self::NotSupported => "is not supported here",
            Self::NoSuchPosition => "there is no such position in the file",
            Self::RemoteUnavailable => "the store does not answer; try again later",
            Self::Corrupt => "the stored bytes are damaged",
            Self::CannotMove => "a generated file can be copied, not moved",
            Self::Io => "the disk failed; see the log",
        }
    }
}

/// Error of a file operation: its kind, a text for the user, and the error below that caused it.
#[derive(Debug, Clone)]
pub struct FsError {
    /// The kind, which decides the answer to the caller.
    pub kind: ErrorKind,
    /// Text that names the file and says what to do; empty when the kind says enough.
    pub message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl FsError {
    /// Creates an error that has no error below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Creates an error with the text of the error that caused it.
    pub fn caused_by(kind: ErrorKind, source: impl Error + Send + Sync + 'static) -> Self {
        let message = source.to_string();
        Self::explained(kind, message, source)
    }

    /// Creates an error with a text of its own, and the error that caused it.
    pub fn explained(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(Arc::new(source)),
        }
    }

    /// Returns whether the same operation can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::RemoteUnavailable)
    }
}

/// Two errors are equal when their callers cannot tell them apart.
impl PartialEq for FsError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.message == other.message
    }
}

impl Eq for FsError {}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            f.write_str(self.kind.describe())
        } else {
            f.write_str(&self.message)
        }
    }
}

impl Error for FsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

impl From<ErrorKind> for FsError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, "")
    }
}

impl From<super::NameError> for FsError {
    fn from(error: super::NameError) -> Self {
        let kind = match error {
            super::NameError::Invalid => ErrorKind::InvalidArgument,
            super::NameError::TooLong => ErrorKind::NameTooLong,
        };
        Self::caused_by(kind, error)
    }
}

impl From<std::io::Error> for FsError {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::NoSpace
            }
            std::io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Io,
        };
        Self::caused_by(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_error_below_stays_in_the_chain() {
        let error = FsError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.kind, ErrorKind::NoSpace);
        let source = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(
            source.map(io::Error::kind),
            Some(io::ErrorKind::StorageFull)
        );
        assert!(FsError::from(ErrorKind::NotFound).source().is_none());
    }
}
