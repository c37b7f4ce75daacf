//! Jobs in memory: the files that wait for each stage, and their progress. Each unfinished file has one
//! entry of about 200 bytes, so the spool bounds the queue.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::upload_progress::UploadProgress;
use crate::model::{EntryId, UploadInfo};
use crate::sync::MutexExt as _;

/// First pause after a failed step. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause. The return of a remote that was down is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Stage of ingest. The two stages never wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The file's bytes go into packs.
    Content,
    /// The file's views are made, and their derived blob goes into packs.
    Views,
}

/// Stage of a file, where progress and errors of its running step are noted.
#[derive(Debug, Clone, Copy)]
pub struct FileStage {
    pub stage: Stage,
    pub id: EntryId,
}

/// Progress of a job, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    /// Name of the running step.
    pub step: &'static str,
    /// Share of the file's bytes that the store has, 0 to 99. It never goes back while they are the same.
    pub percent: u8,
    /// Share of the step that is done, in percent, for a step that is no upload.
    pub step_percent: Option<u8>,
    /// Progress of the upload, if one is the running step.
    pub upload: Option<UploadInfo>,
    /// Reason why it makes no progress. It is still tried again.
    pub error: Option<String>,
}

/// State of one stage of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StageStatus {
    Queued,
    Running,
    /// Submitted again while it ran.
    RunningStale,
    Waiting(Instant),
    Done,
}

#[derive(Debug)]
struct StageState {
    status: StageStatus,
    failures: u32,
    label: &'static str,
    percent: u8,
    /// Reason why it makes no progress. It is still tried again.
    error: Option<String>,
    /// Bytes that no pack takes yet.
    unsent: u64,
    /// Upload of the stage's bytes, once their number is known.
    upload: Option<UploadProgress>,
}

impl Default for StageState {
    fn default() -> Self {
        Self {
            status: StageStatus::Queued,
            failures: 0,
            label: "wait",
            percent: 0,
            error: None,
            unsent: 0,
            upload: None,
        }
    }
}

#[derive(Debug, Default)]
struct FileJob {
    content: StageState,
    views: StageState,
    /// Highest share that was shown, in percent.
    shown: u8,
}

impl FileJob {
    fn stage(&mut self, stage: Stage) -> &mut StageState {
        match stage {
            Stage::Content => &mut self.content,
            Stage::Views => &mut self.views,
        }
    }

    /// Returns the share of the file's bytes that the store has, in percent.
    fn share(&mut self) -> u8 {
        let upload = self.content.upload.as_mut().map(UploadProgress::info);
        let sent = upload.map_or(0, |upload| percent(upload.sent, upload.total));
        self.shown
            .max(match (self.content.status, self.views.status) {
                (StageStatus::Done, StageStatus::Done) => 99,
                (StageStatus::Done, _) => percent(1, 1),
                _ => sent,
            })
    }

    fn progress(&mut self) -> JobProgress {
        self.shown = self.share();
        let percent = self.shown;
        let error = self.content.error.as_ref().or(self.views.error.as_ref());
        let error = error.cloned();
        let active = match (self.content.status, self.views.status) {
            (StageStatus::Done, StageStatus::Done) => {
                return JobProgress {
                    step: "publish",
                    percent,
                    step_percent: None,
                    upload: None,
                    error,
                };
            }
            (StageStatus::Done, _) => &mut self.views,
            _ => &mut self.content,
        };
        let upload = active.upload.as_mut().map(UploadProgress::info);
        JobProgress {
            step: active.label,
            percent,
            step_percent: upload.is_none().then_some(active.percent),
            upload,
            error,
        }
    }
}

/// Answer whether all stages of a file are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Nothing is left to do.
    Yes,
    /// A stage is still to run.
    No,
}

#[derive(Debug, Default)]
struct JobTable {
    jobs: HashMap<EntryId, FileJob>,
    content: VecDeque<EntryId>,
    views: VecDeque<EntryId>,
    /// Files that are being written: the bytes of their newest blob can still change.
    held: HashSet<EntryId>,
    /// Unsent bytes of all jobs.
    unsent: u64,
    /// End of the first pause after a failure, by stage.
    next_due: [Option<Instant>; 2],
}

impl JobTable {
    /// Forgets a job.
    fn drop_job(&mut self, id: EntryId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.unsent -= job.content.unsent + job.views.unsent;
        }
    }

    fn set_unsent(
        &mut self,
        stage: Stage,
        id: EntryId,
        bytes: u64,
        applies: impl Fn(StageStatus) -> bool,
    ) {
        if let Some(job) = self.jobs.get_mut(&id) {
            let state = job.stage(stage);
            if applies(state.status) {
                self.unsent = self.unsent - state.unsent + bytes;
                state.unsent = bytes;
            }
        }
    }

    /// Queues the files whose pause after a failure is over.
    fn queue_due(&mut self, stage: Stage) {
        let now = Instant::now();
        let next = &mut self.next_due[stage as usize];
        if next.is_none_or(|at| at > now) {
            return;
        }
        *next = None;
        let mut due = Vec::new();
        for (id, job) in &mut self.jobs {
            match job.stage(stage).status {
                StageStatus::Waiting(at) if at <= now => due.push(*id),
                StageStatus::Waiting(at) => {
                    *next = Some(next.map_or(at, |first: Instant| first.min(at)))
                }
                _ => {}
            }
        }
        self.queue(stage).extend(due);
    }

    fn queue(&mut self, stage: Stage) -> &mut VecDeque<EntryId> {
        match stage {
            Stage::Content => &mut self.content,
            Stage::Views => &mut self.views,
        }
    }
}

/// Jobs of all unfinished files, with a queue for each stage.
#[derive(Debug, Default)]
pub struct Jobs {
    table: Mutex<JobTable>,
    content_queued: Notify,
    views_queued: Notify,
}

impl Jobs {
    fn table(&self) -> MutexGuard<'_, JobTable> {
        self.table.acquire()
    }

    fn notify(&self, stage: Stage) -> &Notify {
        match stage {
            Stage::Content => &self.content_queued,
            Stage::Views => &self.views_queued,
        }
    }

    /// Starts no step of a file until it is submitted again.
    pub fn hold(&self, id: EntryId) {
        let mut table = self.table();
        table.held.insert(id);
        // Its bytes will be others.
        if let Some(job) = table.jobs.get_mut(&id) {
            job.shown = 0;
            job.content.upload = None;
        }
    }

    /// Returns true if the file is being written.
    #[must_use]
    pub fn is_held(&self, id: EntryId) -> bool {
        self.table().held.contains(&id)
    }

    /// Queues a file for both stages. Each stage finds out what there is to do.
    pub fn submit(&self, id: EntryId) {
        self.table().held.remove(&id);
        for stage in [Stage::Content, Stage::Views] {
            self.queue(stage, id);
        }
    }

    /// Queues a file for one stage.
    pub fn queue(&self, stage: Stage, id: EntryId) {
        let mut table = self.table();
        let is_new = !table.jobs.contains_key(&id);
        let status = &mut table.jobs.entry(id).or_default().stage(stage).status;
        match status {
            // A new job has the same status, but is in no queue yet.
            StageStatus::Queued if !is_new => {
                if table.queue(stage).contains(&id) {
                    return;
                }
            }
            StageStatus::Running | StageStatus::RunningStale => {
                *status = StageStatus::RunningStale;
                return;
            }
            StageStatus::Queued | StageStatus::Waiting(_) | StageStatus::Done => {
                *status = StageStatus::Queued
            }
        }
        table.queue(stage).push_back(id);
        drop(table);
        self.notify(stage).notify_one();
    }

    /// Waits until a file is queued for a stage. Cancel safe: the notification stays.
    pub async fn queued(&self, stage: Stage) {
        self.notify(stage).notified().await;
    }

    /// Takes the next file of a stage out of its queue. Files whose pause is over count as queued.
    pub fn take(&self, stage: Stage) -> Option<EntryId> {
        let mut table = self.table();
        table.queue_due(stage);
        loop {
            let id = table.queue(stage).pop_front()?;
            if let Some(job) = table.jobs.get_mut(&id) {
                let state = job.stage(stage);
                if matches!(state.status, StageStatus::Queued | StageStatus::Waiting(_)) {
                    state.status = StageStatus::Running;
                    return Some(id);
                }
            }
        }
    }

    /// Returns true if a file waits for a stage and is not in a pause.
    #[must_use]
    pub fn is_any_queued(&self, stage: Stage) -> bool {
        let mut table = self.table();
        table.queue_due(stage);
        !table.queue(stage).is_empty()
    }

    /// Notes that a step succeeded. A file that was submitted meanwhile is queued again.
    pub fn step_done(&self, stage: Stage, id: EntryId) {
        let mut table = self.table();
        let Some(job) = table.jobs.get_mut(&id) else {
            return;
        };
        let state = job.stage(stage);
        state.error = None;
        state.failures = 0;
        let again = state.status == StageStatus::RunningStale;
        state.status = if again {
            StageStatus::Queued
        } else {
            StageStatus::Done
        };
        if again {
            table.queue(stage).push_back(id);
            drop(table);
            self.notify(stage).notify_one();
        }
    }

    /// Notes why a step failed. It is tried again after a pause.
    pub fn step_failed(&self, stage: Stage, id: EntryId, error: String) {
        let mut table = self.table();
        let Some(job) = table.jobs.get_mut(&id) else {
            return;
        };
        let state = job.stage(stage);
        state.error = Some(error);
        let pause = FIRST_PAUSE * 2u32.saturating_pow(state.failures.min(10));
        state.failures += 1;
        let due = Instant::now() + pause.min(LONGEST_PAUSE);
        state.status = StageStatus::Waiting(due);
        let next = &mut table.next_due[stage as usize];
        *next = Some(next.map_or(due, |first| first.min(due)));
    }

    /// Notes why a running step makes no progress; `None` once it does again.
    pub fn set_trouble(&self, stage: Stage, id: EntryId, trouble: Option<String>) {
        if let Some(job) = self.table().jobs.get_mut(&id) {
            job.stage(stage).error = trouble;
        }
    }

    /// Notes how many bytes of a file no pack takes yet.
    pub fn set_unsent(&self, stage: Stage, id: EntryId, bytes: u64) {
        self.table().set_unsent(stage, id, bytes, |_| true);
    }

    /// Notes how many bytes a file will send, unless its stage has begun.
    pub fn expect(&self, stage: Stage, id: EntryId, bytes: u64) {
        let is_queued = |status| status == StageStatus::Queued;
        self.table().set_unsent(stage, id, bytes, is_queued);
    }

    /// Returns the bytes of all files that no pack takes yet.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.table().unsent
    }

    /// Notes the running step of a stage, and how much of it is done.
    pub fn set_progress(&self, stage: Stage, id: EntryId, label: &'static str, percent: u8) {
        if let Some(job) = self.table().jobs.get_mut(&id) {
            let state = job.stage(stage);
            (state.label, state.percent) = (label, percent);
        }
    }

    /// Forgets a job if all its stages are done.
    pub fn finish(&self, id: EntryId) -> Finished {
        let mut table = self.table();
        match table.jobs.get(&id) {
            Some(job)
                if job.content.status != StageStatus::Done
                    || job.views.status != StageStatus::Done =>
            {
                Finished::No
            }
            _ => {
                table.drop_job(id);
                Finished::Yes
            }
        }
    }

    /// Forgets all jobs whose stages are done, and returns their number.
    pub fn forget_finished(&self) -> u64 {
        let mut table = self.table();
        let done: Vec<EntryId> = table
            .jobs
            .iter()
            .filter(|(_, job)| {
                job.content.status == StageStatus::Done && job.views.status == StageStatus::Done
            })
            .map(|(id, _)| *id)
            .collect();
        done.iter().for_each(|id| table.drop_job(*id));
        done.len() as u64
    }

    /// Forgets a job whatever its state.
    pub fn remove(&self, id: EntryId) {
        let mut table = self.table();
        table.drop_job(id);
        table.held.remove(&id);
    }

    /// Returns true if the file has a job.
    pub fn contains(&self, id: EntryId) -> bool {
        self.table().jobs.contains_key(&id)
    }

    /// Returns the files that have a job.
    #[must_use]
    pub fn ids(&self) -> Vec<EntryId> {
        self.table().jobs.keys().copied().collect()
    }

    /// Returns true if any job is left. A job that waits after a failure counts, because the remote may
    /// come back.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.table().jobs.is_empty()
    }

    /// Begins the upload of `total` bytes, of which those that the store has are to be added.
    pub fn begin_upload(&self, of: FileStage, total: u64) {
        if let Some(job) = self.table().jobs.get_mut(&of.id) {
            let state = job.stage(of.stage);
            state.label = "upload";
            match &mut state.upload {
                Some(upload) => upload.restart(total),
                None => state.upload = Some(UploadProgress::new(total)),
            }
        }
    }

    /// Notes the upload that a queued stage will begin.
    pub fn expect_upload(&self, of: FileStage, total: u64, stored: u64) {
        if let Some(job) = self.table().jobs.get_mut(&of.id) {
            let state = job.stage(of.stage);
            if state.status == StageStatus::Queued {
                let upload = state
                    .upload
                    .get_or_insert_with(|| UploadProgress::new(total));
                upload.restart(total);
                upload.add_stored(stored);
            }
        }
    }

    /// Applies a change to the upload of a stage.
    pub fn update_upload(&self, of: FileStage, change: impl FnOnce(&mut UploadProgress)) {
        if let Some(job) = self.table().jobs.get_mut(&of.id)
            && let Some(upload) = &mut job.stage(of.stage).upload
        {
            change(upload);
        }
    }

    /// Returns the progress of a file; `None` when it has no job.
    #[must_use]
    pub fn progress(&self, id: EntryId) -> Option<JobProgress> {
        let mut table = self.table();
        Some(table.jobs.get_mut(&id)?.progress())
    }
}

/// Returns the share of a step that is done, in percent. The last two percent are kept for publishing.
#[must_use]
pub fn percent(done: u64, total: u64) -> u8 {
    u8::try_from((done * 98).checked_div(total).unwrap_or(98)).unwrap_or(98)
}

#[cfg(test)]
mod tests;
