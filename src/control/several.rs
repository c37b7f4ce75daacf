//! Requests about several files. One that fails does not keep the others from being done.

use tokio::sync::mpsc::Sender;

use super::targets::{Stop, blocking, file_id, find, named, tell};
use super::wire::{Response, WirePath};
use crate::model::{FsError, PublicState, TreePath};
use crate::vfs::Vfs;

/// Removes files and directories.
pub(super) async fn delete(
    vfs: &Vfs,
    targets: &[WirePath],
    out: &Sender<Response>,
) -> Result<(), Stop> {
    // All names are checked before the first file is removed, so a typing error removes nothing.
    let paths = targets
        .iter()
        .map(|target| find(vfs, target))
        .collect::<Result<Vec<_>, _>>()?;
    if paths.contains(&TreePath::root()) {
        return Err(Stop::Failed(
            "the root cannot be removed; name the files or directories in it".to_owned(),
        ));
    }
    let mut failed = FailedItems::of(paths.len());
    for path in paths {
        let (vfs, text, path_bytes) = (vfs.clone(), path.display(), path.inexact_bytes());
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

/// Ingests files again.
pub(super) async fn retry(
    vfs: &Vfs,
    paths: &[WirePath],
    out: &Sender<Response>,
) -> Result<(), Stop> {
    let mut failed = FailedItems::of(paths.len());
    for path in paths {
        match retry_one(vfs, path) {
            Ok(retried) => tell(out, retried).await?,
            Err(error) => failed.note(error.into(), out).await?,
        }
    }
    failed.finish("queued")
}

fn retry_one(vfs: &Vfs, path: &WirePath) -> Result<Response, FsError> {
    let path = find(vfs, path)?;
    let (text, path_bytes) = (path.display(), path.inexact_bytes());
    let before = file_id(vfs, &path).and_then(|id| vfs.info(id));
    // Only a file whose writing was interrupted has this state.
    let torn = before.ok().filter(|info| info.state == PublicState::Failed);
    vfs.retry(&path).map_err(|error| named(error, &text))?;
    Ok(Response::Retried {
        path: text,
        path_bytes,
        incomplete: torn.and_then(|info| info.error),
    })
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
