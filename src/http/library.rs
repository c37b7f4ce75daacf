//! The few calls of the file system that the gateway makes. A trait, because the tests here script
//! what no real store does on demand: a remote that dies in the middle of a body.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    CacheStats, Digest, EntryId, FileInfo, FsResult, JobInfo, PendingInfo, Pieces, StoreStatus,
    TreePath,
};
use crate::vfs::{Attr, DirEntry, HandleId, Resource, Vfs};

pub(super) type SharedLibrary = Arc<dyn Library>;

/// Meanings and errors are those of [`Vfs`].
#[async_trait]
pub(super) trait Library: Send + Sync + 'static {
    fn resolve(&self, path: &TreePath) -> FsResult<Attr>;
    fn read_directory(
        &self,
        directory: &TreePath,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()>;
    async fn open(&self, path: &TreePath) -> FsResult<Resource>;
    async fn read_pieces(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces>;
    fn release(&self, handle: HandleId);
    fn path_of(&self, id: EntryId) -> FsResult<TreePath>;
    fn by_slug(&self, slug: &str) -> FsResult<EntryId>;
    fn info(&self, id: EntryId) -> FsResult<FileInfo>;
    fn list(&self) -> FsResult<Vec<FileInfo>>;
    fn map_digest(&self, id: EntryId) -> FsResult<Digest>;
    fn jobs(&self) -> FsResult<Vec<JobInfo>>;
    fn pending(&self) -> FsResult<PendingInfo>;
    fn store_status(&self) -> StoreStatus;
    /// Grows whenever what [`Library::list`] says may have changed.
    fn revision(&self) -> u64;
    fn cache_stats(&self) -> CacheStats;
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

/// A handle that is given back when it is dropped, also by a client that goes away.
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
