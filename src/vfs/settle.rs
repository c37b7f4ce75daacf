//! The time between the last writer's release and ingest. It starts anew with each change, since
//! tools set times, modes and names after they close.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Vfs;
use super::draft::Draft;
use crate::ingest::policy::{NamePolicy, name_policy};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{EntryId, EntryKind, ErrorKind, FileState, FsResult, ViewsState};
use crate::sync::MutexExt as _;

/// How long the settling task sleeps when nothing waits.
const IDLE: Duration = Duration::from_secs(3600);

/// Files waiting for their settle time to pass.
#[derive(Debug)]
pub struct Settler {
    waiting: Mutex<HashMap<EntryId, Instant>>,
    changed: Notify,
    /// Milliseconds.
    time: AtomicU64,
}

impl Settler {
    #[must_use]
    pub fn new(time: Duration) -> Self {
        let settler = Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            time: AtomicU64::new(0),
        };
        settler.set_time(time);
        settler
    }

    pub fn set_time(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.time.store(millis, Ordering::Relaxed);
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<EntryId, Instant>> {
        self.waiting.acquire()
    }

    /// Starts or restarts the time of a file.
    pub fn touch(&self, id: EntryId) {
        let time = Duration::from_millis(self.time.load(Ordering::Relaxed));
        self.waiting().insert(id, Instant::now() + time);
        self.changed.notify_one();
    }

    /// Restarts the time of a file that is waiting.
    pub fn touch_if_waiting(&self, id: EntryId) {
        if self.waiting().contains_key(&id) {
            self.touch(id);
        }
    }

    pub fn cancel(&self, id: EntryId) {
        self.waiting().remove(&id);
    }

    pub fn is_waiting(&self, id: EntryId) -> bool {
        self.waiting().contains_key(&id)
    }

    pub fn any(&self, is_meant: impl Fn(EntryId) -> bool) -> bool {
        self.waiting().keys().any(|id| is_meant(*id))
    }

    /// All that wait, whatever their time: for the last round before the daemon stops.
    pub fn take_all(&self) -> Vec<EntryId> {
        self.waiting().drain().map(|(id, _)| id).collect()
    }

    /// The files whose time has passed, and when the next one's does.
    fn take_due(&self) -> (Vec<EntryId>, Instant) {
        let now = Instant::now();
        let mut waiting = self.waiting();
        let due: Vec<_> = waiting
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| *id)
            .collect();
        due.iter().for_each(|id| {
            waiting.remove(id);
        });
        let next = waiting.values().min().copied().unwrap_or(now + IDLE);
        (due, next)
    }
}

impl Vfs {
    pub(super) fn spawn_settling(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                let Some(strong) = inner.upgrade() else {
                    return;
                };
                let vfs = Self(strong);
                let (due, next) = vfs.0.settle.take_due();
                if !due.is_empty() {
                    let sealing = vfs.clone();
                    let _ = super::files::blocking(move || {
                        due.into_iter().for_each(|id| sealing.seal_or_keep(id));
                        Ok(())
                    })
                    .await;
                    continue;
                }
                // Cancel safe: a notification that comes between two rounds is kept by `Notify`.
                // The wait is bounded so that a dropped file system is noticed.
                let limit = next.min(Instant::now() + Duration::from_secs(5));
                let _ = tokio::time::timeout_at(limit, vfs.0.settle.changed.notified()).await;
            }
        });
    }

    fn seal_or_keep(&self, id: EntryId) {
        match self.seal(id) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(file = %id, %error, "a written file could not be sealed; it is kept");
                // Most likely the disk is full: look again when something may have changed.
                self.0.settle.touch(id);
            }
            Ok(()) => {}
        }
    }

    /// Ends the writing of a file: its blob is immutable from here on, and ingest has it.
    fn seal(&self, id: EntryId) -> FsResult<()> {
        if self.0.open.writers(id) > 0 {
            return Ok(());
        }
        if let Some(file) = self.0.open.file(id) {
            let mut state = file.state();
            if state.unlinked.is_some() {
                return Ok(());
            }
            let committed = self.0.commit_draft(&file, &mut state);
            if state.draft.as_ref().is_some_and(Draft::is_changed) {
                committed?;
            } else if let Err(error) = committed {
                // It stands in the tree as failed, with the reason.
                tracing::error!(file = %id, %error, "a written file is not safe on the disk");
            }
            state.draft = None;
            state.quarantine = None;
            self.0.unmark_writing(&file, &mut state)?;
        }
        self.0.open.forget_idle(id);
        self.submit(id)
    }

    /// Gives a sealed file to ingest, unless its name or its state says otherwise.
    pub(super) fn submit(&self, id: EntryId) -> FsResult<()> {
        let entry = self.0.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        if matches!(content.state, FileState::Failed(_))
            || name_policy(&entry.name) != NamePolicy::Ingest
        {
            self.0.ingest.changed();
            return Ok(());
        }
        // A new name may make media of what was none, and the other way round.
        let renamed = match content.views {
            ViewsState::NotMedia => {
                media_kind(&entry.name).is_media() || is_subtitle_name(&entry.name)
            }
            ViewsState::Subtitles(_) => media_kind(&entry.name).is_media(),
            _ => false,
        };
        if renamed {
            self.0.tree.update(id, |entry| {
                if let EntryKind::File(content) = &mut entry.kind {
                    content.views = ViewsState::Pending;
                }
                Ok(())
            })?;
        }
        self.0.ingest.submit(id);
        Ok(())
    }
}
