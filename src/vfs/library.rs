//! Operations by path and id: for HTTP, the socket and commands.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::watch;

use super::describe::{age, only_in_spool};
use super::files::blocking;
use super::open::OpenKind;
use super::types::{
    Access, Attr, Caller, DirEntry, Existing, FileKind, Lasting, Resource, SpaceInfo,
};
use super::viewed_file::ViewedFile;
use super::virtual_tree::VirtualNode;
use super::{Inner, PAGE, Target, Vfs, attr};
use crate::cache::Dropped;
use crate::index::ChildKind;
use crate::ingest::policy::{NamePolicy, name_policy};
use crate::media::subtitles::is_subtitle_name;
use crate::model::{
    CacheStats, Digest, Entry, EntryId, EntryKind, ErrorKind, FileContent, FileInfo, FileState,
    FsError, FsResult, Ino, JobInfo, PendingInfo, PublicState, TreePath, Views, ViewsState,
};
use crate::read::{Follower, Leaving};

/// Bytes of a sidecar that becomes the user's file; subtitles are well below.
const MAX_SIDECAR_BYTES: u64 = 64 << 20;

/// Packs that the tree refers to, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackTotals {
    pub packs: u64,
    pub bytes: u64,
}

/// Paths, ids and slugs.
impl Vfs {
    /// Also of views, e.g. `/.hls/film.mkv/master.m3u8`.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io`.
    pub fn resolve(&self, path: &TreePath) -> FsResult<Attr> {
        self.0.attr_of(&self.0.target_at(path)?)
    }

    /// [`Self::readdir`] by path.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io`.
    pub fn read_directory(
        &self,
        path: &TreePath,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        self.list_target(&self.0.target_at(path)?, after, visit)
    }

    /// Opens a file or view for reading fixed bytes; `release` the handle in the end.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub async fn open_resource(&self, path: &TreePath) -> FsResult<Resource> {
        let target = self.0.target_at(path)?;
        let attr = self.0.attr_of(&target)?;
        if attr.kind == FileKind::Directory {
            return Err(ErrorKind::IsDirectory.into());
        }
        match target {
            Target::Virtual(node) => {
                let VirtualNode::View { file, path } = &node else {
                    let etag = self.0.view_tag(&node)?;
                    let handle = self.0.open.open_other(self.0.open_virtual(&node)?);
                    return Ok(Resource {
                        attr,
                        etag,
                        lasting: Lasting::AsLongAsTheMap,
                        handle,
                    });
                };
                // One look for all: what lies beside a film comes and goes.
                let seen = self.0.seen_view(*file, path)?;
                let attr = self.0.attr_of_seen(&seen, attr.ino)?;
                let (etag, lasting) = (seen.tag.clone(), seen.lasting);
                let handle = self.0.open.open_other(Inner::open_seen(seen)?);
                Ok(Resource {
                    attr,
                    etag,
                    lasting,
                    handle,
                })
            }
            Target::Real(node) => {
                if let Some(file) = self.0.open.file(node.id) {
                    self.commit_file(&file).await?;
                }
                let entry = self.0.tree.recent_entry(node.id)?;
                let EntryKind::File(content) = &entry.kind else {
                    return Err(ErrorKind::IsDirectory.into());
                };
                let content = Arc::new((**content).clone());
                let etag = format!("{}-{}", entry.id, content.version);
                let blobs: Vec<_> = content.blobs.iter().map(|blob| blob.id).collect();
                let attr = Attr {
                    size: content.size,
                    ..attr::real(&self.0.tree.node(node.id)?)
                };
                let handle = self.0.open.open_other(OpenKind::Snapshot {
                    content,
                    follower: Follower::new(Leaving::Waits),
                });
                self.0.ingest.pin(handle.0, blobs);
                Ok(Resource {
                    attr,
                    etag,
                    lasting: Lasting::Changes,
                    handle,
                })
            }
            Target::Unlinked(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Where the file is now.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn path_of(&self, id: EntryId) -> FsResult<TreePath> {
        self.0.unless_incomplete(self.0.tree.path_of(id))
    }

    /// The file that `/playlist/local/<slug>.m3u8` means. A slug stays with the first film that
    /// got it while that film exists.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn by_slug(&self, slug: &str) -> FsResult<EntryId> {
        let owner = self.0.slug_owner(slug)?;
        self.0
            .unless_incomplete(owner.ok_or_else(|| ErrorKind::NotFound.into()))
    }

    /// Of the map that the file's views are made from now.
    ///
    /// # Errors
    /// `NotFound` while it has none, or `Io`.
    pub fn map_digest(&self, id: EntryId) -> FsResult<Digest> {
        Ok(self.0.viewed(id)?.views()?.map_digest)
    }

    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn info(&self, id: EntryId) -> FsResult<FileInfo> {
        let entry = self.0.unless_incomplete(self.0.tree.entry(id))?;
        self.0.describe(&entry, &self.0.tree.path_of(id)?)
    }

    /// All files below `directory`, by path; a file's own path lists just it.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn list(&self, directory: &TreePath) -> FsResult<Vec<FileInfo>> {
        self.0.require_complete()?;
        let node = self.0.tree.resolve(directory)?;
        if matches!(node.kind, crate::index::NodeKind::File { .. }) {
            return Ok(vec![self.info(node.id)?]);
        }
        let mut found = Vec::new();
        let mut todo = vec![(node.id, directory.clone())];
        while let Some((id, path)) = todo.pop() {
            for child in self.0.all_children(id)? {
                let path = path.join(child.name);
                match child.kind {
                    ChildKind::Directory => todo.push((child.id, path)),
                    ChildKind::File => match self.0.tree.entry(child.id) {
                        Ok(entry) => found.push(self.0.describe(&entry, &path)?),
                        Err(error) if error.kind == ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    },
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Packs that open handles still read from though their file may be gone.
    #[must_use]
    pub fn packs_in_use(&self) -> std::collections::HashSet<crate::model::PackId> {
        self.0.open.packs_in_use()
    }

    /// Files and directories, the root left out.
    ///
    /// # Errors
    /// `Io`.
    pub fn count(&self) -> FsResult<(u64, u64)> {
        let (mut files, mut directories) = (0, 0);
        self.0.visit_all(|entry| match entry.kind {
            EntryKind::File(_) => files += 1,
            EntryKind::Directory => directories += 1,
        })?;
        Ok((files, directories.max(1) - 1))
    }

    /// What the tree keeps in the remote.
    ///
    /// # Errors
    /// `Io`.
    pub fn pack_totals(&self) -> FsResult<PackTotals> {
        let mut seen = std::collections::HashMap::new();
        self.0.visit_all(|entry| {
            if let EntryKind::File(content) = &entry.kind {
                seen.extend(content.packs().into_iter().map(|pack| (pack.id, pack.len)));
            }
        })?;
        Ok(PackTotals {
            packs: seen.len() as u64,
            bytes: seen.values().sum(),
        })
    }

    /// Files that ingest is at or that failed, with what is only in the spool.
    ///
    /// # Errors
    /// `Io`.
    pub fn jobs(&self) -> FsResult<Vec<JobInfo>> {
        let mut jobs = Vec::new();
        for (entry, content) in self.0.unfinished_files()? {
            // A file under a temporary name waits for its rename, however long that takes.
            if name_policy(&entry.name) != NamePolicy::Ingest {
                continue;
            }
            let info = self.0.describe(&entry, &self.0.tree.path_of(entry.id)?)?;
            let progress = self.0.ingest.progress(entry.id);
            let step = match &progress {
                Some(progress) => progress.step.to_owned(),
                None if info.state == PublicState::Failed => "none".to_owned(),
                None => "wait".to_owned(),
            };
            jobs.push(JobInfo {
                id: info.id,
                path: info.path,
                state: info.state,
                step,
                progress: info.progress,
                error: info.error,
                spool_bytes: only_in_spool(&content),
                age_seconds: age(entry.attributes.ctime),
            });
        }
        for id in self.0.ingest.remakes() {
            jobs.extend(self.remake_job(id, &jobs)?);
        }
        jobs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(jobs)
    }

    /// Views that are made again, unless the file is listed already.
    fn remake_job(&self, id: EntryId, listed: &[JobInfo]) -> FsResult<Option<JobInfo>> {
        let (Some((_, progress)), Ok(entry)) = (self.0.ingest.remaking(id), self.0.tree.entry(id))
        else {
            return Ok(None);
        };
        let info = self.0.describe(&entry, &self.0.tree.path_of(id)?)?;
        if listed.iter().any(|job| job.id == info.id) {
            return Ok(None);
        }
        Ok(Some(JobInfo {
            id: info.id,
            path: info.path,
            state: info.state,
            step: progress.step.to_owned(),
            progress: progress.percent,
            error: progress.error,
            spool_bytes: 0,
            age_seconds: age(entry.attributes.ctime),
        }))
    }

    /// What would be lost with the local disk. A file manager's own leavings do not count.
    ///
    /// # Errors
    /// `Io`.
    pub fn pending(&self) -> FsResult<PendingInfo> {
        let mut pending = PendingInfo::default();
        let mut unpublished: BTreeSet<EntryId> = self.0.ingest.unpublished()?.into_iter().collect();
        for (entry, content) in self.0.unfinished_files()? {
            let bytes = only_in_spool(&content);
            let is_local = name_policy(&entry.name) == NamePolicy::Local;
            if bytes > 0 && !is_local {
                pending.files += 1;
                pending.bytes += bytes;
                pending.oldest_seconds = pending.oldest_seconds.max(age(entry.attributes.ctime));
            }
            if bytes == 0 && content.views == ViewsState::Pending {
                pending.without_views += 1;
            }
            if bytes > 0 || is_local {
                unpublished.remove(&entry.id);
            }
        }
        pending.changes = unpublished.len() as u64;
        Ok(pending)
    }

    /// Changes whenever a state, a step or a progress may have.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.ingest.changes()
    }

    /// # Errors
    /// `Io` when the disk of the spool does not answer.
    pub fn space(&self) -> FsResult<SpaceInfo> {
        let (used, free) = (self.0.spool.used(), self.0.spool.free());
        Ok(SpaceInfo {
            total: used + free,
            free,
            files: 1 << 32,
        })
    }

    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.0.cache.stats()
    }

    /// Drops the cached blocks of one file and its views, or all of them; not those that are pinned.
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
    /// Makes the directories of a path that are not there.
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

    /// Removes a file, or a directory with all that is in it; the number of files.
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
            crate::index::NodeKind::File { .. } => {
                self.unlink(parent, name.as_bytes())?;
                Ok(1)
            }
            crate::index::NodeKind::Directory => {
                let mut files = 0;
                for child in self.0.all_children(node.id)? {
                    files += self.remove(&path.join(child.name))?;
                }
                self.rmdir(parent, name.as_bytes())?;
                Ok(files)
            }
        }
    }

    /// Ingests a failed, quarantined or temp-named file; of one that has views, makes them anew, as
    /// this release and the settings have them, while the old ones stay.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`, or `Io`.
    pub fn retry(&self, path: &TreePath) -> FsResult<()> {
        self.0.require_writable()?;
        let id = self.0.tree.resolve(path)?.id;
        let (_, remade) = self.0.tree.update(id, |entry| match &mut entry.kind {
            EntryKind::Directory => Err(ErrorKind::IsDirectory.into()),
            EntryKind::File(content) => {
                if matches!(content.state, FileState::Failed(_)) {
                    content.state = FileState::Spooled;
                }
                // A release before this one took subtitle files for no media.
                let is_older =
                    matches!(content.views, ViewsState::NotMedia) && is_subtitle_name(&entry.name);
                if is_older
                    || matches!(
                        content.views,
                        ViewsState::Unsupported(_) | ViewsState::Unreadable(_)
                    )
                {
                    content.views = ViewsState::Pending;
                }
                let has_views = matches!(content.views, ViewsState::Ready(_));
                Ok(has_views.then_some(content.version))
            }
        })?;
        if let Some(version) = remade {
            self.0.ingest.remake(id, version);
        }
        self.0.ingest.retry(id);
        Ok(())
    }

    /// A sidecar that is written to becomes the user's file, with the bytes it had.
    pub(super) async fn materialise(
        &self,
        node: VirtualNode,
        existing: Existing,
        caller: Caller,
    ) -> FsResult<EntryId> {
        let VirtualNode::Sidecar { film, key } = &node else {
            return Err(ErrorKind::ReadOnly.into());
        };
        let directory = self.0.tree.node(film_parent(&self.0, *film)?)?;
        let sidecars = self.0.sidecars(*film)?;
        let name = sidecars
            .into_iter()
            .find(|sidecar| sidecar.node == node)
            .map(|sidecar| sidecar.name)
            .ok_or(ErrorKind::NotFound)?;
        let bytes = match existing {
            Existing::Truncate => bytes::Bytes::new(),
            Existing::Keep => {
                let view = self.0.sidecar_view(*film, key)?;
                let size = view.size.min(MAX_SIDECAR_BYTES);
                let open = super::open_view::OpenView::new(self.0.viewed(*film)?, view);
                open.read(&self.0.reader, 0, size).await?.joined()
            }
        };
        let (attr, opened) = self.create(directory.ino, &name, 0o644, Access::Write, caller)?;
        let written = match bytes.is_empty() {
            true => Ok(()),
            false => {
                self.write(opened.handle, 0, bytes, super::SetIdBits::Keep)
                    .await
            }
        };
        let flushed = self.flush(opened.handle, caller).await;
        self.release(opened.handle);
        written.and(flushed)?;
        let id = attr.id.ok_or(ErrorKind::NotFound)?;
        self.0.virtuals.replace(node.ino(), id);
        Ok(id)
    }

    /// Syncs the journal; used before an answer that promises durability.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub async fn sync(&self) -> FsResult<()> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.tree.sync()).await
    }
}

fn film_parent(inner: &Inner, film: EntryId) -> FsResult<EntryId> {
    Ok(inner.tree.node(film)?.parent)
}

impl Inner {
    /// Every entry, in steps that block nobody for long.
    pub(super) fn visit_all(&self, mut visit: impl FnMut(&Entry)) -> FsResult<()> {
        let mut after = None;
        loop {
            let page = self
                .index
                .entries(after, PAGE)
                .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.id);
            page.iter().for_each(&mut visit);
        }
    }

    fn all_children(&self, id: EntryId) -> FsResult<Vec<crate::index::Child>> {
        let mut all = Vec::new();
        let _: ControlFlow<()> = self.each_child(id, Ino(0), |child| {
            all.push(child);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    fn view_tag(&self, node: &VirtualNode) -> FsResult<String> {
        match node {
            VirtualNode::View { file, path } => Ok(self.seen_view(*file, path)?.tag),
            VirtualNode::Sidecar { film, .. } => self.viewed(*film)?.tag(),
            VirtualNode::Marker(marker) => Ok(marker.name().to_owned()),
            VirtualNode::Mirror(_) | VirtualNode::Ghost { .. } => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Files that no acknowledged manifest holds in their newest state, or that a job is at.
    fn unfinished_files(&self) -> FsResult<Vec<(Entry, FileContent)>> {
        let mut found = Vec::new();
        for id in self.ingest.unfinished()? {
            match self.tree.entry(id) {
                Ok(Entry {
                    kind: EntryKind::Directory,
                    ..
                }) => {}
                Ok(entry) => {
                    if let EntryKind::File(content) = &entry.kind {
                        let content = (**content).clone();
                        found.push((entry, content));
                    }
                }
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// The views of a file by id, for faces that know ids and not paths.
impl Vfs {
    /// # Errors
    /// `NotFound` while the file has no views, or `Io`.
    pub fn views(&self, id: EntryId) -> FsResult<Views> {
        let viewed: ViewedFile = self.0.viewed(id)?;
        viewed.views().cloned()
    }
}
