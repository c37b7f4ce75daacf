//! File operations with all their semantics, callable without a mount or a socket.
//! SKELETON: signatures only.

mod types;

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::model::{Digest, EntryId, FileInfo, FsResult, Ino, JobInfo, PendingInfo, TreePath};
pub use types::{
    Access, AllocateMode, Attr, CacheStats, Caller, DirEntry, Existing, FileKind, HandleId,
    Mutability, Opened, RenameMode, Resource, SeekTarget, SetAttr, SetIdBits, SpaceInfo, XattrMode,
};

/// The file system; a clone is another reference to the same one.
#[derive(Debug, Clone)]
pub struct Vfs {}

/// Operations of the kernel's face: by inode and handle. Those that are not `async` are short and
/// touch only the local index.
#[allow(unused_variables, clippy::missing_errors_doc, clippy::unused_async)]
impl Vfs {
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        unimplemented!()
    }
    /// The kernel dropped `count` references to the inode.
    pub fn forget(&self, ino: Ino, count: u64) {
        unimplemented!()
    }
    pub fn getattr(&self, ino: Ino) -> FsResult<Attr> {
        unimplemented!()
    }
    pub async fn setattr(
        &self,
        ino: Ino,
        handle: Option<HandleId>,
        change: SetAttr,
        caller: Caller,
    ) -> FsResult<Attr> {
        unimplemented!()
    }
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> FsResult<Attr> {
        unimplemented!()
    }
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        unimplemented!()
    }
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        unimplemented!()
    }
    pub fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> FsResult<()> {
        unimplemented!()
    }
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        access: Access,
        caller: Caller,
    ) -> FsResult<(Attr, Opened)> {
        unimplemented!()
    }
    pub async fn open(
        &self,
        ino: Ino,
        access: Access,
        existing: Existing,
        caller: Caller,
    ) -> FsResult<Opened> {
        unimplemented!()
    }
    /// Exactly the bytes asked for, up to the end of the file.
    pub async fn read(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Bytes> {
        unimplemented!()
    }
    /// All of `data`, or an error. `bits`: see [`SetIdBits`].
    pub async fn write(
        &self,
        handle: HandleId,
        offset: u64,
        data: Bytes,
        bits: SetIdBits,
    ) -> FsResult<()> {
        unimplemented!()
    }
    /// `close`: success means that the bytes are durable in the spool.
    pub async fn flush(&self, handle: HandleId, caller: Caller) -> FsResult<()> {
        unimplemented!()
    }
    pub async fn fsync(&self, handle: HandleId) -> FsResult<()> {
        unimplemented!()
    }
    pub fn release(&self, handle: HandleId) {
        unimplemented!()
    }
    /// `fsync` of a directory: names are durable.
    pub async fn sync_names(&self) -> FsResult<()> {
        unimplemented!()
    }
    /// Entries behind `after` (0: from the start, `.` and `..` first) until `visit` breaks.
    pub fn readdir(
        &self,
        ino: Ino,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        unimplemented!()
    }
    pub fn space(&self) -> FsResult<SpaceInfo> {
        unimplemented!()
    }
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> FsResult<Vec<u8>> {
        unimplemented!()
    }
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> FsResult<()> {
        unimplemented!()
    }
    /// Full names.
    pub fn listxattr(&self, ino: Ino) -> FsResult<Vec<Vec<u8>>> {
        unimplemented!()
    }
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> FsResult<()> {
        unimplemented!()
    }
    /// How many bytes were copied: at most 1 GiB a call.
    pub async fn copy_file_range(
        &self,
        from: HandleId,
        from_offset: u64,
        to: HandleId,
        to_offset: u64,
        len: u64,
    ) -> FsResult<u64> {
        unimplemented!()
    }
    pub async fn fallocate(
        &self,
        handle: HandleId,
        offset: u64,
        len: u64,
        mode: AllocateMode,
    ) -> FsResult<()> {
        unimplemented!()
    }
    pub fn seek(&self, handle: HandleId, offset: u64, target: SeekTarget) -> FsResult<u64> {
        unimplemented!()
    }
}

/// Operations by path and id: for HTTP, the socket and commands.
#[allow(unused_variables, clippy::missing_errors_doc, clippy::unused_async)]
impl Vfs {
    /// Also of views, e.g. `/.hls/film.mkv/master.m3u8`.
    pub fn resolve(&self, path: &TreePath) -> FsResult<Attr> {
        unimplemented!()
    }
    /// Opens a file or view for reading fixed bytes; `release` the handle in the end.
    pub async fn open_resource(&self, path: &TreePath) -> FsResult<Resource> {
        unimplemented!()
    }
    /// Where the file is now.
    pub fn path_of(&self, id: EntryId) -> FsResult<TreePath> {
        unimplemented!()
    }
    /// The file that `/playlist/local/<slug>.m3u8` means.
    pub fn by_slug(&self, slug: &str) -> FsResult<EntryId> {
        unimplemented!()
    }
    pub fn info(&self, id: EntryId) -> FsResult<FileInfo> {
        unimplemented!()
    }
    /// Of the map that the file's views are made from now; not found while it has none.
    pub fn map_digest(&self, id: EntryId) -> FsResult<Digest> {
        unimplemented!()
    }
    pub fn cache_stats(&self) -> CacheStats {
        unimplemented!()
    }
    /// Drops the cached blocks of one file and its views, or all of them; how many bytes.
    pub fn cache_clear(&self, id: Option<EntryId>) -> FsResult<u64> {
        unimplemented!()
    }
    /// All files below `directory`, by path.
    pub fn list(&self, directory: &TreePath) -> FsResult<Vec<FileInfo>> {
        unimplemented!()
    }
    pub fn jobs(&self) -> FsResult<Vec<JobInfo>> {
        unimplemented!()
    }
    pub fn pending(&self) -> FsResult<PendingInfo> {
        unimplemented!()
    }
    /// Changes whenever a state, a step or a progress may have.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        unimplemented!()
    }
    /// Makes the directories of a path that are not there.
    pub fn make_directories(&self, path: &TreePath, caller: Caller) -> FsResult<Ino> {
        unimplemented!()
    }
    /// Removes a file, or a directory with all that is in it; the number of files.
    pub fn remove(&self, path: &TreePath) -> FsResult<u64> {
        unimplemented!()
    }
    /// Ingests a failed, quarantined or temp-named file.
    pub fn retry(&self, path: &TreePath) -> FsResult<()> {
        unimplemented!()
    }
}
