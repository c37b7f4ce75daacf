//! The write path from a sealed file to the remote: bytes first (`content`), views beside it
//! (`views`), and views made again behind both (`remake`), each step recorded so that a start goes on where the last run ended.
//!
//! Which files are unfinished is never stored twice: the index knows what no acknowledged manifest
//! holds, and that is what a start submits again. Finished parts of a step (packs of a blob) are
//! noted as they are acknowledged, see [`progress`].

pub mod extents;
pub mod policy;
pub mod publisher;

mod content;
mod jobs;
mod openings;
mod outgoing;
mod owners;
mod pace;
mod packer;
mod progress;
mod remake;
mod remakes;
mod sending;
mod subtitle_files;
mod views;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, watch};

use crate::codec::{self, Kind, Record};
use crate::index::Index;
use crate::media::build::cuts::CutPolicy;
use crate::media::tool::MediaTool;
use crate::model::{
    BlobId, Compat, Entry, EntryId, EntryKind, ErrorKind, ExtentSource, FileContent, FsError,
    FsResult, OLDEST_VIEWS_SCHEMA, PackId, StoreStatus, VIEWS_SCHEMA, ViewsState,
};
use crate::read::Reader;
use crate::remote::Remote;
use crate::spool::{Draining, Spool};
use crate::sync::MutexExt as _;
use crate::tree::Tree;
pub use content::{blob_of_pack, slices_digest};
pub use jobs::JobProgress;
use jobs::{Finished, Jobs, Lane};
use outgoing::Outgoing;
use owners::{Owner, Owners};
use packer::Packer;
use progress::Notes;
use publisher::Publisher;
use remakes::Remakes;
pub use remakes::Wish;
use sending::Sending;

/// Files that are mapped side by side: mapping is bound by CPU, and there may be two cores.
const VIEWS_WORKERS: usize = 1;
/// How long a stop waits for steps that are under way: most of a shutdown's 30 s is for others.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How long a stop waits for the last manifest.
const LAST_MANIFEST_WAIT: Duration = Duration::from_secs(3);
/// How often a lane looks for steps whose pause after a failure is over.
const LANE_POLL: Duration = Duration::from_millis(500);
/// How often unfinished jobs are looked at even if nothing was said about them.
const SWEEP: Duration = Duration::from_secs(5);

/// What can change while ingest runs.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Bytes of a full pack while little waits.
    pub pack_bytes: u64,
    pub cuts: CutPolicy,
    pub compat: Compat,
}

/// Whether files are worked on, or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    Running,
    None,
}

/// The parts that ingest works with.
#[derive(Debug)]
pub struct IngestParts {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub reader: Reader,
    pub remote: Arc<dyn Remote>,
    /// What no manifest held before the publisher was started, removed entries included: a start
    /// tells by it a spool file whose name was removed from one that nothing ever named.
    pub unpublished: Vec<EntryId>,
    pub publisher: Publisher,
    pub tool: Arc<dyn MediaTool>,
}

/// The ingest of one library; a clone is another reference to it.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: Arc<Index>,
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    reader: Reader,
    outgoing: Arc<Outgoing>,
    unpublished_at_start: Vec<EntryId>,
    publisher: Publisher,
    tool: Arc<dyn MediaTool>,
    settings: ArcSwap<IngestSettings>,
    owners: Mutex<Owners>,
    jobs: Arc<Jobs>,
    notes: Notes,
    remakes: Remakes,
    packer: Packer,
    sending: Sending,
    /// Blobs that nobody owns any more, to be deleted once the journal says so durably.
    orphans: Mutex<Vec<BlobId>>,
    orphaned: Notify,
    changes: watch::Sender<u64>,
    stopping: AtomicBool,
    running: AtomicUsize,
}

impl Ingest {
    /// Starts the workers; needs a tokio runtime.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn start(parts: IngestParts, settings: IngestSettings, workers: Workers) -> FsResult<Self> {
        let notes = Notes::open(&parts.index)?;
        let remakes = Remakes::open(&parts.index)?;
        let outgoing = Arc::new(Outgoing::new(
            parts.remote,
            Arc::clone(parts.reader.cache()),
        ));
        let jobs = Arc::new(Jobs::default());
        let packer = Packer::start(
            Arc::clone(&outgoing),
            Arc::clone(&jobs),
            settings.pack_bytes,
        );
        let shared = Arc::new(Shared {
            index: parts.index,
            tree: parts.tree,
            spool: parts.spool,
            reader: parts.reader,
            outgoing,
            unpublished_at_start: parts.unpublished,
            publisher: parts.publisher,
            tool: parts.tool,
            settings: ArcSwap::from_pointee(settings),
            owners: Mutex::default(),
            jobs,
            notes,
            remakes,
            packer,
            sending: Sending::default(),
            orphans: Mutex::default(),
            orphaned: Notify::new(),
            changes: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            running: AtomicUsize::new(0),
        });
        let ingest = Self(shared);
        if workers == Workers::Running {
            ingest.spawn_lane(Lane::Content, ingest.0.outgoing.workers());
            ingest.spawn_lane(Lane::Views, VIEWS_WORKERS);
            ingest.spawn_remakes();
        }
        ingest.spawn_acknowledgements();
        ingest.spawn_reaper();
        Ok(ingest)
    }

    pub fn reconfigure(&self, settings: IngestSettings) {
        self.0.packer.set_pack_bytes(settings.pack_bytes);
        self.0.settings.store(Arc::new(settings));
    }

    /// Starts no step any more and waits for those that can end soon; what is left goes on at the
    /// next start.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        self.0.packer.hurry();
        let idle = async {
            while self.0.running.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(STOP_WAIT, idle).await.is_err() {
            tracing::info!("ingest steps under way go on at the next start");
        }
        // A stop in order is no attempt that ended the daemon.
        for id in self.0.jobs.ids() {
            self.0.notes.forget_attempts(id);
        }
        for id in self.0.remakes.ids() {
            self.0.remakes.forget_starts(id);
        }
        // Else the next start sends it; so does it where nothing could go out.
        if self.0.index.standing().borrow().is_attached() {
            let last = tokio::time::timeout(LAST_MANIFEST_WAIT, self.0.publisher.drained()).await;
            if !matches!(last, Ok(Ok(()))) {
                tracing::info!("the last changes are published at the next start");
            }
        }
        self.0.publisher.stop().await;
    }

    /// What publishing is at.
    #[must_use]
    pub fn publishing(&self) -> watch::Receiver<publisher::PublisherState> {
        self.0.publisher.state()
    }

    /// Drops what is remembered of jobs that are done; how many.
    #[must_use]
    pub fn forget_finished(&self) -> u64 {
        self.0.jobs.forget_finished()
    }

    /// Packs that unfinished uploads go on with.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn noted_packs(&self) -> FsResult<BTreeSet<PackId>> {
        self.0.notes.packs()
    }

    /// Takes a sealed file: its bytes are sent, and looked at for views, as far as neither is done.
    pub fn submit(&self, id: EntryId) {
        self.0.notes.note_job(id);
        self.0.jobs.submit(id);
        self.0.expect_content(id);
        self.changed();
    }

    /// The file is being written to: until it is submitted again its bytes are not sent, since they
    /// can still change where they are.
    pub fn hold(&self, id: EntryId) {
        self.0.jobs.hold(id);
    }

    /// As [`Self::submit`], with the count of attempts forgotten.
    pub fn retry(&self, id: EntryId) {
        self.0.notes.forget_attempts(id);
        self.submit(id);
    }

    /// The file is gone: what is under way for it ends.
    pub fn cancel(&self, id: EntryId) {
        self.0.jobs.remove(id);
        self.0.notes.forget_job(id);
        self.0.notes.forget_attempts(id);
        self.0.forget_remake(id, |_| true);
        self.changed();
    }

    /// What is being done for a file; `None` when nothing is.
    #[must_use]
    pub fn progress(&self, id: EntryId) -> Option<JobProgress> {
        self.0.jobs.progress(id)
    }

    /// Entries whose newest state no acknowledged manifest holds yet, removed ones included.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn unpublished(&self) -> FsResult<Vec<EntryId>> {
        let found = self.0.index.unpublished();
        found.map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))
    }

    /// Those, and the ones that a job is at.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn unfinished(&self) -> FsResult<Vec<EntryId>> {
        let mut ids = self.unpublished()?;
        ids.extend(self.0.jobs.ids());
        ids.extend(self.0.notes.jobs()?);
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// What no acknowledged manifest held when this run began, removed entries included.
    #[must_use]
    pub fn unpublished_at_start(&self) -> &[EntryId] {
        &self.0.unpublished_at_start
    }

    /// Whether space in the spool will come free by itself.
    #[must_use]
    pub fn draining(&self) -> Draining {
        if self.0.jobs.is_sending() {
            self.0.publisher.urge();
            Draining::Yes
        } else {
            Draining::No
        }
    }

    /// Whether files are being worked on; what can wait does so meanwhile.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.0.jobs.is_sending()
    }

    /// Says that something people can see may have changed.
    pub fn changed(&self) {
        self.0.changed();
    }

    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

/// Who needs which spooled blob.
impl Ingest {
    /// `id` needs exactly these blobs from here on.
    pub fn own(&self, id: EntryId, blobs: Vec<BlobId>) {
        self.0.set_owned(Owner::Entry(id), blobs);
    }

    /// `id` needs none any more.
    pub fn disown(&self, id: EntryId) {
        self.0.set_owned(Owner::Entry(id), Vec::new());
    }

    /// An answer in flight needs these until [`Self::unpin`].
    pub fn pin(&self, handle: u64, blobs: Vec<BlobId>) {
        self.0.set_owned(Owner::Handle(handle), blobs);
    }

    pub fn unpin(&self, handle: u64) {
        self.0.set_owned(Owner::Handle(handle), Vec::new());
    }

    /// A spool file that is known to be of no use.
    pub fn disown_blob(&self, blob: BlobId) {
        if !self.0.owners().is_owned(blob) {
            self.0.orphan(vec![blob]);
        }
    }
}

impl Shared {
    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.acquire()
    }

    fn set_owned(&self, owner: Owner, blobs: Vec<BlobId>) {
        let orphans = self.owners().set(owner, blobs);
        self.orphan(orphans);
    }

    fn orphan(&self, blobs: Vec<BlobId>) {
        if !blobs.is_empty() {
            self.orphans.acquire().extend(blobs);
            self.orphaned.notify_one();
        }
    }

    /// Waits, but no longer than `longest`, until the library is known to be in the store: packs
    /// for another one would be lost there.
    async fn attached(&self, longest: Duration) {
        let mut standing = self.index.standing();
        // Nothing depends on why this returns.
        let _ = tokio::time::timeout(longest, standing.wait_for(StoreStatus::is_attached)).await;
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Deletes orphaned spool files, after the journal that made them so is on the disk.
    fn reap(&self) {
        let orphans = std::mem::take(&mut *self.orphans.acquire());
        if orphans.is_empty() {
            return;
        }
        if let Err(error) = self.tree.sync() {
            tracing::warn!(%error, "spool files are kept until the journal can be written");
            self.orphans.acquire().extend(orphans);
            return;
        }
        for blob in orphans {
            // Held meanwhile: nobody begins to need it between the question and the deed.
            let owners = self.owners();
            if owners.is_owned(blob) {
                continue;
            }
            if let Err(error) = self.spool.discard(blob) {
                tracing::warn!(%blob, %error, "a spool file that nothing needs cannot be deleted");
            }
            self.notes.forget_blob(blob);
        }
    }
}

impl Ingest {
    /// One task deletes, so that a burst of removals costs one journal sync.
    fn spawn_reaper(&self) {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(shared) = weak.upgrade() {
                let reaping = Arc::clone(&shared);
                shared.release_copies();
                let _ = tokio::task::spawn_blocking(move || reaping.reap()).await;
                // Cancel safe: `Notify` keeps a notification that comes between two rounds.
                let _ = tokio::time::timeout(SWEEP, shared.orphaned.notified()).await;
            }
        });
    }

    /// Runs the steps of one lane, `side_by_side` at a time, each in a task of its own: a panic
    /// over one file must not end the others.
    fn spawn_lane(&self, lane: Lane, side_by_side: usize) {
        let weak = Arc::downgrade(&self.0);
        let permits = Arc::new(Semaphore::new(side_by_side));
        tokio::spawn(async move {
            while let Some(shared) = weak.upgrade() {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                    return;
                };
                if shared.stopping.load(Ordering::Relaxed) {
                    return;
                }
                if !shared.index.standing().borrow().is_attached() {
                    drop(permit);
                    shared.attached(LANE_POLL).await;
                    continue;
                }
                let Some(id) = shared.jobs.take(lane) else {
                    drop(permit);
                    let _ = tokio::time::timeout(LANE_POLL, shared.jobs.queued(lane)).await;
                    continue;
                };
                shared.running.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let working = Arc::clone(&shared);
                    let done = tokio::spawn(async move {
                        match lane {
                            Lane::Content => working.store_content(id, permit).await,
                            Lane::Views => working.make_views(id, permit).await,
                        }
                    })
                    .await;
                    let result = done.unwrap_or_else(|error| {
                        let message = format!("ingest stopped unexpectedly: {error}");
                        Err(FsError::new(ErrorKind::Io, message))
                    });
                    shared.finish_step(lane, id, result);
                    shared.running.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }

    /// Follows what the log acknowledges: only then may a spool file go.
    fn spawn_acknowledgements(&self) {
        let weak = Arc::downgrade(&self.0);
        let mut events = self.0.publisher.acknowledged();
        tokio::spawn(async move {
            loop {
                let event = tokio::time::timeout(SWEEP, events.recv()).await;
                let Some(shared) = weak.upgrade() else { return };
                let ids = match event {
                    Ok(Ok(acknowledged)) => vec![acknowledged.id],
                    Ok(Err(tokio::sync::broadcast::error::RecvError::Closed)) => return,
                    // Told too fast, or not at all for a while: look at everything unfinished.
                    Ok(Err(_)) | Err(_) => shared.jobs.ids(),
                };
                let settling = Arc::clone(&shared);
                let _ = tokio::task::spawn_blocking(move || {
                    ids.into_iter()
                        .for_each(|id| settling.settle_acknowledged(id));
                })
                .await;
            }
        });
    }
}

impl Shared {
    /// Lets go of what the remote holds now, and of the job when nothing is left to do.
    fn settle_acknowledged(&self, id: EntryId) {
        self.tree.forget_recent(id);
        // No commit comes between what is read and what it lets go of: a newer version's blobs
        // would lose their owner.
        let settled = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &entry.kind else {
                return Ok(false);
            };
            let published = self.index.is_published(id).unwrap_or(false);
            if !published || !content.is_durable() {
                return Ok(false);
            }
            self.set_owned(Owner::Entry(id), needed_blobs(content));
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
        let EntryKind::File(content) = &entry.kind else {
            return;
        };
        let views_done =
            !matches!(content.views, ViewsState::Pending) && content.views.is_durable();
        if views_done {
            if self.jobs.finish(id) == Finished::Yes {
                self.notes.forget_job(id);
            }
            self.notes.forget_attempts(id);
            // A copy that shares the bytes and is not done finds by the note that they are sent.
            for blob in spooled_blobs(content) {
                if !self.owners().is_owned(blob) {
                    self.notes.forget_blob(blob);
                }
            }
        }
        self.changed();
    }

    fn is_gone(&self, id: EntryId) -> bool {
        matches!(self.tree.node(id), Err(error) if error.kind == ErrorKind::NotFound)
    }

    fn finish_step(&self, lane: Lane, id: EntryId, result: FsResult<()>) {
        match result {
            Ok(()) => self.jobs.step_done(lane, id),
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.jobs.remove(id);
                self.notes.forget_job(id);
            }
            // Removed while it was sent, so that its bytes were not there any more.
            Err(_) if self.is_gone(id) => {
                self.jobs.remove(id);
                self.notes.forget_job(id);
            }
            Err(error) => {
                let path = self
                    .tree
                    .path_of(id)
                    .map_or_else(|_| id.to_string(), |p| p.display());
                if self.stopping.load(Ordering::Relaxed) {
                    tracing::debug!(file = %path, %error, "ingest goes on at the next start");
                } else {
                    tracing::warn!(file = %path, %error, "ingest will try again");
                }
                self.jobs.step_failed(lane, id, error.to_string());
            }
        }
        self.changed();
    }
}

/// Blobs of a file that may lie in the spool, derived ones included.
#[must_use]
pub fn spooled_blobs(content: &FileContent) -> Vec<BlobId> {
    let blobs = content.blobs.iter().chain(content.views.derived());
    blobs.map(|blob| blob.id).collect()
}

/// Blobs that are needed here until packs hold them.
fn needed_blobs(content: &FileContent) -> Vec<BlobId> {
    let mut needed: Vec<BlobId> = Vec::new();
    for extent in &content.extents {
        if let ExtentSource::Blob(id) = extent.source {
            let range = crate::model::ByteRange::new(extent.offset, extent.len);
            let durable = content.blob(id).is_some_and(|blob| blob.covers(range));
            // Views that are still to be made are made from the copy here.
            if !durable || matches!(content.views, ViewsState::Pending) {
                needed.push(id);
            }
        }
    }
    if let Some(derived) = content.views.derived()
        && !content.views.is_durable()
    {
        needed.push(derived.id);
    }
    needed
}

/// The record beside a spool file: the entry it belongs to.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct SpoolRecordV1 {
    entry: Entry,
}

impl Record for SpoolRecordV1 {
    const KIND: Kind = Kind::SpoolRecord;
    const SCHEMA: u16 = VIEWS_SCHEMA;
    const OLDEST: u16 = OLDEST_VIEWS_SCHEMA;

    fn schema(&self) -> u16 {
        self.entry.schema()
    }
}

/// # Errors
/// `Io` when the entry cannot be encoded.
pub fn spool_record(entry: &Entry) -> FsResult<Vec<u8>> {
    codec::encode(&SpoolRecordV1 {
        entry: entry.clone(),
    })
    .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))
}

/// The entry of a spool record; `None` when it cannot be read.
#[must_use]
pub fn read_spool_record(bytes: &[u8]) -> Option<Entry> {
    codec::decode::<SpoolRecordV1>(bytes)
        .ok()
        .map(|record| record.entry)
}
