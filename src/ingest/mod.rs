//! Write path from a sealed file to the remote: bytes first (`content`), views beside them
//! (`views`), manifests after both (`publish`). Each step is recorded, so that a start continues where
//! the last run ended.
//!
//! The list of unfinished files is never stored twice: the index knows the entries that no acknowledged
//! manifest holds, and a start submits these again. Finished parts of a step (packs of a blob) are
//! noted as they are acknowledged, see [`notes`].

pub mod extents;
pub mod policy;
pub mod publish;

mod attempts;
mod blob_locks;
mod blob_sender;
mod changes;
mod content;
mod jobs;
mod notes;
mod openings;
mod outgoing;
mod packer;
mod parts;
mod settings;
mod slices;
mod spool_owners;
mod spool_record;
mod steps;
mod subtitle_files;
mod upload_progress;
mod views;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::index::Index;
use crate::media::tool::MediaTool;
use crate::model::{BlobId, EntryId, ErrorKind, FsError, FsResult, PackId};
use crate::read::ExtentReader;
use crate::remote::Remote;
use crate::spool::{Draining, Spool};
use crate::tree::Tree;
use attempts::Attempts;
use blob_sender::BlobSender;
use changes::ChangeSignal;
use content::ContentStage;
pub use jobs::JobProgress;
use jobs::{Jobs, Stage};
use notes::Notes;
use outgoing::Outgoing;
use packer::Packer;
use parts::CommonParts;
use publish::PublisherState;
use publish::publisher::Publisher;
pub use settings::IngestSettings;
use settings::LiveSettings;
pub use slices::{blob_of_pack, slices_digest};
pub use spool_owners::spooled_blobs;
use spool_owners::{BlobOwner, SpoolOwners};
pub use spool_record::{read_spool_record, spool_record};
use steps::RunningSteps;
use views::files::ToolFiles;
use views::make::ViewsStage;
use views::outcome::RemakeOutcomes;
use views::queue::RemakeQueue;
pub use views::queue::RemakeReason;
use views::remake::ViewsRemaker;
use views::requests::RemakeRequests;
use views::store::ViewsStore;
use worker::{Worker, WorkerStages};

/// Files that are mapped side by side. Mapping is bound by CPU, and there may be only two cores.
const VIEWS_WORKERS: usize = 1;
/// Longest wait of a stop for running steps. Most of a shutdown's 30 s is for others.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// Longest wait of a stop for the last manifest.
const LAST_MANIFEST_WAIT: Duration = Duration::from_secs(3);

/// Mode of the workers: files are worked on, or only watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Steps run.
    Running,
    /// No step runs. Acknowledgements are still followed.
    None,
}

/// Parts that ingest works with.
#[derive(Debug)]
pub struct IngestParts {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub reader: ExtentReader,
    pub remote: Arc<dyn Remote>,
    /// Entries that no manifest held before the publisher was started, removed ones included. With them
    /// a start can tell a spool file whose name was removed from one that nothing ever named.
    pub unpublished: Vec<EntryId>,
    pub publisher: Publisher,
    pub tool: Arc<dyn MediaTool>,
}

/// Ingest of one library. A clone is another reference to it.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<IngestCore>);

#[derive(Debug)]
struct IngestCore {
    parts: CommonParts,
    unpublished_at_start: Vec<EntryId>,
    /// Worker, whose tasks end when this is dropped.
    worker: Arc<Worker>,
}

impl Ingest {
    /// Starts the tasks. Needs a tokio runtime.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn start(parts: IngestParts, settings: IngestSettings, workers: Workers) -> FsResult<Self> {
        let unpublished_at_start = parts.unpublished.clone();
        let parts = common_parts(parts, settings)?;
        let sender = Arc::new(BlobSender::new(&parts));
        let requests = Arc::new(RemakeRequests::new(&parts));
        let files = Arc::new(ToolFiles::new(&parts));
        if workers == Workers::Running {
            files.sweep();
        }
        let store = ViewsStore::new(&parts, Arc::clone(&requests), Arc::clone(&sender));
        let stages = WorkerStages {
            content: ContentStage::new(&parts, sender),
            views: ViewsStage::new(&parts, Arc::clone(&files), Arc::clone(&requests), store),
            remaker: ViewsRemaker::new(&parts, files, Arc::clone(&requests)),
            outcomes: RemakeOutcomes::new(&parts, Arc::clone(&requests)),
            requests,
        };
        let worker = Arc::new(Worker::new(&parts, stages));
        if workers == Workers::Running {
            worker.spawn_stage(Stage::Content, parts.outgoing.workers());
            worker.spawn_stage(Stage::Views, VIEWS_WORKERS);
            worker.spawn_remakes(RemakeReason::Asked);
            worker.spawn_remakes(RemakeReason::Rendition);
        }
        worker.spawn_acknowledgements();
        worker.spawn_reaper();
        Ok(Self(Arc::new(IngestCore {
            parts,
            unpublished_at_start,
            worker,
        })))
    }

    /// Applies new settings. Packs and views that are begun from now on follow them.
    pub fn reconfigure(&self, settings: IngestSettings) {
        self.0.parts.packer.set_pack_bytes(settings.pack_bytes);
        self.0.parts.settings.set(settings);
    }

    /// Stops starting steps, and waits for those that can end soon. The next start continues the others.
    pub async fn stop(&self) {
        let parts = &self.0.parts;
        parts.steps.stop();
        parts.packer.hurry();
        if tokio::time::timeout(STOP_WAIT, parts.steps.ended())
            .await
            .is_err()
        {
            tracing::info!("ingest steps under way go on at the next start");
        }
        // A clean shutdown is not a failed attempt. Those before it stay counted.
        parts.attempts.take_back_running();
        parts.remakes.take_back_running();
        // Otherwise the next start publishes the last changes.
        if parts.index.store_status().borrow().is_attached() {
            let last = tokio::time::timeout(LAST_MANIFEST_WAIT, parts.publisher.drained()).await;
            if !matches!(last, Ok(Ok(()))) {
                tracing::info!("the last changes are published at the next start");
            }
        }
        parts.publisher.stop().await;
    }

    /// Returns the state of publishing, as it changes.
    #[must_use]
    pub fn publishing(&self) -> watch::Receiver<PublisherState> {
        self.0.parts.publisher.state()
    }

    /// Forgets the jobs that are done, and returns their number.
    #[must_use]
    pub fn forget_finished(&self) -> u64 {
        self.0.parts.jobs.forget_finished()
    }

    /// Returns the packs that unfinished uploads continue with.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn noted_packs(&self) -> FsResult<BTreeSet<PackId>> {
        self.0.parts.notes.packs()
    }

    /// Returns the entries whose newest state no acknowledged manifest holds, removed ones included.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn unpublished(&self) -> FsResult<Vec<EntryId>> {
        let found = self.0.parts.index.unpublished();
        found.map_err(|error| FsError::caused_by(ErrorKind::Io, error))
    }

    /// Returns the unpublished entries, and those that have a job.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn unfinished(&self) -> FsResult<Vec<EntryId>> {
        let mut ids = self.unpublished()?;
        ids.extend(self.0.parts.jobs.ids());
        ids.extend(self.0.parts.notes.jobs()?);
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Returns the entries that no acknowledged manifest held when this run began, removed ones
    /// included.
    #[must_use]
    pub fn unpublished_at_start(&self) -> &[EntryId] {
        &self.0.unpublished_at_start
    }

    /// Tells if room in the spool will become free by itself.
    #[must_use]
    pub fn draining(&self) -> Draining {
        if self.is_busy() {
            self.0.parts.publisher.urge();
            Draining::Yes
        } else {
            Draining::No
        }
    }

    /// Returns true while files are being worked on. Less urgent work waits meanwhile.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.0.parts.jobs.is_sending()
    }

    /// Signals that something people can see may have changed.
    pub fn changed(&self) {
        self.0.parts.changes.raise();
    }

    /// Returns a receiver that wakes whenever something people can see may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.parts.changes.subscribe()
    }
}

/// Jobs of files.
impl Ingest {
    /// Takes a sealed file. Its bytes are sent and its views made, as far as either is missing.
    pub fn submit(&self, id: EntryId) {
        self.0.parts.notes.note_job(id);
        self.0.parts.jobs.submit(id);
        self.0.worker.expect_content(id);
        self.changed();
    }

    /// Notes that a file will be submitted, so that the next start does it when this run does not come to
    /// that. A manifest may take up the file before it is submitted.
    pub fn expect(&self, id: EntryId) {
        self.0.parts.notes.note_job(id);
    }

    /// Forgets that a file was to be submitted, because it stays on this machine.
    pub fn expect_no_more(&self, id: EntryId) {
        self.0.parts.notes.forget_job(id);
    }

    /// Sends no bytes of a file until it is submitted again. It is being written, so its bytes can still
    /// change in place.
    pub fn hold(&self, id: EntryId) {
        self.0.parts.jobs.hold(id);
    }

    /// Submits a file with its count of attempts forgotten.
    pub fn retry(&self, id: EntryId) {
        self.0.parts.attempts.forget(id);
        self.submit(id);
    }

    /// Ends the job of a file that is gone.
    pub fn cancel(&self, id: EntryId) {
        self.0.parts.jobs.remove(id);
        self.0.parts.notes.forget_job(id);
        self.0.parts.attempts.forget(id);
        self.0.worker.forget_remake(id);
        self.changed();
    }

    /// Returns the progress of a file's job; `None` when it has none.
    #[must_use]
    pub fn progress(&self, id: EntryId) -> Option<JobProgress> {
        self.0.parts.jobs.progress(id)
    }

    /// Makes the views of a file again with the settings as they are now. The old views stay
    /// meanwhile.
    pub fn remake(&self, id: EntryId, version: u64) {
        self.0.parts.remakes.ask(id, RemakeReason::Asked, version);
        self.changed();
    }

    /// Returns the reason and progress of remaking a file's views; `None` when they are not remade.
    #[must_use]
    pub fn remaking(&self, id: EntryId) -> Option<(RemakeReason, JobProgress)> {
        self.0.parts.remakes.progress(id)
    }

    /// Returns the files whose views are made again.
    #[must_use]
    pub fn remakes(&self) -> Vec<EntryId> {
        self.0.parts.remakes.ids()
    }
}

/// Owners of spooled blobs.
impl Ingest {
    /// Notes that a file needs exactly these blobs from now on.
    pub fn own(&self, id: EntryId, blobs: Vec<BlobId>) {
        self.0.parts.owners.set(BlobOwner::Entry(id), blobs);
    }

    /// Notes that a file needs no blob any more.
    pub fn disown(&self, id: EntryId) {
        self.own(id, Vec::new());
    }

    /// Keeps the blobs that an open handle needs until [`Self::unpin`].
    pub fn pin(&self, handle: u64, blobs: Vec<BlobId>) {
        self.0.parts.owners.set(BlobOwner::Handle(handle), blobs);
    }

    /// Releases the blobs that a handle needed.
    pub fn unpin(&self, handle: u64) {
        self.pin(handle, Vec::new());
    }

    /// Deletes a spool file that is known to be useless, unless it has an owner.
    pub fn disown_blob(&self, blob: BlobId) {
        if !self.0.parts.owners.is_owned(blob) {
            self.0.parts.owners.orphan(vec![blob]);
        }
    }
}

/// Builds the parts that the stages share.
fn common_parts(parts: IngestParts, settings: IngestSettings) -> FsResult<CommonParts> {
    let notes = Arc::new(Notes::open(&parts.index)?);
    let attempts = Arc::new(Attempts::open(&parts.index)?);
    let remakes = Arc::new(RemakeQueue::open(&parts.index)?);
    let cache = Arc::clone(parts.reader.cache());
    let outgoing = Arc::new(Outgoing::new(parts.remote, cache));
    let jobs = Arc::new(Jobs::default());
    let packer = Packer::start(
        Arc::clone(&outgoing),
        Arc::clone(&jobs),
        settings.pack_bytes,
    );
    let owners = SpoolOwners::new(
        Arc::clone(&parts.tree),
        Arc::clone(&parts.spool),
        Arc::clone(&notes),
    );
    Ok(CommonParts {
        index: parts.index,
        tree: parts.tree,
        spool: parts.spool,
        reader: parts.reader,
        tool: parts.tool,
        outgoing,
        packer: Arc::new(packer),
        publisher: Arc::new(parts.publisher),
        settings: Arc::new(LiveSettings::new(settings)),
        jobs,
        notes,
        attempts,
        owners: Arc::new(owners),
        remakes,
        steps: Arc::new(RunningSteps::default()),
        changes: Arc::new(ChangeSignal::default()),
    })
}
