//! Mapping from errors of file operations to errno.

use fuser::Errno;

use crate::model::ErrorKind;

/// Returns the errno for `kind`. An unreachable remote and damaged bytes both become EIO: every
/// tool stops at it, and no tool takes it for an answer about the tree.
pub(super) fn errno(kind: ErrorKind) -> Errno {
    match kind {
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::Exists => Errno::EEXIST,
        ErrorKind::NotDirectory => Errno::ENOTDIR,
        ErrorKind::IsDirectory => Errno::EISDIR,
        ErrorKind::NotEmpty => Errno::ENOTEMPTY,
        ErrorKind::ReadOnly => Errno::EROFS,
        ErrorKind::NotPermitted => Errno::EPERM,
        ErrorKind::InvalidArgument => Errno::EINVAL,
        ErrorKind::NameTooLong => Errno::ENAMETOOLONG,
        ErrorKind::NoSpace => Errno::ENOSPC,
        ErrorKind::TooLarge => Errno::EFBIG,
        ErrorKind::NoAttribute => Errno::NO_XATTR,
        ErrorKind::AttributeTooLarge => Errno::E2BIG,
        ErrorKind::BadHandle => Errno::EBADF,
        ErrorKind::NotSupported => Errno::EOPNOTSUPP,
        ErrorKind::NoSuchPosition => Errno::ENXIO,
        // `mv` then falls back to copying.
        ErrorKind::CannotMove => Errno::EXDEV,
        ErrorKind::RemoteUnavailable | ErrorKind::Corrupt | ErrorKind::Io => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_is_never_an_answer_about_the_tree() {
        for kind in [
            ErrorKind::RemoteUnavailable,
            ErrorKind::Corrupt,
            ErrorKind::Io,
        ] {
            assert_eq!(errno(kind).code(), nix::libc::EIO);
        }
        assert_eq!(errno(ErrorKind::NotFound).code(), nix::libc::ENOENT);
        assert_eq!(errno(ErrorKind::ReadOnly).code(), nix::libc::EROFS);
    }
}
