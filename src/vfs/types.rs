//! Types that faces and the file system exchange.

use crate::model::{EntryId, Ino, Timestamp};

/// Caller of an operation: from the FUSE request, or the daemon's own ids for HTTP and the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// Process id; 0 when it is unknown (the kernel's own writeback, HTTP).
    pub pid: u32,
}

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    File,
    Directory,
}

/// Property of a file's bytes: whether they can change under an open handle. It decides what the
/// kernel may cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutability {
    Immutable,
    Mutable,
}

/// The `stat` of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    pub ino: Ino,
    /// Id of the file, or of the file that a view belongs to.
    pub id: Option<EntryId>,
    pub kind: FileKind,
    pub size: u64,
    /// Number of 512-byte units; 0 for views.
    pub blocks: u64,
    /// Permission bits only.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub created: Timestamp,
}

/// Change that `setattr` makes. `None` leaves a value alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<Timestamp>,
    pub mtime: Option<Timestamp>,
    /// Effect on set-id bits, which depends on the caller: chown and truncate clear them unless
    /// root did it.
    pub privileges: SetIdBits,
}

/// Effect of a write, truncate or chown on set-user-id and set-group-id bits
/// (`FUSE_HANDLE_KILLPRIV_V2` moves this duty from the kernel to us).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetIdBits {
    #[default]
    Keep,
    Clear,
}

/// A handle of an open file. A handle that was opened later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// Access that a handle was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    Read,
    Write,
    ReadWrite,
}

/// Effect of `open` on existing content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Truncate,
}

/// An opened handle, and the mutability that decides what the kernel may cache of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    pub handle: HandleId,
    pub mutability: Mutability,
}

/// An entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Position to pass back as `after` to go on behind the entry. It stays right while names come and go.
    pub cookie: u64,
    pub name: Vec<u8>,
    pub ino: Ino,
    pub kind: FileKind,
}

/// Effect of a rename on an existing name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    Replace,
    /// `RENAME_NOREPLACE`
    NoReplace,
}

/// Condition under which an extended attribute is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    Set,
    /// `XATTR_CREATE`
    Create,
    /// `XATTR_REPLACE`
    Replace,
}

/// Effect of `fallocate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllocateMode {
    /// `fallocate(0)`: the size grows.
    Extend,
    /// `FALLOC_FL_KEEP_SIZE`
    KeepSize,
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`
    PunchHole,
    /// `FALLOC_FL_ZERO_RANGE`, with and without keeping the size
    ZeroRange,
    ZeroRangeKeepSize,
}

/// Target of a seek.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTarget {
    Data,
    Hole,
}

/// Space as `df` shows it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceInfo {
    pub total: u64,
    pub free: u64,
    pub files: u64,
}

/// Time for which the bytes at an address stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// The bytes stay as long as the map that the film's views are made from.
    AsLongAsTheMap,
    /// The bytes change with the files beside the film, or with what the user writes.
    Changes,
}

/// Data that HTTP needs to serve a file or a view: fixed bytes under a strong tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub attr: Attr,
    /// Tag without quotes. It changes whenever the bytes do.
    pub etag: String,
    pub lasting: Lasting,
    pub handle: HandleId,
    /// Path below the film's directory of views; `None` for all that is no view of a film.
    pub view: Option<String>,
}

/// What an operation does with the tree. It decides how long the operation waits for a tree that is still
/// being loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeUse {
    /// Finds, lists or reads.
    Look,
    /// Makes, renames, removes or writes.
    Change,
}
