//! Tasks of ingest, which run the steps of the stages, follow acknowledgements, and delete spool
//! files that nobody needs. Each task ends when the ingest is dropped.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::attempts::Attempts;
use super::changes::ChangeSignal;
use super::content::ContentStage;
use super::jobs::{Finished, Jobs, Stage};
use super::notes::Notes;
use super::packer::SharedFailure;
use super::parts::CommonParts;
use super::publish::publisher::Publisher;
use super::spool_owners::{BlobOwner, SpoolOwners, needed_blobs, spooled_blobs};
use super::steps::RunningSteps;
use super::views::make::ViewsStage;
use super::views::outcome::RemakeOutcomes;
use super::views::queue::{RemakeQueue, RemakeReason};
use super::views::remake::ViewsRemaker;
use super::views::requests::RemakeRequests;
use crate::index::Index;
use crate::model::{
    EntryId, EntryKind, ErrorKind, FileContent, FsError, FsResult, StoreStatus, ViewsState,
};
use crate::tree::Tree;

/// Time between two looks of a stage for steps whose pause after a failure is over.
const POLL: Duration = Duration::from_millis(500);
/// Time between two looks at unfinished jobs and orphans without any notification.
const SWEEP: Duration = Duration::from_secs(5);

/// Stages and remakes that the tasks run.
#[derive(Debug)]
pub struct WorkerStages {
    pub content: ContentStage,
    pub views: ViewsStage,
    pub remaker: ViewsRemaker,
    pub outcomes: RemakeOutcomes,
    pub requests: Arc<RemakeRequests>,
}

/// Runner of the tasks.
#[derive(Debug)]
pub struct Worker {
    index: Arc<Index>,
    tree: Arc<Tree>,
    publisher: Arc<Publisher>,
    jobs: Arc<Jobs>,
    notes: Arc<Notes>,
    attempts: Arc<Attempts>,
    owners: Arc<SpoolOwners>,
    remakes: Arc<RemakeQueue>,
    steps: Arc<RunningSteps>,
    changes: Arc<ChangeSignal>,
    stages: WorkerStages,
}

impl Worker {
    /// Builds the runner over the parts that it needs. It starts nothing.
    #[must_use]
    pub fn new(parts: &CommonParts, stages: WorkerStages) -> Self {
        Self {
            index: Arc::clone(&parts.index),
            tree: Arc::clone(&parts.tree),
            publisher: Arc::clone(&parts.publisher),
            jobs: Arc::clone(&parts.jobs),
            notes: Arc::clone(&parts.notes),
            attempts: Arc::clone(&parts.attempts),
            owners: Arc::clone(&parts.owners),
            remakes: Arc::clone(&parts.remakes),
            steps: Arc::clone(&parts.steps),
            changes: Arc::clone(&parts.changes),
            stages,
        }
    }

    /// Adds the bytes that a submitted file will send to those that wait.
    pub fn expect_content(&self, id: EntryId) {
        self.stages.content.expect(id);
    }

    /// Forgets the request to make a file's views again, whatever its version.
    pub fn forget_remake(&self, id: EntryId) {
        self.stages.requests.forget(id, |_| true);
    }

    /// Starts the task that runs the steps of one stage, `side_by_side` at a time. Each step is a task
    /// of its own, because a panic over one file must not end the others.
    pub fn spawn_stage(self: &Arc<Self>, stage: Stage, side_by_side: usize) {
        let weak = Arc::downgrade(self);
        let permits = Arc::new(Semaphore::new(side_by_side));
        tokio::spawn(async move {
            while let Some(worker) = weak.upgrade() {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                    return;
                };
                if worker.steps.is_stopping() {
                    return;
                }
                if !worker.is_attached() {
                    drop(permit);
                    worker.attached().await;
                    continue;
                }
                let Some(id) = worker.jobs.take(stage) else {
                    drop(permit);
                    let _ = timeout(POLL, worker.jobs.queued(stage)).await;
                    continue;
                };
                let running = worker.steps.begin();
                tokio::spawn(async move {
                    worker.run_step(stage, id, permit).await;
                    drop(running);
                });
            }
        });
    }

    async fn run_step(self: &Arc<Self>, stage: Stage, id: EntryId, permit: OwnedSemaphorePermit) {
        let working = Arc::clone(self);
        let done = tokio::spawn(async move {
            match stage {
                Stage::Content => working.stages.content.store(id, permit).await,
                Stage::Views => working.stages.views.make(id, permit).await,
            }
        })
        .await;
        let result = done.unwrap_or_else(|error| {
            let message = format!("ingest stopped unexpectedly: {error}");
            Err(FsError::new(ErrorKind::Io, message))
        });
        self.finish_step(stage, id, result);
    }

    /// Starts a task that makes views again for one reason, one file at a time. A user who asks does not
    /// wait for renditions, which take hours.
    pub fn spawn_remakes(self: &Arc<Self>, reason: RemakeReason) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(worker) = weak.upgrade() {
                if worker.steps.is_stopping() {
                    return;
                }
                if !worker.is_attached() {
                    worker.attached().await;
                    continue;
                }
                let Some(ticket) = worker.remakes.take(reason) else {
                    let _ = timeout(POLL, worker.remakes.queued()).await;
                    continue;
                };
                let running = worker.steps.begin();
                let working = Arc::clone(&worker);
                // A panic over one file must not end the others.
                let done =
                    tokio::spawn(async move { working.stages.remaker.remake(ticket).await }).await;
                let outcome = done.unwrap_or_else(|error| {
                    let message = format!("it stopped unexpectedly: {error}");
                    Err(FsError::new(ErrorKind::Io, message))
                });
                worker.stages.outcomes.record(ticket, outcome);
                drop(running);
            }
        });
    }

    /// Starts the task that deletes orphaned spool files. There is only one, so that a burst of removals
    /// costs one sync of the journal.
    pub fn spawn_reaper(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(worker) = weak.upgrade() {
                worker.stages.requests.release_copies();
                let owners = Arc::clone(&worker.owners);
                let _ = tokio::task::spawn_blocking(move || owners.reap()).await;
                let _ = timeout(SWEEP, worker.owners.orphaned()).await;
            }
        });
    }

    /// Starts the task that follows the log's acknowledgements. A spool file may be deleted only once its
    /// entry is acknowledged.
    pub fn spawn_acknowledgements(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let mut events = self.publisher.acknowledged();
        tokio::spawn(async move {
            loop {
                let event = timeout(SWEEP, events.recv()).await;
                let Some(worker) = weak.upgrade() else { return };
                let ids = match event {
                    Ok(Ok(acknowledged)) => vec![acknowledged.id],
                    Ok(Err(RecvError::Closed)) => return,
                    // Events were lost, or none came for a while, so everything unfinished is checked.
                    Ok(Err(RecvError::Lagged(_))) | Err(_) => worker.jobs.ids(),
                };
                let _ = tokio::task::spawn_blocking(move || {
                    ids.into_iter()
                        .for_each(|id| worker.settle_acknowledged(id));
                })
                .await;
            }
        });
    }

    fn is_attached(&self) -> bool {
        self.index.store_status().borrow().is_attached()
    }

    /// Waits a while until the library is known to be in the store. Packs that were sent to another store
    /// would be lost there.
    async fn attached(&self) {
        let mut standing = self.index.store_status();
        // The caller checks again, whatever ended the wait.
        let _ = timeout(POLL, standing.wait_for(StoreStatus::is_attached)).await;
    }

    /// Releases spool files that the remote holds now, and the job when nothing is left to do.
    fn settle_acknowledged(&self, id: EntryId) {
        self.tree.forget_recent(id);
        // This is inside one update, so that no commit comes in between. A newer version's blobs would
        // lose their owner.
        let settled = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &entry.kind else {
                return Ok(false);
            };
            let published = self.index.is_published(id).unwrap_or(false);
            if !published || !content.is_durable() {
                return Ok(false);
            }
            self.owners.set(BlobOwner::Entry(id), needed_blobs(content));
            Ok(true)
        });
        let entry = match settled {
            Ok((entry, true)) => entry,
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.jobs.remove(id);
                return;
            }
            Ok((_, false)) | Err(_) => return,
        };
        if let EntryKind::File(content) = &entry.kind {
            self.finish_job(id, content);
            self.changes.raise();
        }
    }

    /// Forgets the job of a file whose content is published, once its views are stored as well.
    fn finish_job(&self, id: EntryId, content: &FileContent) {
        if matches!(content.views, ViewsState::Pending) || !content.views.is_durable() {
            return;
        }
        if self.jobs.finish(id) == Finished::Yes {
            self.notes.forget_job(id);
        }
        self.attempts.forget(id);
        // A copy that shares the bytes and is not done learns from the note that the bytes are sent.
        for blob in spooled_blobs(content) {
            if !self.owners.is_owned(blob) {
                self.notes.forget_blob(blob);
            }
        }
    }

    fn is_gone(&self, id: EntryId) -> bool {
        matches!(self.tree.node(id), Err(error) if error.kind == ErrorKind::NotFound)
    }

    fn finish_step(&self, stage: Stage, id: EntryId, result: FsResult<()>) {
        match result {
            Ok(()) => self.jobs.step_done(stage, id),
            // A file that was removed while it was sent fails with other errors too.
            Err(error) if error.kind == ErrorKind::NotFound || self.is_gone(id) => {
                self.jobs.remove(id);
                self.notes.forget_job(id);
            }
            Err(error) => {
                let path = self
                    .tree
                    .path_of(id)
                    .map_or_else(|_| id.to_string(), |path| path.display());
                if self.steps.is_stopping() {
                    tracing::debug!(file = %path, %error, "ingest goes on at the next start");
                } else if is_logged(&error) {
                    tracing::debug!(file = %path, %error, "ingest will try again");
                } else {
                    tracing::warn!(file = %path, %error, "ingest will try again");
                }
                self.jobs.step_failed(stage, id, error.to_string());
            }
        }
        self.changes.raise();
    }
}

/// Returns true for an error that was logged for all files of a pack together.
fn is_logged(error: &FsError) -> bool {
    error
        .source()
        .is_some_and(|cause| cause.is::<SharedFailure>())
}
