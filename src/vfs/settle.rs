//! Time between the last writer's release and ingest. It starts again with each change, because
//! tools set times, modes and names after they close a file.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::EntryId;
use crate::sync::MutexExt as _;

/// Sleep of the settling task when nothing waits.
const IDLE: Duration = Duration::from_secs(3600);

/// Function that is told which file begins to wait.
struct SettleBegun(Box<dyn Fn(EntryId) + Send + Sync>);

impl std::fmt::Debug for SettleBegun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SettleBegun")
    }
}

/// Files that wait for their settle time to pass. A timer does not survive this process, so `begun` has to
/// note the work that follows it.
#[derive(Debug)]
pub struct SettleTimers {
    waiting: Mutex<HashMap<EntryId, Instant>>,
    changed: Notify,
    /// Settle time in milliseconds.
    time: AtomicU64,
    begun: SettleBegun,
}

impl SettleTimers {
    #[must_use]
    pub fn new(time: Duration, begun: impl Fn(EntryId) + Send + Sync + 'static) -> Self {
        let timers = Self {
            begun: SettleBegun(Box::new(begun)),
            waiting: Mutex::default(),
            changed: Notify::new(),
            time: AtomicU64::new(0),
        };
        timers.set_time(time);
        timers
    }

    /// Sets the settle time of timers that start from now on.
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
        if !self.is_waiting(id) {
            (self.begun.0)(id);
        }
        self.waiting().insert(id, Instant::now() + time);
        self.changed.notify_one();
    }

    /// Restarts the time of a file that is waiting.
    pub fn touch_if_waiting(&self, id: EntryId) {
        if self.waiting().contains_key(&id) {
            self.touch(id);
        }
    }

    /// Stops the timer of a file.
    pub fn cancel(&self, id: EntryId) {
        self.waiting().remove(&id);
    }

    /// Returns whether the timer of a file runs.
    pub fn is_waiting(&self, id: EntryId) -> bool {
        self.waiting().contains_key(&id)
    }

    /// Returns whether a timer runs for a file that `is_meant` accepts.
    pub fn any(&self, is_meant: impl Fn(EntryId) -> bool) -> bool {
        self.waiting().keys().any(|id| is_meant(*id))
    }

    /// Takes all waiting files, whatever their time. This is for the last round before the daemon stops.
    pub fn take_all(&self) -> Vec<EntryId> {
        self.waiting().drain().map(|(id, _)| id).collect()
    }

    /// Takes the files whose time has passed. Also returns when the next one is due.
    pub fn take_due(&self) -> (Vec<EntryId>, Instant) {
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
    /// Returns when a timer was started, or at `limit`.
    pub async fn changed_before(&self, limit: Instant) {
        // Cancel safe: a notification that comes between two calls is kept by `Notify`.
        let _ = tokio::time::timeout_at(limit, self.changed.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> EntryId {
        EntryId::from_bytes([number; 16])
    }

    #[test]
    fn only_files_whose_time_has_passed_are_due() {
        let timers = SettleTimers::new(Duration::ZERO, |_| ());
        timers.touch(id(1));
        timers.set_time(Duration::from_secs(60));
        timers.touch(id(2));
        timers.touch(id(3));
        timers.cancel(id(3));
        let (due, next) = timers.take_due();
        assert_eq!(due, [id(1)]);
        assert!(next > Instant::now());
        assert!(!timers.is_waiting(id(1)));
        assert_eq!(timers.take_all(), [id(2)]);
    }

    #[test]
    fn a_change_restarts_only_the_time_that_runs() {
        let timers = SettleTimers::new(Duration::from_secs(60), |_| ());
        timers.touch_if_waiting(id(1));
        assert!(!timers.is_waiting(id(1)));
        timers.touch(id(1));
        timers.set_time(Duration::ZERO);
        timers.touch_if_waiting(id(1));
        assert_eq!(timers.take_due().0, [id(1)]);
    }
}
