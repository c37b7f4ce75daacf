//! Errors of the index, and the ones that a retry may cure.

use std::io;
use std::path::PathBuf;

use crate::codec::{CodecError, FrameError};
use crate::model::{ErrorKind, FsError, Ino, Name, PackId};

/// Error of the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The local disk failed or refused.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        op: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The disk is full. The index opens again by itself once there is space.
    #[error("the disk that holds {} is full; free some space on it", path.display())]
    NoSpace { path: PathBuf },
    /// The rows are not those that were written. The next start repairs them.
    #[error(
        "the index in the state directory is damaged ({0}); restart tgfs: it repairs the index from the journal and the store"
    )]
    Damaged(String),
    #[error("tgfs (pid {holder}) is still using {}; wait until it has stopped or started", path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("the state directory {} was written by a newer tgfs ({reason}); use that one", path.display())]
    NewerVersion { path: PathBuf, reason: String },
    /// The pack's last reference is gone and its deletion may have begun.
    #[error("pack {0} is about to be deleted; store the bytes anew")]
    DyingPack(PackId),
    #[error("the name {} is taken", .0.display())]
    NameTaken(Name),
    #[error("inode number {} belongs to another file", .0.0)]
    InoTaken(Ino),
    /// The library's log is still being read into the index.
    #[error("the library is being filled from the store and is read-only until then")]
    Filling,
    #[error("the root directory cannot be removed or moved")]
    Root,
    #[error("cannot store a record: {0}")]
    Codec(#[source] CodecError),
    /// The state belongs to another library or store.
    #[error("{0}")]
    Mismatch(String),
}

impl IndexError {
    /// Returns whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Locked { .. })
    }

    /// Returns whether a disk failed, after which the database refuses everything until it is opened again.
    pub(super) const fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Io { .. })
    }

    pub(super) fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { op, path, source },
        }
    }
}

/// A row that cannot be decoded is damaged, unless a newer program wrote it.
impl From<CodecError> for IndexError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::NewerVersion { .. } => Self::NewerVersion {
                path: PathBuf::from("index"),
                reason: error.to_string(),
            },
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<FrameError> for IndexError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(source) => Self::io("write", "journal", source),
            FrameError::Torn => Self::Damaged("a journal record is cut off".into()),
            FrameError::Codec(error) => error.into(),
        }
    }
}

impl From<IndexError> for FsError {
    fn from(error: IndexError) -> Self {
        let kind = match &error {
            IndexError::NoSpace { .. } => ErrorKind::NoSpace,
            IndexError::NameTaken(_) => ErrorKind::Exists,
            IndexError::Root => ErrorKind::NotPermitted,
            IndexError::Filling => ErrorKind::ReadOnly,
            IndexError::Damaged(_) => ErrorKind::Corrupt,
            IndexError::Io { .. }
            | IndexError::Locked { .. }
            | IndexError::NewerVersion { .. }
            | IndexError::DyingPack(_)
            | IndexError::InoTaken(_)
            | IndexError::Codec(_)
            | IndexError::Mismatch(_) => ErrorKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}
