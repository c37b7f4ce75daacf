//! What can go wrong with a file operation, in words that both faces translate: errno for the
//! kernel, a status for HTTP.

use std::fmt;

pub type FsResult<T> = Result<T, FsError>;

/// The kind decides errno, HTTP status and whether trying again can help.
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
    /// Nothing drains and nothing more fits (ENOSPC).
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
    /// Bytes came back that are not the bytes that were stored.
    Corrupt,
    /// A generated file cannot be renamed, only copied (EXDEV, so that `mv` copies it).
    CannotMove,
    /// The local disk failed.
    Io,
}

/// An error with its kind, and a text that names the file and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsError {
    pub kind: ErrorKind,
    pub message: String,
}

impl FsError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::RemoteUnavailable)
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "{:?}", self.kind)
        } else {
            f.write_str(&self.message)
        }
    }
}

impl std::error::Error for FsError {}

impl From<ErrorKind> for FsError {
    fn from(kind: ErrorKind) -> Self {
        Self {
            kind,
            message: String::new(),
        }
    }
}

impl From<super::NameError> for FsError {
    fn from(error: super::NameError) -> Self {
        let kind = match error {
            super::NameError::Invalid => ErrorKind::InvalidArgument,
            super::NameError::TooLong => ErrorKind::NameTooLong,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<std::io::Error> for FsError {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::NoSpace
            }
            _ => ErrorKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}
