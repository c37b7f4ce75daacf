//! Conversions between the types of the kernel and those of `vfs`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileType, FopenFlags, Generation, INodeNo, OpenAccMode, OpenFlags,
    RenameFlags, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, OFlag};

use crate::model::{Ino, Timestamp};
use crate::vfs::{
    AccessMode, AllocateMode, Attr, Caller, Existing, FileKind, Mutability, Opened, RenameMode,
    SeekTarget, SetIdBits, TreeUse, XattrMode,
};

/// Time for which the kernel may answer from its cache. Without it each stat is a round trip (26k
/// instead of 235k stats a second). With it, a change that did not come through this mount
/// (`tgfs delete`, HTTP) is seen this much later.
const TREE_TTL: Duration = Duration::from_secs(1);

/// Names of computed files are looked up each time, because they follow a rename of their file at once.
const COMPUTED_TTL: Duration = Duration::ZERO;

/// Inode numbers are never used again, so one generation is enough.
pub(super) const GENERATION: Generation = Generation(0);

/// Value of `st_blksize` in bytes: the page size. Larger values make the kernel keep larger blocks
/// per folio, but do not make requests larger.
const BLOCK_SIZE: u32 = 4096;

/// Returns how long the kernel may keep a name.
pub(super) fn entry_ttl(attr: &Attr) -> Duration {
    if attr.ino.is_virtual() {
        COMPUTED_TTL
    } else {
        TREE_TTL
    }
}

/// Returns how long the kernel may keep attributes.
pub(super) fn attr_ttl(_attr: &Attr) -> Duration {
    TREE_TTL
}

pub(super) fn caller(request: &Request) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
        pid: request.pid(),
    }
}

pub(super) fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: attr.created.into(),
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or(0),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

pub(super) fn timestamp(time: TimeOrNow) -> Timestamp {
    match time {
        TimeOrNow::SpecificTime(time) => asked_time(time),
        TimeOrNow::Now => Timestamp::now(),
    }
}

/// Returns the time that the kernel sent. fuser 0.18 subtracts both fields of a time before 1970 from
/// the epoch, although only the seconds are negative; its own replies are right.
fn asked_time(time: SystemTime) -> Timestamp {
    match UNIX_EPOCH.duration_since(time) {
        Ok(before) if before.subsec_nanos() > 0 => Timestamp {
            seconds: 0_i64.saturating_sub_unsigned(before.as_secs()),
            nanos: before.subsec_nanos(),
        },
        _ => time.into(),
    }
}

pub(super) fn access(flags: OpenFlags) -> AccessMode {
    match flags.acc_mode() {
        OpenAccMode::O_RDONLY => AccessMode::Read,
        OpenAccMode::O_WRONLY => AccessMode::Write,
        OpenAccMode::O_RDWR => AccessMode::ReadWrite,
    }
}

pub(super) fn existing(flags: OpenFlags) -> Existing {
    if has(flags, OFlag::O_TRUNC) {
        Existing::Truncate
    } else {
        Existing::Keep
    }
}

/// Returns what an open does with the tree.
pub(super) fn tree_use(access: AccessMode, existing: Existing) -> TreeUse {
    match (access, existing) {
        (AccessMode::Read, Existing::Keep) => TreeUse::Look,
        _ => TreeUse::Change,
    }
}

/// Returns whether the caller insists on a new file.
pub(super) fn is_exclusive(flags: OpenFlags) -> bool {
    has(flags, OFlag::O_EXCL)
}

fn has(flags: OpenFlags, flag: OFlag) -> bool {
    OFlag::from_bits_retain(flags.0).contains(flag)
}

/// Returns the flags for an opened file. Bytes that cannot change may stay in the page cache across
/// opens, so a second reader never waits for a read that is stuck. `FOPEN_DIRECT_IO` is never used,
/// because it makes such a reader unkillable.
pub(super) fn open_flags(opened: Opened) -> FopenFlags {
    match opened.mutability {
        Mutability::Immutable => FopenFlags::FOPEN_KEEP_CACHE,
        Mutability::Mutable => FopenFlags::empty(),
    }
}

pub(super) fn written_bits(flags: WriteFlags) -> SetIdBits {
    if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
        SetIdBits::Clear
    } else {
        SetIdBits::Keep
    }
}

/// Returns the effect of a `setattr` on set-id bits. The kernel sets a flag when a truncate clears the
/// bits, but fuser does not pass it on. The rule is therefore applied here: a truncate by anyone but root
/// clears them. chown clears them for root too, as Linux does everywhere, unless a mode comes with it.
pub(super) fn setattr_bits(
    request: &Request,
    size: Option<u64>,
    owner: Option<u32>,
    mode: Option<u32>,
) -> SetIdBits {
    let truncated = size.is_some() && request.uid() != 0;
    let given_away = owner.is_some() && mode.is_none();
    if truncated || given_away {
        SetIdBits::Clear
    } else {
        SetIdBits::Keep
    }
}

/// Converts the flags of a rename. Exchanging two names (and whiteouts) would need a second kind of
/// change in the journal, which no tool for video needs. EINVAL makes callers fall back.
pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode, Errno> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode, Errno> {
    match flags {
        0 => Ok(XattrMode::Set),
        nix::libc::XATTR_CREATE => Ok(XattrMode::Create),
        nix::libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn allocate_mode(mode: i32) -> Result<AllocateMode, Errno> {
    let flags = FallocateFlags::from_bits_retain(mode);
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    if flags.is_empty() {
        Ok(AllocateMode::Extend)
    } else if flags == keep {
        Ok(AllocateMode::KeepSize)
    } else if flags == FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep {
        Ok(AllocateMode::PunchHole)
    } else if flags == FallocateFlags::FALLOC_FL_ZERO_RANGE {
        Ok(AllocateMode::ZeroRange)
    } else if flags == FallocateFlags::FALLOC_FL_ZERO_RANGE | keep {
        Ok(AllocateMode::ZeroRangeKeepSize)
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

pub(super) fn seek_target(whence: i32) -> Result<SeekTarget, Errno> {
    match whence {
        nix::libc::SEEK_DATA => Ok(SeekTarget::Data),
        nix::libc::SEEK_HOLE => Ok(SeekTarget::Hole),
        _ => Err(Errno::EINVAL),
    }
}

/// Returns whether an extended attribute is the user's own, because only those exist. EOPNOTSUPP
/// keeps tools quiet about the rest (ACLs, capabilities, labels) and, unlike ENOSYS, does not
/// switch the others off.
pub(super) fn is_user_attribute(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"user.")
}

/// Makes the answer to `listxattr(2)`: names, each terminated by a zero byte.
pub(super) fn attribute_list(names: Vec<Vec<u8>>) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        list.extend_from_slice(&name);
        list.push(0);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_plain_renames_are_taken() {
        assert_eq!(
            rename_mode(RenameFlags::empty()).ok(),
            Some(RenameMode::Replace)
        );
        assert_eq!(
            rename_mode(RenameFlags::RENAME_NOREPLACE).ok(),
            Some(RenameMode::NoReplace)
        );
        assert!(rename_mode(RenameFlags::RENAME_EXCHANGE).is_err());
        assert!(rename_mode(RenameFlags::RENAME_WHITEOUT).is_err());
        assert!(rename_mode(RenameFlags::from_bits_retain(1 << 9)).is_err());
    }

    #[test]
    fn allocation_modes_that_shift_bytes_are_refused() {
        assert_eq!(allocate_mode(0).ok(), Some(AllocateMode::Extend));
        assert_eq!(allocate_mode(3).ok(), Some(AllocateMode::PunchHole));
        assert_eq!(
            allocate_mode(0x11).ok(),
            Some(AllocateMode::ZeroRangeKeepSize)
        );
        for collapse_or_insert in [0x08, 0x20] {
            assert!(allocate_mode(collapse_or_insert).is_err());
        }
    }

    #[test]
    fn open_flags_are_understood() {
        let flags = OpenFlags((OFlag::O_RDWR | OFlag::O_TRUNC | OFlag::O_APPEND).bits());
        assert_eq!(access(flags), AccessMode::ReadWrite);
        assert_eq!(existing(flags), Existing::Truncate);
        assert!(!is_exclusive(flags));
        assert_eq!(access(OpenFlags(0)), AccessMode::Read);
    }
}
