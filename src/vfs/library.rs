//! Operations by path and id, for HTTP, the socket and commands.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::watch;

use super::Vfs;
use super::blocking::blocking;
use super::inventory::PackTotals;
use super::names::NameIn;
use super::types::{Attr, Caller, DirEntry, FileKind, Resource};
use crate::cache::Dropped;
use crate::index::NodeKind;
use crate::model::{
    CacheStats, Digest, EntryId, ErrorKind, FileInfo, FsError, FsResult, Ino, JobInfo, PackId,
    PackRef, PendingInfo, TelegramAddress, Timestamp, TreePath, Views,
};

/// Paths, ids and slugs.
impl Vfs {
    /// Returns the `stat` of a path, views included, e.g. `/.hls/film.mkv/master.m3u8`.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io`.
    pub fn resolve(&self, path: &TreePath) -> FsResult<Attr> {
        self.0.namespace.attr(&self.0.namespace.at(path)?)
    }

    /// Does the same as [`Self::readdir`], by path.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io`.
    pub fn read_directory(
        &self,
        path: &TreePath,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        self.0
            .listing
            .list(&self.0.namespace.at(path)?, after, visit)
    }

    /// Opens a file or view for reading fixed bytes. The caller has to `release` the handle in the end.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub async fn open_resource(&self, path: &TreePath) -> FsResult<Resource> {
        self.0.opener.open_resource(path).await
    }

    /// Returns the path that the entry has now.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn path_of(&self, id: EntryId) -> FsResult<TreePath> {
        let path = self.0.tree.path_of(id);
        self.0.availability.unless_incomplete(path)
    }

    /// Returns the path of an entry for messages, or the root if the entry has no path.
    #[must_use]
    pub fn describe(&self, id: EntryId) -> String {
        self.0
            .tree
            .path_of(id)
            .unwrap_or_else(|_| TreePath::root())
            .display()
    }

    /// Returns the film of `/playlist/local/<slug>.m3u8`. A slug stays with the first film that got it
    /// while that film exists.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn by_slug(&self, slug: &str) -> FsResult<EntryId> {
        self.0.reports.by_slug(slug)
    }

    /// Opens a view of a film, in the version whose map's digest begins with `digits`. A version that
    /// players used in the last hour is served also when newer views took its place. The caller has to
    /// `release` the handle in the end.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn open_view(&self, film: EntryId, digits: &str, path: &str) -> FsResult<Resource> {
        let seen = self.0.views.seen_in_version(film, digits, path);
        self.0
            .opener
            .open_seen(film, path, self.0.availability.unless_incomplete(seen)?)
    }

    /// Returns the digest of the map that the file's views are made from now.
    ///
    /// # Errors
    /// `NotFound` while it has none, or `Io`.
    pub fn map_digest(&self, id: EntryId) -> FsResult<Digest> {
        self.0.views.version(id)
    }

    /// Returns the views of a file, for faces that know ids instead of paths.
    ///
    /// # Errors
    /// `NotFound` while the file has no views, or `Io`.
    pub fn views(&self, id: EntryId) -> FsResult<Views> {
        self.0.views.viewed(id)?.views().cloned()
    }

    /// Describes one file.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn info(&self, id: EntryId) -> FsResult<FileInfo> {
        self.0.reports.info(id)
    }

    /// Describes all files below `directory`, sorted by path. For the path of a file, describes
    /// only that file.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn list(&self, directory: &TreePath) -> FsResult<Vec<FileInfo>> {
        self.0.reports.list(directory)
    }

    /// Returns packs that open handles still read from, though their file may be gone, and those of
    /// views that players use.
    #[must_use]
    pub fn packs_in_use(&self) -> HashSet<PackId> {
        let mut packs = self.0.open.packs_in_use();
        packs.extend(self.0.views.packs_in_use());
        packs
    }

    /// Returns the numbers of files and directories, without the root.
    ///
    /// # Errors
    /// `Io`.
    pub fn count(&self) -> FsResult<(u64, u64)> {
        self.0.inventory.count()
    }

    /// Returns the totals of the packs that the tree refers to in the remote.
    ///
    /// # Errors
    /// `Io`.
    pub fn pack_totals(&self) -> FsResult<PackTotals> {
        self.0.inventory.pack_totals()
    }

    /// Returns the addresses of other people's documents that are already files.
    ///
    /// # Errors
    /// `Io`.
    pub fn adopted(&self) -> FsResult<HashSet<TelegramAddress>> {
        self.0.inventory.adopted()
    }

    /// Returns the files that ingest works on and those that failed, with the bytes that are only
    /// in the spool.
    ///
    /// # Errors
    /// `Io`.
    pub fn jobs(&self) -> FsResult<Vec<JobInfo>> {
        self.0.reports.jobs()
    }

    /// Returns the files that wait for the end of a download, with what each waits for.
    ///
    /// # Errors
    /// `Io`.
    pub fn awaiting_rename(&self) -> FsResult<Vec<JobInfo>> {
        self.0.reports.awaiting_rename()
    }

    /// Returns the data that would be lost with the local disk. Files that a file manager creates
    /// for itself do not count.
    ///
    /// # Errors
    /// `Io`.
    pub fn pending(&self) -> FsResult<PendingInfo> {
        self.0.reports.pending()
    }

    /// Returns a number that changes whenever a state, a step or a progress may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.ingest.changes()
    }

    /// Returns the use of the block cache.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.0.cache.stats()
    }

    /// Drops the cached blocks of one file and its views, or of all files. Pinned blocks stay.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn cache_clear(&self, id: Option<EntryId>) -> FsResult<Dropped> {
        match id {
            None => Ok(self.0.cache.clear()),
            Some(id) => Ok(self.0.cache.clear_packs(&self.0.tree.content(id)?.packs())),
        }
    }
}

/// Changes by path.
impl Vfs {
    /// Makes the directories of a path that do not exist.
    ///
    /// # Errors
    /// `NotDirectory`, `ReadOnly`, or `Io`.
    pub fn make_directories(&self, path: &TreePath, caller: Caller) -> FsResult<Ino> {
        let mut at = Ino::ROOT;
        for name in path.names() {
            at = match self.mkdir(at, name.as_bytes(), 0o755, caller) {
                Ok(attr) => attr.ino,
                Err(error) if error.kind == ErrorKind::Exists => {
                    self.lookup(at, name.as_bytes())?.ino
                }
                Err(error) => return Err(error),
            };
        }
        match self.getattr(at)?.kind {
            FileKind::Directory => Ok(at),
            FileKind::File => Err(ErrorKind::NotDirectory.into()),
        }
    }

    /// Removes a file, or a directory with everything in it. Returns the number of removed files.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly`, or `Io`; what was removed before an error stays removed.
    pub fn remove(&self, path: &TreePath) -> FsResult<u64> {
        let Some((parent, name)) = path.split_last() else {
            return Err(FsError::new(
                ErrorKind::InvalidArgument,
                "the root cannot be removed",
            ));
        };
        let node = self.0.tree.resolve(path)?;
        let parent = self.0.tree.resolve(&parent)?.ino;
        match node.kind {
            NodeKind::File { .. } => {
                self.unlink(parent, name.as_bytes())?;
                Ok(1)
            }
            NodeKind::Directory => {
                let mut files = 0;
                for child in self.0.tree.all_children(node.id)? {
                    files += self.remove(&path.join(child.name))?;
                }
                self.rmdir(parent, name.as_bytes())?;
                Ok(files)
            }
        }
    }

    /// Makes a file from a pack that holds all its bytes: a document that someone else posted.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `ReadOnly`, or `Io`.
    pub fn adopt(
        &self,
        parent: Ino,
        name: &[u8],
        pack: PackRef,
        modified: Timestamp,
        caller: Caller,
    ) -> FsResult<EntryId> {
        let at = NameIn { parent, name };
        self.0.names.adopt(at, pack, modified, caller)
    }

    /// Ingests a failed, quarantined or temp-named file. If the file has views, they are made again
    /// with this release and the current settings, while the old ones stay.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`, or `Io`.
    pub fn retry(&self, path: &TreePath) -> FsResult<()> {
        self.0.availability.require_writable()?;
        self.0.sealer.retry(self.0.tree.resolve(path)?.id)
    }

    /// Submits stored files whose views were not yet made when the index was lost, since nothing
    /// else remembers them. Reads every record once.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn submit_pending_views(&self) -> FsResult<u64> {
        let pending = self.0.inventory.pending_views()?;
        pending
            .iter()
            .try_for_each(|id| self.0.sealer.submit(*id))?;
        Ok(pending.len() as u64)
    }

    /// Syncs the journal. Called before an answer that promises durability.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub async fn sync(&self) -> FsResult<()> {
        self.sync_names().await
    }

    /// Commits every draft before the daemon stops. Afterwards all written bytes are in spool and
    /// journal, or their files are in the tree as failed.
    ///
    /// # Errors
    /// The first error. The remaining drafts are committed all the same.
    pub async fn commit_all(&self) -> FsResult<()> {
        let committed = self.0.closer.commit_all().await;
        // The journal may not be synced yet after an error that was passed over.
        let result = committed.and(self.sync_names().await);
        let sealer = Arc::clone(&self.0.sealer);
        let submitted = blocking(move || sealer.submit_waiting()).await;
        result.and(submitted)
    }
}
