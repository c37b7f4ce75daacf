//! Files whose views are to be made once more: on request, and for a rendition that has to be encoded. What
//! is wanted, and how often it was begun, stands in rows outside the journal: losing one costs a
//! rendition, never a file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::jobs::JobProgress;
use crate::index::{Index, Rows};
use crate::model::{EntryId, FsResult, Views};
use crate::sync::MutexExt as _;

/// Waits before a remake is begun again that could not be done now.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why views are made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Somebody asked for it: their file is not done before.
    Asked,
    /// For a rendition that browsers play; the file is done without it.
    Rendition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Waiting(Instant),
    Running,
    /// Its views are made, and on their way into the store.
    Made,
}

#[derive(Debug)]
struct Remake {
    wish: Wish,
    /// Of the file: newer bytes have views of their own.
    version: u64,
    begun: u32,
    step: Step,
    failures: u32,
    label: &'static str,
    percent: u8,
    error: Option<String>,
    made: Option<Views>,
    asked: Instant,
}

/// One entry a file that waits, some 100 bytes; views only of the one that is being stored.
#[derive(Debug)]
pub struct Remakes {
    rows: Rows,
    known: Mutex<HashMap<EntryId, Remake>>,
    queued: Notify,
}

impl Remakes {
    /// With what an earlier run left.
    pub fn open(index: &Index) -> FsResult<Self> {
        let rows = index.rows("remakes").map_err(super::progress::io)?;
        let left = rows.scan(b"").map_err(super::progress::io)?;
        let known = left.into_iter().filter_map(|(key, row)| {
            let (wish, version, begun) = decode(&row)?;
            let id = EntryId::from_bytes(key.try_into().ok()?);
            Some((id, Remake::new(wish, version, begun)))
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

    fn note(&self, id: EntryId, remake: &Remake) {
        let row = encode(remake.wish, remake.version, remake.begun);
        if let Err(error) = self.rows.put(id.as_bytes(), &row) {
            tracing::warn!(%id, %error, "views to be made again could not be noted; a restart would forget them");
        }
    }

    /// Queues a file; one that waits already is told the newer wish.
    pub fn ask(&self, id: EntryId, wish: Wish, version: u64) {
        let mut known = self.known();
        let is_busy = known.get(&id).is_some_and(|found| {
            found.version == version && !matches!(found.step, Step::Waiting(_))
        });
        if is_busy {
            return;
        }
        let remake = Remake::new(wish, version, 0);
        self.note(id, &remake);
        known.insert(id, remake);
        drop(known);
        self.queued.notify_one();
    }

    /// The next file whose pause is over: first those that somebody waits for, then the oldest.
    pub fn take(&self) -> Option<(EntryId, Wish, u64)> {
        let mut known = self.known();
        let now = Instant::now();
        let due = known
            .iter()
            .filter(|(_, remake)| matches!(remake.step, Step::Waiting(at) if at <= now));
        let (&id, _) = due.min_by_key(|(_, remake)| (remake.wish != Wish::Asked, remake.asked))?;
        let remake = known.get_mut(&id)?;
        remake.step = Step::Running;
        Some((id, remake.wish, remake.version))
    }

    pub async fn queued(&self) {
        self.queued.notified().await;
    }

    /// Counts one more start, before it begins; how many there were, this one included.
    pub fn begin(&self, id: EntryId) -> u32 {
        let mut known = self.known();
        let Some(remake) = known.get_mut(&id) else {
            return 1;
        };
        remake.begun += 1;
        self.note(id, remake);
        remake.begun
    }

    /// Starts that say nothing about the file do not count.
    pub fn forget_starts(&self, id: EntryId) {
        if let Some(remake) = self.known().get_mut(&id) {
            remake.begun = 0;
            self.note(id, remake);
        }
    }

    pub fn set_progress(&self, id: EntryId, label: &'static str, percent: u8) {
        if let Some(remake) = self.known().get_mut(&id) {
            (remake.label, remake.percent) = (label, percent);
        }
    }

    /// It is begun again after a pause.
    pub fn put_off(&self, id: EntryId, version: u64, error: Option<String>) {
        let mut known = self.known();
        if let Some(remake) = known
            .get_mut(&id)
            .filter(|remake| remake.version == version)
        {
            let pause = FIRST_PAUSE * 2u32.saturating_pow(remake.failures.min(10));
            remake.failures += u32::from(error.is_some());
            remake.step = Step::Waiting(Instant::now() + pause.min(LONGEST_PAUSE));
            remake.error = error;
            remake.label = "wait";
        }
    }

    /// Its new views wait to be stored; false where nobody wants them any more.
    pub fn set_made(&self, id: EntryId, version: u64, views: &Views) -> bool {
        match self.known().get_mut(&id) {
            Some(remake) if remake.version == version => {
                remake.made = Some(views.clone());
                remake.step = Step::Made;
                remake.error = None;
                (remake.label, remake.percent) = ("upload", 98);
                true
            }
            _ => false,
        }
    }

    /// The new views of this version of a file.
    #[must_use]
    pub fn made(&self, id: EntryId, version: u64) -> Option<Views> {
        let known = self.known();
        known
            .get(&id)
            .filter(|remake| remake.version == version)?
            .made
            .clone()
    }

    /// Forgets what was wanted for the versions of a file that `which` names; whether there was any.
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

    #[must_use]
    pub fn is_wanted(&self, id: EntryId, version: u64) -> bool {
        self.known()
            .get(&id)
            .is_some_and(|remake| remake.version == version)
    }

    #[must_use]
    pub fn ids(&self) -> Vec<EntryId> {
        self.known().keys().copied().collect()
    }

    /// Those that nothing is being done for yet.
    #[must_use]
    pub fn waiting(&self) -> Vec<EntryId> {
        let known = self.known();
        let waiting = known
            .iter()
            .filter(|(_, remake)| matches!(remake.step, Step::Waiting(_)));
        waiting.map(|(id, _)| *id).collect()
    }

    #[must_use]
    pub fn progress(&self, id: EntryId) -> Option<(Wish, JobProgress)> {
        let known = self.known();
        let remake = known.get(&id)?;
        let progress = JobProgress {
            step: remake.label,
            percent: remake.percent,
            error: remake.error.clone(),
        };
        Some((remake.wish, progress))
    }
}

impl Remake {
    fn new(wish: Wish, version: u64, begun: u32) -> Self {
        let now = Instant::now();
        Self {
            wish,
            version,
            begun,
            step: Step::Waiting(now),
            failures: 0,
            label: "wait",
            percent: 0,
            error: None,
            made: None,
            asked: now,
        }
    }
}

fn encode(wish: Wish, version: u64, begun: u32) -> Vec<u8> {
    let mut row = vec![match wish {
        Wish::Asked => 0,
        Wish::Rendition => 1,
    }];
    row.extend(version.to_le_bytes());
    row.extend(begun.to_le_bytes());
    row
}

fn decode(row: &[u8]) -> Option<(Wish, u64, u32)> {
    let (wish, rest) = row.split_first()?;
    let (version, begun) = rest.split_first_chunk::<8>()?;
    let wish = match wish {
        0 => Wish::Asked,
        1 => Wish::Rendition,
        _ => return None,
    };
    let begun = u32::from_le_bytes(begun.try_into().ok()?);
    Some((wish, u64::from_le_bytes(*version), begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        for wish in [Wish::Asked, Wish::Rendition] {
            let row = encode(wish, 7 << 40, 2);
            assert_eq!(decode(&row), Some((wish, 7 << 40, 2)));
        }
        assert_eq!(decode(&[2; 13]), None);
        assert_eq!(decode(&[0; 5]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_comes_first_and_what_failed_comes_later() {
        let directory = tempfile::tempdir().unwrap();
        let owner = crate::index::Owner::of_process();
        let (index, _) = Index::open(directory.path(), owner).unwrap();
        let remakes = Remakes::open(&index).unwrap();
        let [film, asked] = [EntryId::random(), EntryId::random()];
        remakes.ask(film, Wish::Rendition, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        remakes.ask(asked, Wish::Asked, 1);
        assert_eq!(remakes.take(), Some((asked, Wish::Asked, 1)));
        assert_eq!(remakes.begin(asked), 1);
        remakes.put_off(asked, 1, Some("no room".to_owned()));
        assert_eq!(remakes.take(), Some((film, Wish::Rendition, 1)));
        assert_eq!(remakes.take(), None);
        tokio::time::advance(LONGEST_PAUSE).await;
        assert_eq!(remakes.take(), Some((asked, Wish::Asked, 1)));
        assert_eq!(remakes.begin(asked), 2);
        assert!(!remakes.forget(film, |version| version != 1));
        assert!(remakes.forget(film, |version| version == 1));
        // The next run knows what was asked, and how often it was begun.
        let again = Remakes::open(&index).unwrap();
        assert_eq!(again.ids(), [asked]);
        assert_eq!(again.begin(asked), 3);
        assert!(again.is_wanted(asked, 1) && !again.is_wanted(asked, 2));
    }
}
