//! The calls of the file system that the gateway makes, as a trait: the tests here script events that no
//! real store produces on demand, such as a remote that fails in the middle of a body.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    CacheStats, Digest, EntryId, FileInfo, FsResult, JobInfo, PendingInfo, Pieces, StoreStatus,
    TreePath,
};
use crate::vfs::{Attr, DirEntry, HandleId, Resource, TreeUse, Vfs};

pub(super) type SharedLibrary = Arc<dyn Library>;

/// The file system as the gateway sees it. Meanings and errors are those of [`Vfs`].
#[async_trait]
pub(super) trait Library: Send + Sync + 'static {
    /// Returns the attributes of the file or directory at `path`.
    fn resolve(&self, path: &TreePath) -> FsResult<Attr>;
    /// Passes the entries of a directory behind the cookie `after` to `visit`, until that breaks.
    fn read_directory(
        &self,
        directory: &TreePath,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()>;
    /// Opens a file or view for reading.
    async fn open(&self, path: &TreePath) -> FsResult<Resource>;
    /// Opens a view of a film, in the version whose map's digest begins with `digits`.
    fn open_view(&self, film: EntryId, digits: &str, path: &str) -> FsResult<Resource>;
    /// Reads `len` bytes at `offset`, fewer only at the end.
    async fn read_pieces(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces>;
    /// Closes a handle.
    fn release(&self, handle: HandleId);
    /// Returns the current path of a file.
    fn path_of(&self, id: EntryId) -> FsResult<TreePath>;
    /// Returns the file with a slug.
    fn by_slug(&self, slug: &str) -> FsResult<EntryId>;
    /// Describes a file.
    fn info(&self, id: EntryId) -> FsResult<FileInfo>;
    /// Describes all files.
    fn list(&self) -> FsResult<Vec<FileInfo>>;
    /// Returns the digest of the map of a file's views.
    fn map_digest(&self, id: EntryId) -> FsResult<Digest>;
    /// Returns the jobs of ingest.
    fn jobs(&self) -> FsResult<Vec<JobInfo>>;
    /// Returns what only the local disk holds.
    fn pending(&self) -> FsResult<PendingInfo>;
    /// Returns the state of the connection to the store.
    fn store_status(&self) -> StoreStatus;
    /// Returns whether the tree cannot be used yet.
    fn is_loading(&self) -> bool;
    /// Waits until the tree can be used, at most for the deadline of reads.
    async fn until_loaded(&self);
    /// Returns a number that grows whenever the result of [`Library::list`] may have changed.
    fn revision(&self) -> u64;
    /// Returns the counters of the cache.
    fn cache_stats(&self) -> CacheStats;
    /// Drops cached blocks of a file, or of all files, and returns their bytes.
    fn cache_clear(&self, id: Option<EntryId>) -> FsResult<u64>;
}

#[async_trait]
impl Library for Vfs {
    fn resolve(&self, path: &TreePath) -> FsResult<Attr> {
        Vfs::resolve(self, path)
    }
    fn read_directory(
        &self,
        directory: &TreePath,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        Vfs::read_directory(self, directory, after, visit)
    }
    async fn open(&self, path: &TreePath) -> FsResult<Resource> {
        self.open_resource(path).await
    }
    fn open_view(&self, film: EntryId, digits: &str, path: &str) -> FsResult<Resource> {
        Vfs::open_view(self, film, digits, path)
    }
    async fn read_pieces(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces> {
        Vfs::read_pieces(self, handle, offset, len).await
    }
    fn release(&self, handle: HandleId) {
        Vfs::release(self, handle);
    }
    fn path_of(&self, id: EntryId) -> FsResult<TreePath> {
        Vfs::path_of(self, id)
    }
    fn by_slug(&self, slug: &str) -> FsResult<EntryId> {
        Vfs::by_slug(self, slug)
    }
    fn info(&self, id: EntryId) -> FsResult<FileInfo> {
        Vfs::info(self, id)
    }
    fn list(&self) -> FsResult<Vec<FileInfo>> {
        Vfs::list(self, &TreePath::root())
    }
    fn map_digest(&self, id: EntryId) -> FsResult<Digest> {
        Vfs::map_digest(self, id)
    }
    fn jobs(&self) -> FsResult<Vec<JobInfo>> {
        Vfs::jobs(self)
    }
    fn pending(&self) -> FsResult<PendingInfo> {
        Vfs::pending(self)
    }
    fn store_status(&self) -> StoreStatus {
        Vfs::store_status(self)
    }
    fn is_loading(&self) -> bool {
        Vfs::is_loading(self)
    }
    async fn until_loaded(&self) {
        Vfs::until_loaded(self, TreeUse::Look).await;
    }
    fn revision(&self) -> u64 {
        *self.changes().borrow()
    }
    fn cache_stats(&self) -> CacheStats {
        Vfs::cache_stats(self)
    }
    fn cache_clear(&self, id: Option<EntryId>) -> FsResult<u64> {
        Ok(Vfs::cache_clear(self, id)?.bytes)
    }
}

/// File handle that is released when it is dropped, also when the client disconnects.
pub(super) struct OpenHandle {
    library: SharedLibrary,
    handle: HandleId,
}

impl OpenHandle {
    pub(super) fn new(library: SharedLibrary, handle: HandleId) -> Self {
        Self { library, handle }
    }
    pub(super) async fn read(&self, offset: u64, len: u64) -> FsResult<Pieces> {
        self.library.read_pieces(self.handle, offset, len).await
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        self.library.release(self.handle);
    }
}
