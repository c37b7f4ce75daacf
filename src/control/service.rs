//! Executes requests, with the file system and with the operations of the composition root.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc::Sender;

use super::upload::{self, Incoming};
use super::wire::{
    Cleaned, DaemonInfo, LoginLink, Request, Response, Stat, UploadsAtStop, UrlInfo, Verified,
    Wait, WirePath,
};
use crate::config::Reloaded;
use crate::model::shown;
use crate::model::{
    AttachState, ConfinementInfo, EntryId, ErrorKind, FileInfo, FsError, PendingInfo, PublicState,
    TreePath, VerifyDepth,
};
use crate::vfs::{FileKind, TreeUse, Vfs};

/// Longest time between two checks of an awaited state, in case a change was not announced.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Operations that only the composition root can do. Errors are texts for people.
#[async_trait::async_trait]
#[allow(clippy::missing_errors_doc)]
pub trait Operations: std::fmt::Debug + Send + Sync + 'static {
    /// Describes this process.
    fn daemon(&self) -> DaemonInfo;
    /// Returns what goes wrong with the store now although it works, a line each.
    fn troubles(&self) -> Vec<String>;
    /// Returns what confines the media tools.
    async fn confinement(&self) -> ConfinementInfo;
    /// Returns counts and sizes of index, journal, cache, spool and remote.
    async fn stats(&self) -> Result<Vec<Stat>, String>;
    /// Drops cache entries that were not used for `unused_for`, and finished jobs.
    async fn cleanup(&self, unused_for: Duration) -> Result<Cleaned, String>;
    /// Drops the cached blocks of one file, or of all.
    async fn clear_cache(&self, file: Option<EntryId>) -> Result<Cleaned, String>;
    /// Compares index and store; sends a [`Response::Finding`] for each difference.
    async fn verify(&self, depth: VerifyDepth, out: &Sender<Response>) -> Result<Verified, String>;
    /// Adds the films of a channel: sends a [`Response::File`] for each, and a
    /// [`Response::Finding`] for each that cannot be added.
    async fn import(
        &self,
        channel: &str,
        directory: &TreePath,
        out: &Sender<Response>,
    ) -> Result<(), String>;
    /// Reads the settings again.
    async fn reload(&self) -> Result<Reloaded, String>;
    /// Makes a link that signs a browser in once.
    fn login_link(&self) -> Result<LoginLink, String>;
    /// Begins to stop the daemon, and returns at once.
    fn stop(&self);
}

/// Executor of requests; a clone refers to the same one.
#[derive(Debug, Clone)]
pub struct Service {
    vfs: Vfs,
    operations: Arc<dyn Operations>,
}

/// Reason why an execution ended early.
enum Stop {
    /// An error for the client.
    Failed(String),
    /// The client has gone.
    Gone,
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// Returns what a request does with the tree, for which it waits while the library is being loaded.
fn tree_use(request: &Request) -> Option<TreeUse> {
    match request {
        Request::List { .. }
        | Request::Status { path: Some(_), .. }
        | Request::Url { .. }
        | Request::CacheClear { path: Some(_) } => Some(TreeUse::Look),
        Request::Delete { .. }
        | Request::Retry { .. }
        | Request::Upload { .. }
        | Request::Import { .. } => Some(TreeUse::Change),
        Request::Ping
        | Request::Status { path: None, .. }
        | Request::DbStats
        | Request::Cleanup { .. }
        | Request::CacheClear { path: None }
        | Request::Verify { .. }
        | Request::Reload
        | Request::LoginLink
        | Request::Stop { .. } => None,
    }
}

impl Service {
    /// Makes a service over the file system.
    #[must_use]
    pub fn new(vfs: Vfs, operations: Arc<dyn Operations>) -> Self {
        Self { vfs, operations }
    }

    /// Describes this process.
    #[must_use]
    pub fn daemon(&self) -> DaemonInfo {
        self.operations.daemon()
    }

    /// Executes a request and sends its answers, the last of which is [`Response::Done`] or
    /// [`Response::Failed`]. `body` holds the bytes of an upload. If the receiver is dropped, the
    /// execution ends early and leaves nothing behind.
    pub async fn execute<R>(&self, request: Request, body: &mut R, out: &Sender<Response>)
    where
        R: AsyncRead + Send + Unpin,
    {
        let outcome = tokio::select! {
            outcome = self.dispatch(request, body, out) => outcome,
            // Dropping the dispatch is safe. The guard of an upload removes its temporary file, and
            // everything else changes nothing between two awaits.
            () = out.closed() => Err(Stop::Gone),
        };
        let last = match outcome {
            Ok(()) => Response::Done,
            Err(Stop::Failed(message)) => Response::Failed { message },
            Err(Stop::Gone) => return,
        };
        // A receiver that has gone needs no answer.
        let _ = out.send(last).await;
    }

    async fn dispatch<R>(
        &self,
        request: Request,
        body: &mut R,
        out: &Sender<Response>,
    ) -> Result<(), Stop>
    where
        R: AsyncRead + Send + Unpin,
    {
        if let Some(usage) = tree_use(&request) {
            self.vfs.until_loaded(usage).await;
        }
        match request {
            Request::Ping => tell(out, Response::Daemon(self.daemon())).await,
            Request::List { directory } => self.list(&directory, out).await,
            Request::Status { path: None, wait } => self.status_of_all(wait, out).await,
            Request::Status {
                path: Some(path),
                wait,
            } => self.status(&path, wait, out).await,
            Request::Url { path } => {
                let id = self.find_file(&path)?;
                tell(out, Response::Urls(self.urls(&self.vfs.info(id)?, id))).await
            }
            Request::Delete { targets } => self.delete(&targets, out).await,
            Request::Retry { paths } => self.retry(&paths, out).await,
            Request::Upload {
                directory,
                name,
                size,
                wait,
            } => {
                let incoming = Incoming {
                    directory,
                    name,
                    size,
                };
                let id = upload::receive(&self.vfs, &incoming, body, out).await?;
                let info = match wait {
                    Wait::UntilFinal => self.wait_until_final(id, out).await?,
                    Wait::No => self.vfs.info(id)?,
                };
                tell(out, Response::Urls(self.urls(&info, id))).await?;
                tell(out, Response::File(info)).await
            }
            Request::DbStats => {
                for stat in self.operations.stats().await? {
                    tell(out, Response::Stat(stat)).await?;
                }
                Ok(())
            }
            Request::Cleanup { hours } => {
                let unused_for = Duration::from_secs(hours.saturating_mul(3600));
                let cleaned = self.operations.cleanup(unused_for).await?;
                tell(out, Response::Cleaned(cleaned)).await
            }
            Request::CacheClear { path } => {
                let file = path.map(|path| self.find_file(&path)).transpose()?;
                let cleaned = self.operations.clear_cache(file).await?;
                tell(out, Response::Cleaned(cleaned)).await
            }
            Request::Verify { depth } => {
                let verified = self.operations.verify(depth, out).await?;
                tell(out, Response::Verified(verified)).await
            }
            Request::Import { channel, directory } => {
                let directory = directory.to_tree_path()?;
                Ok(self.operations.import(&channel, &directory, out).await?)
            }
            Request::Reload => {
                let reloaded = self.operations.reload().await?;
                tell(out, Response::Reloaded(reloaded)).await
            }
            Request::LoginLink => {
                let link = self.operations.login_link()?;
                tell(out, Response::LoginLink(link)).await
            }
            Request::Stop { uploads } => self.stop(uploads, out).await,
        }
    }

    async fn list(&self, directory: &WirePath, out: &Sender<Response>) -> Result<(), Stop> {
        let path = directory.to_tree_path()?;
        let vfs = self.vfs.clone();
        let shown = path.display();
        let files = blocking(move || vfs.list(&path).map_err(|error| named(error, &shown))).await?;
        for file in files {
            let urls = file.id.parse().ok().map(|id| self.urls(&file, id));
            tell(out, Response::File(file)).await?;
            if let Some(urls) = urls {
                tell(out, Response::Urls(urls)).await?;
            }
        }
        Ok(())
    }

    async fn status_of_all(&self, wait: Wait, out: &Sender<Response>) -> Result<(), Stop> {
        if wait == Wait::UntilFinal {
            self.wait_for_all(out).await?;
        }
        let mut store = self.vfs.store_status();
        store.troubles = self.operations.troubles();
        tell(out, Response::Store(store)).await?;
        let confinement = self.operations.confinement().await;
        tell(out, Response::Confinement(confinement)).await?;
        let waiting = self.vfs.awaiting_rename()?;
        for job in self.vfs.jobs()?.into_iter().chain(waiting) {
            tell(out, Response::Job(job)).await?;
        }
        tell(out, Response::Pending(self.vfs.pending()?)).await
    }

    async fn status(
        &self,
        path: &WirePath,
        wait: Wait,
        out: &Sender<Response>,
    ) -> Result<(), Stop> {
        let id = self.find_file(path)?;
        let info = match wait {
            Wait::UntilFinal => self.wait_until_final(id, out).await?,
            Wait::No => self.vfs.info(id)?,
        };
        for job in self.vfs.jobs()? {
            if job.id == info.id {
                tell(out, Response::Job(job)).await?;
            }
        }
        tell(out, Response::File(info)).await
    }

    /// Sends each new step or per cent until the file has a final state.
    async fn wait_until_final(
        &self,
        id: EntryId,
        out: &Sender<Response>,
    ) -> Result<FileInfo, Stop> {
        let mut changes = self.vfs.changes();
        let mut told = (PublicState::Stored, 0);
        loop {
            changes.mark_unchanged();
            let info = self.vfs.info(id)?;
            if info.state.is_final() {
                return Ok(info);
            }
            self.require_hope()?;
            if told != (info.state, info.progress) {
                told = (info.state, info.progress);
                let progress = Response::Progress {
                    path: info.path,
                    step: info.state.as_str().to_owned(),
                    done: u64::from(info.progress),
                    total: 100,
                };
                tell(out, progress).await?;
            }
            next_change(&mut changes).await;
        }
    }

    /// Fails if the store refuses the library, because waiting would never end.
    fn require_hope(&self) -> Result<(), Stop> {
        let status = self.vfs.store_status();
        match status.state {
            AttachState::Refused => Err(Stop::Failed(status.explain().unwrap_or_default())),
            AttachState::Reaching | AttachState::Filling | AttachState::Attached => Ok(()),
        }
    }

    async fn wait_for_all(&self, out: &Sender<Response>) -> Result<PendingInfo, Stop> {
        let mut changes = self.vfs.changes();
        let mut told = None;
        loop {
            changes.mark_unchanged();
            let jobs = self.vfs.jobs()?;
            let open = jobs.iter().filter(|job| !job.state.is_final()).count();
            let pending = self.vfs.pending()?;
            if open == 0 {
                return Ok(pending);
            }
            self.require_hope()?;
            if told != Some((open, pending.bytes)) {
                told = Some((open, pending.bytes));
                tell(out, Response::Pending(pending)).await?;
            }
            next_change(&mut changes).await;
        }
    }

    async fn delete(&self, targets: &[WirePath], out: &Sender<Response>) -> Result<(), Stop> {
        // All names are checked before the first file is removed, so a typing error removes nothing.
        let paths = targets
            .iter()
            .map(|target| self.find(target))
            .collect::<Result<Vec<_>, _>>()?;
        if paths.contains(&TreePath::root()) {
            return Err(Stop::Failed(
                "the root cannot be removed; name the files or directories in it".to_owned(),
            ));
        }
        let mut failed = FailedItems::of(paths.len());
        for path in paths {
            let (vfs, text, path_bytes) = (self.vfs.clone(), path.display(), path.inexact_bytes());
            let name = text.clone();
            let removing = move || vfs.remove(&path).map_err(|error| named(error, &name));
            match blocking(removing).await {
                Ok(files) => {
                    let removed = Response::Removed {
                        files,
                        path: text,
                        path_bytes,
                    };
                    tell(out, removed).await?;
                }
                Err(stop) => failed.note(stop, out).await?,
            }
        }
        failed.finish("removed")
    }

    async fn retry(&self, paths: &[WirePath], out: &Sender<Response>) -> Result<(), Stop> {
        let mut failed = FailedItems::of(paths.len());
        for path in paths {
            match self.retry_one(path) {
                Ok(retried) => tell(out, retried).await?,
                Err(error) => failed.note(error.into(), out).await?,
            }
        }
        failed.finish("queued")
    }

    fn retry_one(&self, path: &WirePath) -> Result<Response, FsError> {
        let path = self.find(path)?;
        let (text, path_bytes) = (path.display(), path.inexact_bytes());
        let before = file_id(&self.vfs, &path).and_then(|id| self.vfs.info(id));
        // Only a file whose writing was interrupted has this state.
        let torn = before.ok().filter(|info| info.state == PublicState::Failed);
        self.vfs.retry(&path).map_err(|error| named(error, &text))?;
        Ok(Response::Retried {
            path: text,
            path_bytes,
            incomplete: torn.and_then(|info| info.error),
        })
    }

    async fn stop(&self, uploads: UploadsAtStop, out: &Sender<Response>) -> Result<(), Stop> {
        let pending = match uploads {
            UploadsAtStop::Finish => self.wait_for_all(out).await?,
            UploadsAtStop::Leave => self.vfs.pending()?,
        };
        tell(out, Response::Pending(pending)).await?;
        self.operations.stop();
        Ok(())
    }

    /// Finds a file by its path, or else by its id or slug.
    fn find(&self, target: &WirePath) -> Result<TreePath, FsError> {
        let missing = match target.to_tree_path() {
            Ok(path) => match self.vfs.resolve(&path) {
                Ok(_) => return Ok(path),
                Err(error) if error.kind == ErrorKind::NotFound => FsError::new(
                    ErrorKind::NotFound,
                    format!("{}: no such file", path.display()),
                ),
                Err(error) => return Err(error),
            },
            Err(error) => error,
        };
        let Ok(text) = std::str::from_utf8(target.as_bytes()) else {
            return Err(missing);
        };
        let by_id = text
            .parse::<EntryId>()
            .ok()
            .and_then(|id| self.vfs.path_of(id).ok());
        by_id
            .or_else(|| self.vfs.path_of(self.vfs.by_slug(text).ok()?).ok())
            .ok_or(missing)
    }

    fn find_file(&self, target: &WirePath) -> Result<EntryId, FsError> {
        let path = self.find(target)?;
        file_id(&self.vfs, &path)
    }

    fn urls(&self, info: &FileInfo, id: EntryId) -> UrlInfo {
        let daemon = self.daemon();
        let path = self.vfs.path_of(id).unwrap_or_default();
        let inner = shown::percent_encoded(&path.to_bytes());
        let mount = daemon
            .mountpoint()
            .filter(|_| info.has_views)
            .map(|root| view_in_mount(&root, &path).into_os_string().into_vec());
        let local = |name: &str| {
            let base = daemon.http.as_ref()?;
            info.has_views
                .then(|| format!("{base}/playlist/local/{name}.m3u8"))
        };
        let public = daemon.public.as_ref().filter(|_| info.has_views);
        UrlInfo {
            id: info.id.clone(),
            path: info.path.clone(),
            path_bytes: info.path_bytes.clone(),
            local: local(&info.id),
            by_name: info.slug.as_deref().and_then(local),
            public: public.map(|base| format!("{base}/playlist/public/{}.m3u8", info.id)),
            file: daemon.http.as_ref().map(|base| format!("{base}/fs{inner}")),
            mount: mount.as_deref().map(shown::readable),
            mount_bytes: mount.as_deref().and_then(shown::inexact_bytes),
            has_views: info.has_views,
        }
    }
}

/// Items of one request that failed. One of them does not keep the others from being done.
struct FailedItems {
    all: usize,
    failed: usize,
    /// Error of the only item, which needs no summary.
    only: Option<String>,
}

impl FailedItems {
    fn of(all: usize) -> Self {
        let (failed, only) = (0, None);
        Self { all, failed, only }
    }

    async fn note(&mut self, stop: Stop, out: &Sender<Response>) -> Result<(), Stop> {
        let text = match stop {
            Stop::Failed(text) => text,
            Stop::Gone => return Err(Stop::Gone),
        };
        self.failed += 1;
        if self.all == 1 {
            self.only = Some(text);
            return Ok(());
        }
        tell(out, Response::Finding { text }).await
    }

    fn finish(self, done: &str) -> Result<(), Stop> {
        match (self.failed, self.only) {
            (0, _) => Ok(()),
            (_, Some(text)) => Err(Stop::Failed(text)),
            (failed, None) => Err(Stop::Failed(format!(
                "{failed} of {} could not be {done}; the others were",
                self.all
            ))),
        }
    }
}

/// Returns the path of a film's `master.m3u8` below the mountpoint.
fn view_in_mount(root: &Path, film: &TreePath) -> PathBuf {
    let bytes = film.to_bytes();
    let relative = bytes.strip_prefix(b"/").unwrap_or(&bytes);
    let film = OsStr::from_bytes(relative);
    root.join(".hls").join(film).join("master.m3u8")
}

/// Adds the path to an error of one word. Other errors name it themselves.
fn named(error: FsError, path: &str) -> FsError {
    if !error.message.is_empty() {
        return error;
    }
    let text = match error.kind {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::IsDirectory => "is a directory; name a file in it".to_owned(),
        ErrorKind::ReadOnly => {
            "cannot be changed: views and a read-only library are fixed".to_owned()
        }
        ErrorKind::NoSpace => "the spool is full; wait for uploads, or free disk space".to_owned(),
        kind => kind.describe().to_owned(),
    };
    FsError::new(error.kind, format!("{path}: {text}"))
}

/// Returns the file at a path. Views belong to a file, but are none.
fn file_id(vfs: &Vfs, path: &TreePath) -> Result<EntryId, FsError> {
    let attr = vfs.resolve(path)?;
    let shown = path.display();
    match (attr.kind, attr.id) {
        (FileKind::Directory, _) => Err(FsError::new(
            ErrorKind::IsDirectory,
            format!("{shown}: is a directory; name a file in it"),
        )),
        (FileKind::File, Some(id)) => Ok(id),
        (FileKind::File, None) => Err(FsError::new(
            ErrorKind::NotFound,
            format!("{shown}: belongs to no stored file"),
        )),
    }
}

async fn tell(out: &Sender<Response>, response: Response) -> Result<(), Stop> {
    out.send(response).await.map_err(|_| Stop::Gone)
}

/// Waits until something may have changed. A wait that is dropped loses nothing, since states are looked
/// up.
async fn next_change(changes: &mut tokio::sync::watch::Receiver<u64>) {
    // An error means that the file system has stopped. The next look-up reports it.
    let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
}

/// Runs index work that may take long away from the tasks of other connections.
async fn blocking<T, F>(work: F) -> Result<T, Stop>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, FsError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Stop::Failed(format!("the work ended early: {error}"))),
    }
}
