//! Attaches the state to its store in a task of its own, so that a start does not wait for the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::store::{Moving, OpenStore};
use crate::index::{Index, Left};
use crate::ingest::Ingest;
use crate::model::{AttachState, LibraryClaim};
use crate::remote::retry::Deadline;
use crate::remote::{LockedRemote, LogPlace, Remote};
use crate::tree::Tree;
use crate::upkeep::attach_error::{AttachError, AttachReport};
use crate::upkeep::fill::{self, Patience};
use crate::upkeep::moving::{self, Mover};
use crate::upkeep::orphans::delete_orphan_packs;
use crate::vfs::{Resumed, Vfs};

/// Time that a start waits for the store. When the store answers in time, everything is attached when the
/// start returns, and a refusal ends the start.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// Time without an answer of the store after which a command that needs the tree gives up.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);

/// Time between two rounds of moving packs. Some packs wait for the end of their grace time.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(60);
/// Time between two rounds when packs stayed because somebody read them.
const UNTIL_UNUSED: Duration = Duration::from_secs(5);

/// The part of the store that a start needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The tree: a command is of no use without it.
    Library,
    /// Nothing: a daemon goes on without the store.
    Daemon,
}

/// The treatment of leftovers of the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// They are taken up.
    TakeUp,
    /// They stay for a later run.
    Leave,
}

/// The progress of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttachPhase {
    Working,
    /// State and store are in step, and leftovers of the last run are taken up.
    Ready,
    Refused,
}

/// The parts that are attached to each other.
#[derive(Debug, Clone)]
pub struct Ends {
    pub index: Arc<Index>,
    pub store: OpenStore,
    pub tree: Arc<Tree>,
    pub vfs: Vfs,
    pub ingest: Ingest,
    pub leftovers: Leftovers,
}

/// Handle of the task that attaches an index to its store.
#[derive(Debug)]
pub struct Attaching {
    /// `None` when the store is not asked.
    task: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    phase: watch::Receiver<AttachPhase>,
    /// True once the start has returned. From then on the task has to report a refusal itself.
    alone: Arc<AtomicBool>,
}

impl Attaching {
    /// Makes a handle without a task: nothing is asked of the store, because the state alone is enough.
    pub fn none() -> Self {
        Self {
            task: None,
            stop: watch::Sender::new(false),
            phase: watch::channel(AttachPhase::Ready).1,
            alone: Arc::default(),
        }
    }

    /// Starts the task and waits for the store as long as `need` requires. When the store answers soon,
    /// everything is attached when this returns.
    ///
    /// # Errors
    /// When the store refuses this state, or does not answer a command that needs it.
    pub async fn begin(ends: Ends, need: Need) -> anyhow::Result<Self> {
        if ends.leftovers == Leftovers::TakeUp {
            ends.vfs.await_resume();
        }
        let mut attaching = Self::start(ends.clone());
        match attaching.first_look(&ends.index, need).await {
            Ok(FirstLook::Over) => {
                attaching.leave_alone(&ends.index);
                Ok(attaching)
            }
            // The store does not answer. The task stops because leftovers are taken up next: those are
            // changes, and the index must not be filled from the log at the same time.
            Ok(FirstLook::Away) => {
                attaching.stop().await;
                if ends.vfs.awaits_resume() && attach_state(&ends.index) == AttachState::Reaching {
                    take_up(&ends.vfs, ViewBacklog::of(&ends.index)).await?;
                }
                let attaching = Self::start(ends.clone());
                attaching.leave_alone(&ends.index);
                Ok(attaching)
            }
            Err(error) => {
                attaching.stop().await;
                Err(error)
            }
        }
    }

    /// Starts the task. Must be called inside a tokio runtime.
    fn start(ends: Ends) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (report, phase) = watch::channel(AttachPhase::Working);
        let alone = Arc::default();
        let work = AttachTask {
            ends,
            report,
            stopping,
            alone: Arc::clone(&alone),
        };
        Self {
            task: Some(tokio::spawn(work.run())),
            stop,
            phase,
            alone,
        }
    }

    /// Lets the task report refusals itself from here on.
    fn leave_alone(&self, index: &Index) {
        self.alone.store(true, Ordering::SeqCst);
        if *self.phase.borrow() == AttachPhase::Refused {
            tell_refusal(index);
        }
    }

    async fn first_look(&mut self, index: &Index, need: Need) -> anyhow::Result<FirstLook> {
        let mut waited = Duration::ZERO;
        loop {
            let decided = self.phase.wait_for(|phase| *phase != AttachPhase::Working);
            // After this time the state says why the store takes longer.
            let phase = tokio::time::timeout(FIRST_LOOK, decided).await;
            waited += FIRST_LOOK;
            let status = index.store_status().borrow().clone();
            match phase.map(|phase| phase.map(|phase| *phase)) {
                Ok(Ok(AttachPhase::Ready)) => return Ok(FirstLook::Over),
                Ok(Ok(AttachPhase::Refused)) => bail!(status.problem.unwrap_or_default()),
                Ok(Err(_)) => bail!("the work on the store ended early; the log tells why"),
                Ok(Ok(AttachPhase::Working)) | Err(_) => {}
            }
            match (status.state, need) {
                // A command may wait for a store that is only slow.
                (AttachState::Reaching, Need::Library)
                    if status.problem.is_none() && waited < COMMAND_PATIENCE => {}
                (AttachState::Reaching, _) => return Ok(FirstLook::Away),
                (AttachState::Filling, Need::Daemon) => return Ok(FirstLook::Over),
                // Filling may take any time. Only silence ends the wait.
                (AttachState::Filling, Need::Library)
                    if status.problem.is_some() && waited >= COMMAND_PATIENCE =>
                {
                    bail!(status.explain().unwrap_or_default());
                }
                // Leftovers are being taken up, which is work on this machine.
                (AttachState::Filling | AttachState::Attached | AttachState::Refused, _) => {}
            }
        }
    }

    /// Stops the task, and returns when nothing works on the index any more.
    pub async fn stop(mut self) {
        // Nobody listens when the task has ended.
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            // A panic was logged by its hook.
            let _ = task.await;
        }
    }
}

/// The outcome of the first wait for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstLook {
    /// State and store are in step, or on their way there.
    Over,
    /// The store does not answer, and the tree is known without it.
    Away,
}

struct AttachTask {
    ends: Ends,
    report: watch::Sender<AttachPhase>,
    stopping: watch::Receiver<bool>,
    alone: Arc<AtomicBool>,
}

impl AttachTask {
    async fn run(self) {
        let Ends {
            index, store, vfs, ..
        } = &self.ends;
        let shared: Arc<dyn Remote> = Arc::<LockedRemote>::clone(&store.remote);
        match self.attach(&shared).await {
            Ok(report) => {
                tell(&report);
                let views = match report.fill.entries {
                    0 => ViewBacklog::of(index),
                    _ => ViewBacklog::Forgotten,
                };
                vfs.tree_was_filled();
                if vfs.awaits_resume()
                    && let Err(error) = take_up(vfs, views).await
                {
                    return self.refuse(&format!("{error:#}"));
                }
            }
            Err(AttachError::Stopped) => return,
            Err(error) => return self.refuse(&error.to_string()),
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            settled = store.remote.settle(Deadline::None) => if let Err(error) = settled {
                return self.refuse(&error.to_string());
            },
            // An error says that the owner is gone.
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        self.report.send_replace(AttachPhase::Ready);
        let sweeping = async {
            self.delete_orphan_packs(&shared).await;
            if let Some(moving) = &store.moving {
                self.move_packs(&shared, moving).await;
            }
            std::future::pending::<()>().await;
        };
        // Both run in one task, so the end of one ends both.
        tokio::select! {
            () = self.follow_publishing() => {}
            () = sweeping => {}
        }
    }

    async fn attach(&self, shared: &Arc<dyn Remote>) -> Result<AttachReport, AttachError> {
        let Ends { index, store, .. } = &self.ends;
        let patience = Patience::UntilStopped(self.stopping.clone());
        if let Some(moving) = &store.moving
            && moving.remote.log_place() == LogPlace::Old
        {
            let note = || moving.note();
            moving::move_log(index, shared, &moving.remote, note, patience.clone()).await?;
            tracing::info!(
                from = %moving.from().display(),
                "bots were added: new files go to Telegram, and those in the local store move there"
            );
        }
        fill::attach(index, shared, LibraryClaim::Continue, patience).await
    }

    /// Moves packs until nothing is needed from the old store any more.
    async fn move_packs(&self, shared: &Arc<dyn Remote>, moving: &Moving) {
        let workshop = match moving.workshop() {
            Ok(workshop) => workshop,
            Err(error) => return tracing::warn!(%error, "packs are not moved in this run"),
        };
        let mover = Mover {
            index: Arc::clone(&self.ends.index),
            tree: Arc::clone(&self.ends.tree),
            remote: Arc::clone(shared),
            workshop,
        };
        let in_use = |pack| self.ends.vfs.packs_in_use().contains(&pack);
        let is_busy = || self.ends.ingest.is_busy();
        loop {
            let pause = match mover.round(&in_use, &is_busy).await {
                Ok(moved) if moved.is_all() => break,
                Ok(moved) => {
                    if moved.packs > 0 {
                        let (packs, bytes) = (moved.packs, moved.bytes);
                        tracing::info!(packs, bytes, "moved packs from the local store");
                    }
                    match moved.in_use {
                        0 => BETWEEN_ROUNDS,
                        _ => UNTIL_UNUSED,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "packs stay in the local store for now");
                    BETWEEN_ROUNDS
                }
            };
            tokio::time::sleep(pause).await;
        }
        let from = moving.from().display();
        match moving.finish() {
            Ok(()) => tracing::info!(%from, "everything has moved; the local store can be removed"),
            Err(error) => {
                tracing::warn!(%error, "everything has moved, but this cannot be noted; the next start looks for the local store again")
            }
        }
    }

    /// Deletes packs that the last run stored and did not name before it ended. It may take long. The next
    /// start looks again for those that stay.
    async fn delete_orphan_packs(&self, remote: &Arc<dyn Remote>) {
        if self.ends.leftovers == Leftovers::Leave {
            return;
        }
        let noted = match self.ends.ingest.noted_packs() {
            Ok(noted) => noted,
            Err(error) => return tracing::warn!(%error, "orphaned packs are not looked for"),
        };
        match delete_orphan_packs(&self.ends.index, remote, noted).await {
            Ok(0) => {}
            Ok(packs) => {
                tracing::info!(packs, "deleted packs that the last run left without a name")
            }
            Err(error) => tracing::warn!(%error, "orphaned packs stay for now"),
        }
    }

    fn refuse(&self, reason: &str) {
        self.ends.index.refuse(reason.to_owned());
        let before = self.report.send_replace(AttachPhase::Refused);
        if before != AttachPhase::Refused && self.alone.load(Ordering::SeqCst) {
            tell_refusal(&self.ends.index);
        }
    }

    /// Reports problems of the publisher as problems of the library.
    async fn follow_publishing(&self) {
        let mut publishing = self.ends.ingest.publishing();
        let mut stopping = self.stopping.clone();
        loop {
            let (problem, stopped) = {
                let state = publishing.borrow_and_update();
                (state.problem.clone(), state.stopped.clone())
            };
            if let Some(reason) = stopped {
                return self.refuse(&reason);
            }
            self.ends.index.tell_problem(problem);
            tokio::select! {
                changed = publishing.changed() => if changed.is_err() { return },
                // An error says that the owner, who could stop it, is gone.
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }
}

fn tell_refusal(index: &Index) {
    if let Some(text) = index.store_status().borrow().explain() {
        tracing::error!("{text}");
    }
}

fn attach_state(index: &Index) -> AttachState {
    index.store_status().borrow().state
}

/// Tells whether the tree of this state is complete.
pub fn is_known(index: &Index) -> bool {
    attach_state(index) != AttachState::Filling
}

fn tell(report: &AttachReport) {
    report
        .notes
        .iter()
        .for_each(|note| tracing::warn!("{note}"));
    if let Some(text) = report.lost_and_found() {
        tracing::warn!("{text}");
    }
}

/// Knowledge of the views that are still to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ViewBacklog {
    /// The index knows them.
    Indexed,
    /// The index was lost, or a kill took its newest rows, so the views must be looked for.
    Forgotten,
}

impl ViewBacklog {
    /// Returns what an index knows that was opened. The notes of jobs are rows outside the journal: a kill takes those
    /// of the last half second, while the files themselves come back from the journal.
    fn of(index: &Index) -> Self {
        match index.left() {
            Left::Clean => Self::Indexed,
            Left::Somehow => Self::Forgotten,
        }
    }
}

/// Takes up what the last run left in spool and index.
///
/// # Errors
/// When one of them cannot be read.
async fn take_up(vfs: &Vfs, views: ViewBacklog) -> anyhow::Result<()> {
    let vfs = vfs.clone();
    let resumed = tokio::task::spawn_blocking(move || {
        let resumed = vfs.resume()?;
        if views == ViewBacklog::Forgotten {
            vfs.submit_pending_views()?;
        }
        Ok::<_, crate::model::FsError>(resumed)
    })
    .await?
    .map_err(|error| anyhow!("{error}"))?;
    if resumed != Resumed::default() {
        tracing::info!(
            files = resumed.files,
            interrupted = resumed.interrupted,
            adopted = resumed.adopted,
            "took up what the last run left"
        );
    }
    Ok(())
}
