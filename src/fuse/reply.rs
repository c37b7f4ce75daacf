//! The one way to end a request: with a value or an errno, whatever happens in between.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fuser::{
    Errno, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::errno::errno;
use crate::model::{ErrorKind, FsError, FsResult, MAX_NAME_BYTES};
use crate::vfs::SpaceInfo;

/// Unit of `statfs` in bytes.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// A reply that can carry an error.
pub(super) trait Refuse {
    /// Answers the request with `errno`.
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

/// Ends a request with `result`. `operation` is for the log.
pub(super) fn finish<T, R: Refuse>(
    operation: &'static str,
    result: FsResult<T>,
    reply: R,
    accept: impl FnOnce(T, R),
) {
    match result {
        Ok(value) => accept(value, reply),
        Err(error) => {
            log_refusal(operation, &error);
            reply.refuse(errno(error.kind));
        }
    }
}

/// Logs a refused request. A failed look-up is routine, but a failure of the disk or the remote is not.
fn log_refusal(operation: &'static str, error: &FsError) {
    match error.kind {
        ErrorKind::Io | ErrorKind::Corrupt | ErrorKind::RemoteUnavailable | ErrorKind::NoSpace => {
            tracing::warn!(operation, kind = ?error.kind, "{error}");
        }
        kind => tracing::debug!(operation, ?kind, "{error}"),
    }
}

/// Runs `call` on the thread of an event loop. A panic becomes an error of this one request, and
/// must not take the loop away from all others.
pub(super) fn guarded<T>(call: impl FnOnce() -> FsResult<T>) -> FsResult<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(FsError::new(
            ErrorKind::Io,
            "an internal error; the log has a panic before this line, please report it",
        ))
    })
}

/// Answers `getxattr(2)` and `listxattr(2)`, where size 0 asks for the length of the value.
pub(super) fn answer_attribute(
    operation: &'static str,
    value: FsResult<Vec<u8>>,
    size: u32,
    reply: ReplyXattr,
) {
    finish(
        operation,
        value,
        reply,
        |value, reply: ReplyXattr| match u32::try_from(value.len()) {
            Ok(len) if size == 0 => reply.size(len),
            Ok(len) if len <= size => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
    );
}

/// Answers `statfs`.
pub(super) fn answer_space(space: SpaceInfo, reply: ReplyStatfs) {
    let unit = u64::from(STATFS_BLOCK_BYTES);
    let free = space.free / unit;
    reply.statfs(
        space.total / unit,
        free,
        free,
        space.files,
        u64::from(u32::MAX),
        STATFS_BLOCK_BYTES,
        u32::try_from(MAX_NAME_BYTES).unwrap_or(u32::MAX),
        STATFS_BLOCK_BYTES,
    );
}

/// Answers `lseek`.
pub(super) fn answer_position(found: u64, reply: ReplyLseek) {
    match i64::try_from(found) {
        Ok(found) => reply.offset(found),
        Err(_) => reply.error(Errno::EOVERFLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_one_request() {
        let result: FsResult<()> = guarded(|| panic!("on purpose"));
        assert_eq!(result.map_err(|error| error.kind), Err(ErrorKind::Io));
    }
}
