//! Handle of the task that publishes changes.

use std::sync::{Arc, Mutex};

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::error::PublishError;
use super::pace::{PublishUrgency, UrgencySignal};
use super::state::PublisherState;
use super::task::{IndexGuard, PublishTask};
use crate::index::{Acknowledged, Index};
use crate::model::WriterId;
use crate::remote::Remote;
use crate::sync::MutexExt as _;

/// Number of acknowledgements by which a slow listener may lag behind.
const EVENTS: usize = 4096;

/// Handle of the task that publishes. The task ends when this is dropped.
#[derive(Debug)]
pub struct Publisher {
    index: Arc<Index>,
    urgency: Arc<UrgencySignal>,
    state: watch::Receiver<PublisherState>,
    events: broadcast::Sender<Acknowledged>,
    /// `None` once it was stopped.
    task: Mutex<Option<JoinHandle<()>>>,
    index_guard: IndexGuard,
}

impl Publisher {
    /// Starts publishing, as often as the remote likes, once the index is attached. Before that, the end
    /// and the owner of the log are unknown. Needs a tokio runtime.
    #[must_use]
    pub fn start(index: Arc<Index>, remote: Arc<dyn Remote>) -> Self {
        let urgency = Arc::new(UrgencySignal::default());
        let (report, state) = watch::channel(PublisherState::default());
        let (events, _) = broadcast::channel(EVENTS);
        let index_guard = IndexGuard::default();
        let task = PublishTask {
            index_guard: Arc::clone(&index_guard),
            index: Arc::clone(&index),
            remote,
            writer: WriterId::random(),
            urgency: Arc::clone(&urgency),
            report,
            events: events.clone(),
        };
        Self {
            index,
            urgency,
            state,
            events,
            task: Mutex::new(Some(tokio::spawn(task.run()))),
            index_guard,
        }
    }

    /// Signals that bytes can be published. They go as soon as the pace allows.
    pub fn urge(&self) {
        self.urgency.raise(PublishUrgency::Soon);
    }

    /// Publishes the waiting changes now, whatever the pace.
    pub fn hurry(&self) {
        self.urgency.raise(PublishUrgency::Now);
    }

    /// Returns a receiver of entries as they are acknowledged. A listener that lagged asks
    /// `Index::is_published`.
    #[must_use]
    pub fn acknowledged(&self) -> broadcast::Receiver<Acknowledged> {
        self.events.subscribe()
    }

    /// Returns the state of publishing, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PublisherState> {
        self.state.clone()
    }

    /// Ends publishing and releases index and remote, which can be closed when this returns.
    pub async fn stop(&self) {
        let task = self.task.acquire().take();
        if let Some(task) = task {
            task.abort();
            // The task was aborted on purpose. A panic was logged by its hook.
            let _ = task.await;
        }
        drop(self.index_guard.lock().await);
    }

    /// Hurries, and returns once everything committed before the call is acknowledged. Files whose
    /// bytes are still on their way are left out. This waits as long as the remote is away.
    ///
    /// # Errors
    /// `Stopped` when publishing ended for good.
    pub async fn drained(&self) -> Result<(), PublishError> {
        let target = self.index.last_seq();
        let mut state = self.state.clone();
        loop {
            {
                let now = state.borrow_and_update();
                if now.idle_at.is_some_and(|idle| idle >= target) {
                    return Ok(());
                }
                if let Some(reason) = &now.stopped {
                    return Err(PublishError::Stopped(reason.clone()));
                }
            }
            self.hurry();
            if state.changed().await.is_err() {
                return Err(PublishError::Stopped("the task ended".into()));
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // The next start recognises a manifest that is under way as our own.
        if let Some(task) = self.task.acquire().take() {
            task.abort();
        }
    }
}
