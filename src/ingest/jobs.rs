//! Jobs in memory: which files wait for which lane, and how far they are. One entry an unfinished
//! file (some 200 bytes), so the queue is bounded by what is in the spool.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::EntryId;
use crate::sync::MutexExt as _;

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
    /// Why it does not get on; it is tried again all the same.
    error: Option<String>,
    /// Bytes that no pack takes yet.
    unsent: u64,
}

impl Default for LaneState {
    fn default() -> Self {
        Self {
            step: Step::Queued,
            failures: 0,
            label: "wait",
            percent: 0,
            error: None,
            unsent: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Job {
    content: LaneState,
    views: LaneState,
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
    /// Of all jobs.
    unsent: u64,
    /// When the first of the pauses after failures is over, by lane.
    next_due: [Option<Instant>; 2],
}

impl Inner {
    /// Forgets a job.
    fn drop_job(&mut self, id: EntryId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.unsent -= job.content.unsent + job.views.unsent;
        }
    }

    fn set_unsent(&mut self, lane: Lane, id: EntryId, bytes: u64, applies: impl Fn(Step) -> bool) {
        if let Some(job) = self.jobs.get_mut(&id) {
            let state = job.lane(lane);
            if applies(state.step) {
                self.unsent = self.unsent - state.unsent + bytes;
                state.unsent = bytes;
            }
        }
    }

    /// Queues what has waited long enough after a failure.
    fn queue_due(&mut self, lane: Lane) {
        let now = Instant::now();
        let next = &mut self.next_due[lane as usize];
        if next.is_none_or(|at| at > now) {
            return;
        }
        *next = None;
        let mut due = Vec::new();
        for (id, job) in &mut self.jobs {
            match job.lane(lane).step {
                Step::Waiting(at) if at <= now => due.push(*id),
                Step::Waiting(at) => *next = Some(next.map_or(at, |first: Instant| first.min(at))),
                _ => {}
            }
        }
        self.queue(lane).extend(due);
    }

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
        self.inner.acquire()
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
        inner.queue_due(lane);
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
        let state = job.lane(lane);
        state.error = None;
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
        let state = job.lane(lane);
        state.error = Some(error);
        let pause = FIRST_PAUSE * 2u32.saturating_pow(state.failures.min(10));
        state.failures += 1;
        let due = Instant::now() + pause.min(LONGEST_PAUSE);
        state.step = Step::Waiting(due);
        let next = &mut inner.next_due[lane as usize];
        *next = Some(next.map_or(due, |first| first.min(due)));
    }

    /// Says why a step does not get on, while it goes on trying; `None` when it does again.
    pub fn set_trouble(&self, lane: Lane, id: EntryId, trouble: Option<String>) {
        if let Some(job) = self.inner().jobs.get_mut(&id) {
            job.lane(lane).error = trouble;
        }
    }

    /// Notes how many bytes of a file no pack takes yet.
    pub fn set_unsent(&self, lane: Lane, id: EntryId, bytes: u64) {
        self.inner().set_unsent(lane, id, bytes, |_| true);
    }

    /// As [`Self::set_unsent`], of a file whose turn has not come.
    pub fn expect(&self, lane: Lane, id: EntryId, bytes: u64) {
        let is_queued = |step| step == Step::Queued;
        self.inner().set_unsent(lane, id, bytes, is_queued);
    }

    /// Bytes of all files that no pack takes yet.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.inner().unsent
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
                inner.drop_job(id);
                Finished::Yes
            }
        }
    }

    pub fn forget_finished(&self) -> u64 {
        let mut inner = self.inner();
        let done: Vec<EntryId> = inner
            .jobs
            .iter()
            .filter(|(_, job)| job.content.step == Step::Done && job.views.step == Step::Done)
            .map(|(id, _)| *id)
            .collect();
        done.iter().for_each(|id| inner.drop_job(*id));
        done.len() as u64
    }

    pub fn remove(&self, id: EntryId) {
        let mut inner = self.inner();
        inner.drop_job(id);
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
        let error = job.content.error.as_ref().or(job.views.error.as_ref());
        let active = match (job.content.step, job.views.step) {
            (Step::Done, Step::Done) => {
                return Some(JobProgress {
                    step: "publish",
                    percent: 99,
                    error: error.cloned(),
                });
            }
            (Step::Done, _) => &job.views,
            _ => &job.content,
        };
        Some(JobProgress {
            step: active.label,
            percent: active.percent,
            error: error.cloned(),
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

    #[tokio::test(start_paused = true)]
    async fn a_failed_step_is_tried_again_for_ever_and_says_why() {
        let (jobs, id) = (Jobs::default(), EntryId::random());
        jobs.submit(id);
        for _ in 0..50 {
            assert_eq!(jobs.take(Lane::Content), Some(id));
            jobs.step_failed(Lane::Content, id, "no rights".to_owned());
            assert_eq!(jobs.take(Lane::Content), None, "not before its pause");
            // What the other side does is no reason to forget it.
            if jobs.take(Lane::Views) == Some(id) {
                jobs.step_done(Lane::Views, id);
            }
            let shown = jobs.progress(id).and_then(|job| job.error);
            assert_eq!(shown.as_deref(), Some("no rights"));
            tokio::time::advance(LONGEST_PAUSE).await;
        }
    }

    #[test]
    fn what_waits_is_counted_until_it_is_taken_or_gone() {
        let (jobs, a, b) = (Jobs::default(), EntryId::random(), EntryId::random());
        for id in [a, b] {
            jobs.submit(id);
            jobs.set_unsent(Lane::Content, id, 100);
        }
        jobs.set_unsent(Lane::Views, a, 5);
        assert_eq!(jobs.unsent(), 205);
        jobs.set_unsent(Lane::Content, a, 40);
        assert_eq!(jobs.unsent(), 145);
        jobs.remove(a);
        assert_eq!(jobs.unsent(), 100);
        jobs.set_unsent(Lane::Content, a, 7);
        assert_eq!(jobs.unsent(), 100, "of no job");
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
