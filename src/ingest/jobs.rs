//! Jobs in memory: which files wait for which lane, and how far they are. One entry an unfinished
//! file (some 200 bytes), so the queue is bounded by what is in the spool.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::model::EntryId;

/// Waits before a failed step is tried again: doubling, so that a remote that is down is not
/// hammered, and short enough that its return is noticed within a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The two sides of ingest, which never wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Content,
    Views,
}

/// What people see of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    pub step: &'static str,
    pub percent: u8,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Queued,
    Running,
    /// Asked for again while it ran.
    RunningStale,
    Waiting(Instant),
    Done,
}

#[derive(Debug)]
struct LaneState {
    step: Step,
    failures: u32,
    label: &'static str,
    percent: u8,
}

impl Default for LaneState {
    fn default() -> Self {
        Self {
            step: Step::Queued,
            failures: 0,
            label: "wait",
            percent: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Job {
    content: LaneState,
    views: LaneState,
    error: Option<String>,
}

impl Job {
    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Content => &mut self.content,
            Lane::Views => &mut self.views,
        }
    }
}

/// Whether nothing is left to do for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Yes,
    No,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<EntryId, Job>,
    content: VecDeque<EntryId>,
    views: VecDeque<EntryId>,
    /// Files that are being written: what their newest blob holds can still change.
    held: HashSet<EntryId>,
}

impl Inner {
    fn queue(&mut self, lane: Lane) -> &mut VecDeque<EntryId> {
        match lane {
            Lane::Content => &mut self.content,
            Lane::Views => &mut self.views,
        }
    }
}

#[derive(Debug, Default)]
pub struct Jobs {
    inner: Mutex<Inner>,
    content_queued: Notify,
    views_queued: Notify,
}

impl Jobs {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Content => &self.content_queued,
            Lane::Views => &self.views_queued,
        }
    }

    /// Starts no step of a file until it is submitted again.
    pub fn hold(&self, id: EntryId) {
        self.inner().held.insert(id);
    }

    #[must_use]
    pub fn is_held(&self, id: EntryId) -> bool {
        self.inner().held.contains(&id)
    }

    /// Queues a file on both lanes; each finds out what there is to do.
    pub fn submit(&self, id: EntryId) {
        self.inner().held.remove(&id);
        for lane in [Lane::Content, Lane::Views] {
            self.queue(lane, id);
        }
    }

    /// Queues a file on one lane.
    pub fn queue(&self, lane: Lane, id: EntryId) {
        let mut inner = self.inner();
        let is_new = !inner.jobs.contains_key(&id);
        let step = &mut inner.jobs.entry(id).or_default().lane(lane).step;
        match step {
            // A new job is in no queue yet, on neither lane: the state alone does not say.
            Step::Queued if !is_new => {
                if inner.queue(lane).contains(&id) {
                    return;
                }
            }
            Step::Running | Step::RunningStale => {
                *step = Step::RunningStale;
                return;
            }
            Step::Queued | Step::Waiting(_) | Step::Done => *step = Step::Queued,
        }
        inner.queue(lane).push_back(id);
        drop(inner);
        self.notify(lane).notify_one();
    }

    pub async fn queued(&self, lane: Lane) {
        self.notify(lane).notified().await;
    }

    /// The next file of a lane, one whose pause is over included.
    pub fn take(&self, lane: Lane) -> Option<EntryId> {
        let mut inner = self.inner();
        let now = Instant::now();
        let due: Vec<EntryId> = inner
            .jobs
            .iter_mut()
            .filter_map(|(id, job)| match job.lane(lane).step {
                Step::Waiting(at) if at <= now => Some(*id),
                _ => None,
            })
            .collect();
        inner.queue(lane).extend(due);
        loop {
            let id = inner.queue(lane).pop_front()?;
            if let Some(job) = inner.jobs.get_mut(&id) {
                let state = job.lane(lane);
                if matches!(state.step, Step::Queued | Step::Waiting(_)) {
                    state.step = Step::Running;
                    return Some(id);
                }
            }
        }
    }

    pub fn step_done(&self, lane: Lane, id: EntryId) {
        let mut inner = self.inner();
        let Some(job) = inner.jobs.get_mut(&id) else {
            return;
        };
        job.error = None;
        let state = job.lane(lane);
        state.failures = 0;
        let again = state.step == Step::RunningStale;
        state.step = if again { Step::Queued } else { Step::Done };
        if again {
            inner.queue(lane).push_back(id);
            drop(inner);
            self.notify(lane).notify_one();
        }
    }

    pub fn step_failed(&self, lane: Lane, id: EntryId, error: String) {
        let mut inner = self.inner();
        let Some(job) = inner.jobs.get_mut(&id) else {
            return;
        };
        job.error = Some(error);
        let state = job.lane(lane);
        let pause = FIRST_PAUSE * 2u32.saturating_pow(state.failures.min(10));
        state.failures += 1;
        state.step = Step::Waiting(Instant::now() + pause.min(LONGEST_PAUSE));
    }

    pub fn set_progress(&self, lane: Lane, id: EntryId, label: &'static str, percent: u8) {
        if let Some(job) = self.inner().jobs.get_mut(&id) {
            let state = job.lane(lane);
            (state.label, state.percent) = (label, percent);
        }
    }

    /// Forgets a job unless it is to run again.
    pub fn finish(&self, id: EntryId) -> Finished {
        let mut inner = self.inner();
        match inner.jobs.get(&id) {
            Some(job) if job.content.step != Step::Done || job.views.step != Step::Done => {
                Finished::No
            }
            _ => {
                inner.jobs.remove(&id);
                Finished::Yes
            }
        }
    }

    pub fn forget_finished(&self) -> u64 {
        let mut inner = self.inner();
        let before = inner.jobs.len();
        inner
            .jobs
            .retain(|_, job| job.content.step != Step::Done || job.views.step != Step::Done);
        (before - inner.jobs.len()) as u64
    }

    pub fn remove(&self, id: EntryId) {
        let mut inner = self.inner();
        inner.jobs.remove(&id);
        inner.held.remove(&id);
    }

    pub fn contains(&self, id: EntryId) -> bool {
        self.inner().jobs.contains_key(&id)
    }

    #[must_use]
    pub fn ids(&self) -> Vec<EntryId> {
        self.inner().jobs.keys().copied().collect()
    }

    /// Whether bytes are on their way out. A lane that only waits after failures counts: the
    /// remote may come back.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.inner().jobs.is_empty()
    }

    #[must_use]
    pub fn progress(&self, id: EntryId) -> Option<JobProgress> {
        let inner = self.inner();
        let job = inner.jobs.get(&id)?;
        let active = match (job.content.step, job.views.step) {
            (Step::Done, Step::Done) => {
                return Some(JobProgress {
                    step: "publish",
                    percent: 99,
                    error: job.error.clone(),
                });
            }
            (Step::Done, _) => &job.views,
            _ => &job.content,
        };
        Some(JobProgress {
            step: active.label,
            percent: active.percent,
            error: job.error.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_sent_is_sent_again() {
        let (jobs, id) = (Jobs::default(), EntryId::random());
        jobs.submit(id);
        assert_eq!(jobs.take(Lane::Content), Some(id));
        jobs.submit(id);
        assert_eq!(jobs.take(Lane::Content), None, "not twice at once");
        jobs.step_done(Lane::Content, id);
        assert_eq!(jobs.take(Lane::Content), Some(id));
        jobs.step_done(Lane::Content, id);
        assert_eq!(jobs.take(Lane::Content), None);
        assert_eq!(
            jobs.finish(id),
            Finished::No,
            "the views are still to be made"
        );
        assert_eq!(jobs.take(Lane::Views), Some(id));
        jobs.step_done(Lane::Views, id);
        assert_eq!(jobs.finish(id), Finished::Yes);
        assert!(!jobs.contains(id));
    }

    #[test]
    fn submitting_twice_queues_once() {
        let (jobs, id) = (Jobs::default(), EntryId::random());
        jobs.submit(id);
        jobs.submit(id);
        assert_eq!(jobs.take(Lane::Views), Some(id));
        jobs.step_done(Lane::Views, id);
        assert_eq!(jobs.take(Lane::Views), None);
    }
}
