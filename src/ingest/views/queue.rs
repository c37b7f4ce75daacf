//! Queue of files whose views are made again, on request or for a rendition that must be encoded.
//! Requests and their number of starts are kept in rows outside the journal. Losing one costs a
//! rendition, never a file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::index::{Index, Rows};
use crate::ingest::jobs::JobProgress;
use crate::ingest::notes;
use crate::model::{EntryId, FsResult, Views};
use crate::sync::MutexExt as _;

/// First pause after a remake that could not be done. Each error doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Reason why views are made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemakeReason {
    /// A user asked for it. The file is not done before.
    Asked,
    /// A rendition that browsers play is missing. The file is done without it.
    Rendition,
}

/// Remake that was taken out of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemakeTicket {
    pub id: EntryId,
    pub reason: RemakeReason,
    /// Version of the file whose views are made again.
    pub version: u64,
}

/// State of a remake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RemakeStatus {
    /// Not before this moment.
    Waiting(Instant),
    Running,
    /// The views are made, and on their way into the store.
    Made,
}

/// Request to make the views of one version of a file again.
#[derive(Debug)]
struct Remake {
    reason: RemakeReason,
    /// Version of the file. Newer bytes have views of their own.
    version: u64,
    /// Number of starts, those of earlier runs included.
    begun: u32,
    status: RemakeStatus,
    failures: u32,
    label: &'static str,
    percent: u8,
    error: Option<String>,
    made: Option<Views>,
    asked: Instant,
}

/// Queue of remakes. An entry takes about 100 bytes, and the one being stored also has its views.
#[derive(Debug)]
pub struct RemakeQueue {
    rows: Rows,
    known: Mutex<HashMap<EntryId, Remake>>,
    queued: Notify,
}

impl RemakeQueue {
    /// Opens the queue with the requests that an earlier run left.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn open(index: &Index) -> FsResult<Self> {
        let rows = index.rows("remakes").map_err(notes::io)?;
        let left = rows.scan(b"").map_err(notes::io)?;
        let known = left.into_iter().filter_map(|(key, row)| {
            let (reason, version, begun) = decode(&row)?;
            let id = EntryId::from_bytes(key.try_into().ok()?);
            Some((id, Remake::new(reason, version, begun)))
        });
        Ok(Self {
            known: Mutex::new(known.collect()),
            rows,
            queued: Notify::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<EntryId, Remake>> {
        self.known.acquire()
    }

    /// Writes a request down so that it outlives a daemon that dies the moment after.
    fn note(&self, id: EntryId, remake: &Remake) {
        let row = encode(remake.reason, remake.version, remake.begun);
        if let Err(error) = self.rows.put_lastingly(id.as_bytes(), &row) {
            tracing::warn!(%id, %error, "views to be made again could not be noted; a restart would forget them");
        }
    }

    /// Queues a file. A request that already waits gets the newer reason. A running one stays.
    pub fn ask(&self, id: EntryId, reason: RemakeReason, version: u64) {
        let mut known = self.known();
        let is_busy = known.get(&id).is_some_and(|found| {
            found.version == version && !matches!(found.status, RemakeStatus::Waiting(_))
        });
        if is_busy {
            return;
        }
        let remake = Remake::new(reason, version, 0);
        self.note(id, &remake);
        known.insert(id, remake);
        drop(known);
        self.queued.notify_one();
    }

    /// Takes the oldest request of a kind whose pause is over.
    pub fn take(&self, reason: RemakeReason) -> Option<RemakeTicket> {
        let mut known = self.known();
        let now = Instant::now();
        let due = known.iter().filter(|(_, remake)| {
            remake.reason == reason
                && matches!(remake.status, RemakeStatus::Waiting(at) if at <= now)
        });
        let (&id, _) = due.min_by_key(|(_, remake)| remake.asked)?;
        let remake = known.get_mut(&id)?;
        remake.status = RemakeStatus::Running;
        Some(RemakeTicket {
            id,
            reason: remake.reason,
            version: remake.version,
        })
    }

    /// Waits until a request comes. Cancel safe: the notification stays.
    pub async fn queued(&self) {
        self.queued.notified().await;
    }

    /// Counts one more start before it begins. Returns the number of starts, this one included.
    pub fn begin(&self, id: EntryId) -> u32 {
        let mut known = self.known();
        let Some(remake) = known.get_mut(&id) else {
            return 1;
        };
        remake.begun += 1;
        self.note(id, remake);
        remake.begun
    }

    /// Takes the start under way out of the count, because its end says nothing about the file.
    pub fn take_back_start(&self, id: EntryId) {
        if let Some(remake) = self.known().get_mut(&id)
            && remake.status == RemakeStatus::Running
        {
            self.take_back(id, remake);
        }
    }

    /// Takes the starts under way out of the counts, because a stop is no failure.
    pub fn take_back_running(&self) {
        for (id, remake) in self.known().iter_mut() {
            if remake.status == RemakeStatus::Running {
                self.take_back(*id, remake);
            }
        }
    }

    fn take_back(&self, id: EntryId, remake: &mut Remake) {
        remake.begun = remake.begun.saturating_sub(1);
        remake.status = RemakeStatus::Waiting(Instant::now());
        self.note(id, remake);
    }

    /// Notes the running step of a remake, and the share of it that is done.
    pub fn set_progress(&self, id: EntryId, label: &'static str, percent: u8) {
        if let Some(remake) = self.known().get_mut(&id) {
            // A second pass, or another try, takes back nothing that was shown.
            (remake.label, remake.percent) = (label, remake.percent.max(percent));
        }
    }

    /// Puts a remake back into the queue, to be begun again after a pause.
    pub fn put_off(&self, id: EntryId, version: u64, error: Option<String>) {
        let mut known = self.known();
        if let Some(remake) = known
            .get_mut(&id)
            .filter(|remake| remake.version == version)
        {
            let pause = FIRST_PAUSE * 2u32.saturating_pow(remake.failures.min(10));
            remake.failures += u32::from(error.is_some());
            remake.status = RemakeStatus::Waiting(Instant::now() + pause.min(LONGEST_PAUSE));
            remake.error = error;
            remake.label = "wait";
        }
    }

    /// Keeps new views until they are stored. Returns false when nobody wants them any more.
    pub fn set_made(&self, id: EntryId, version: u64, views: &Views) -> bool {
        match self.known().get_mut(&id) {
            Some(remake) if remake.version == version => {
                remake.made = Some(views.clone());
                remake.status = RemakeStatus::Made;
                remake.error = None;
                (remake.label, remake.percent) = ("upload", 98);
                true
            }
            _ => false,
        }
    }

    /// Returns the new views of this version of a file.
    #[must_use]
    pub fn made(&self, id: EntryId, version: u64) -> Option<Views> {
        let known = self.known();
        known
            .get(&id)
            .filter(|remake| remake.version == version)?
            .made
            .clone()
    }

    /// Forgets the request for the versions of a file that `which` names. Returns true if there was one.
    pub fn forget(&self, id: EntryId, which: impl Fn(u64) -> bool) -> bool {
        let mut known = self.known();
        if !known.get(&id).is_some_and(|remake| which(remake.version)) {
            return false;
        }
        known.remove(&id);
        if let Err(error) = self.rows.remove(id.as_bytes()) {
            tracing::debug!(%id, %error, "a note of views to be made again stays behind");
        }
        true
    }

    /// Returns true if new views of this version are still wanted.
    #[must_use]
    pub fn is_wanted(&self, id: EntryId, version: u64) -> bool {
        self.known()
            .get(&id)
            .is_some_and(|remake| remake.version == version)
    }

    /// Returns the files with a request.
    #[must_use]
    pub fn ids(&self) -> Vec<EntryId> {
        self.known().keys().copied().collect()
    }

    /// Returns the files whose request waits.
    #[must_use]
    pub fn waiting(&self) -> Vec<EntryId> {
        let known = self.known();
        let waiting = known
            .iter()
            .filter(|(_, remake)| matches!(remake.status, RemakeStatus::Waiting(_)));
        waiting.map(|(id, _)| *id).collect()
    }

    /// Returns the reason and the progress of a file's remake; `None` without a request.
    #[must_use]
    pub fn progress(&self, id: EntryId) -> Option<(RemakeReason, JobProgress)> {
        let known = self.known();
        let remake = known.get(&id)?;
        let progress = JobProgress {
            step: remake.label,
            percent: remake.percent,
            step_percent: Some(remake.percent),
            upload: None,
            error: remake.error.clone(),
        };
        Some((remake.reason, progress))
    }
}

impl Remake {
    fn new(reason: RemakeReason, version: u64, begun: u32) -> Self {
        let now = Instant::now();
        Self {
            reason,
            version,
            begun,
            status: RemakeStatus::Waiting(now),
            failures: 0,
            label: "wait",
            percent: 0,
            error: None,
            made: None,
            asked: now,
        }
    }
}

fn encode(reason: RemakeReason, version: u64, begun: u32) -> Vec<u8> {
    let mut row = vec![match reason {
        RemakeReason::Asked => 0,
        RemakeReason::Rendition => 1,
    }];
    row.extend(version.to_le_bytes());
    row.extend(begun.to_le_bytes());
    row
}

fn decode(row: &[u8]) -> Option<(RemakeReason, u64, u32)> {
    let (reason, rest) = row.split_first()?;
    let (version, begun) = rest.split_first_chunk::<8>()?;
    let reason = match reason {
        0 => RemakeReason::Asked,
        1 => RemakeReason::Rendition,
        _ => return None,
    };
    let begun = u32::from_le_bytes(begun.try_into().ok()?);
    Some((reason, u64::from_le_bytes(*version), begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: EntryId, reason: RemakeReason) -> RemakeTicket {
        RemakeTicket {
            id,
            reason,
            version: 1,
        }
    }

    #[test]
    fn rows_come_back() {
        for reason in [RemakeReason::Asked, RemakeReason::Rendition] {
            let row = encode(reason, 7 << 40, 2);
            assert_eq!(decode(&row), Some((reason, 7 << 40, 2)));
        }
        assert_eq!(decode(&[2; 13]), None);
        assert_eq!(decode(&[0; 5]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_kind_waits_for_the_other_and_what_failed_comes_later() {
        let directory = tempfile::tempdir().unwrap();
        let owner = crate::index::Owner::of_process();
        let (index, _) = Index::open(directory.path(), owner).unwrap();
        let remakes = RemakeQueue::open(&index).unwrap();
        let [film, asked] = [EntryId::random(), EntryId::random()];
        remakes.ask(film, RemakeReason::Rendition, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        remakes.ask(asked, RemakeReason::Asked, 1);
        let (user, rendition) = (RemakeReason::Asked, RemakeReason::Rendition);
        assert_eq!(remakes.take(user), Some(ticket(asked, user)));
        assert_eq!(remakes.begin(asked), 1);
        remakes.put_off(asked, 1, Some("no room".to_owned()));
        assert_eq!(remakes.take(user), None, "not before its pause");
        assert_eq!(remakes.take(rendition), Some(ticket(film, rendition)));
        assert_eq!(remakes.take(rendition), None);
        tokio::time::advance(LONGEST_PAUSE).await;
        assert_eq!(remakes.take(user), Some(ticket(asked, user)));
        assert_eq!(remakes.begin(asked), 2);
        assert!(!remakes.forget(film, |version| version != 1));
        assert!(remakes.forget(film, |version| version == 1));
        // The next run knows what was asked, and how often it was begun.
        let again = RemakeQueue::open(&index).unwrap();
        assert_eq!(again.ids(), [asked]);
        assert_eq!(again.begin(asked), 3);
        assert!(again.is_wanted(asked, 1) && !again.is_wanted(asked, 2));
    }
}
