//! Executes requests, with the file system and with the operations of the composition root.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc::Sender;

use super::list_turns::ListTurns;
use super::progress::{bytes_left, progress_of, progress_of_all, under_way};
use super::several;
use super::targets::{Stop, blocking, find_file, named, tell};
use super::upload::{self, Incoming};
use super::urls;
use super::wire::{
    Cleaned, DaemonInfo, LoginLink, Request, Response, Stat, UploadsAtStop, UrlInfo, Verified,
    Wait, WirePath,
};
use crate::config::Reloaded;
use crate::model::{
    AttachState, ConfinementInfo, EntryId, FileInfo, PendingInfo, TreePath, VerifyDepth,
};
use crate::vfs::{TreeUse, Vfs};

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
    lists: Arc<ListTurns>,
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
        Self {
            vfs,
            operations,
            lists: Arc::default(),
        }
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
                let id = find_file(&self.vfs, &path)?;
                tell(out, Response::Urls(self.urls(&self.vfs.info(id)?, id))).await
            }
            Request::Delete { targets } => several::delete(&self.vfs, &targets, out).await,
            Request::Retry { paths } => several::retry(&self.vfs, &paths, out).await,
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
                let work = self.operations.cleanup(unused_for);
                tell_cleaned("cleanup", work, out).await
            }
            Request::CacheClear { path } => {
                let file = path.map(|path| find_file(&self.vfs, &path)).transpose()?;
                let work = self.operations.clear_cache(file);
                tell_cleaned("cache-clear", work, out).await
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
        let _turn = self.lists.take().await?;
        let files = blocking(move || vfs.list(&path).map_err(|error| named(error, &shown))).await?;
        for file in files {
            let urls = file.id.parse().ok().map(|id| self.urls(&file, id));
            self.lists.send(tell(out, Response::File(file))).await?;
            if let Some(urls) = urls {
                self.lists.send(tell(out, Response::Urls(urls))).await?;
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
        let id = find_file(&self.vfs, path)?;
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

    /// Sends the progress at each change and at least each second, until the file has a final state.
    async fn wait_until_final(
        &self,
        id: EntryId,
        out: &Sender<Response>,
    ) -> Result<FileInfo, Stop> {
        let mut changes = self.vfs.changes();
        loop {
            changes.mark_unchanged();
            let info = self.vfs.info(id)?;
            if info.state.is_final() {
                return Ok(info);
            }
            self.require_hope()?;
            tell(out, progress_of(info)).await?;
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
        let mut most = 0;
        loop {
            changes.mark_unchanged();
            let mut jobs = self.vfs.jobs()?;
            jobs.retain(|job| !job.state.is_final());
            let open = jobs.len();
            let pending = self.vfs.pending()?;
            if open == 0 {
                return Ok(pending);
            }
            self.require_hope()?;
            let left = jobs.iter().map(bytes_left).sum();
            most = u64::max(most, left);
            tell(out, progress_of_all(&jobs, most, most - left)).await?;
            if told != Some((open, pending.bytes)) {
                told = Some((open, pending.bytes));
                tell(out, Response::Pending(pending)).await?;
            }
            next_change(&mut changes).await;
        }
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

    fn urls(&self, info: &FileInfo, id: EntryId) -> UrlInfo {
        let path = self.vfs.path_of(id).unwrap_or_default();
        urls::urls(&self.daemon(), info, &path)
    }
}

async fn tell_cleaned(
    what: &str,
    work: impl Future<Output = Result<Cleaned, String>>,
    out: &Sender<Response>,
) -> Result<(), Stop> {
    let cleaned = under_way(what, work, out).await?;
    tell(out, Response::Cleaned(cleaned)).await
}

/// Waits until something may have changed. A wait that is dropped loses nothing, since states are looked
/// up.
async fn next_change(changes: &mut tokio::sync::watch::Receiver<u64>) {
    // An error means that the file system has stopped. The next look-up reports it.
    let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
}
