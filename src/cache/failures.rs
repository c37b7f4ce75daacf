//! Blocks whose last fetch failed. The error itself is not kept: a later request asks the remote
//! again, after a pause.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::block_key::BlockKey;
use crate::sync::MutexExt as _;

/// Pause before a block is requested again after its first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time after the end of a pause when a failure is forgotten.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Most blocks that are remembered. When more fail, the remote as a whole is down.
const MAX_FAILURES: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct FetchFailure {
    in_a_row: u32,
    until: Instant,
}

/// The blocks whose last fetch failed.
#[derive(Debug, Default)]
pub struct FetchFailures(Mutex<HashMap<BlockKey, FetchFailure>>);

impl FetchFailures {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BlockKey, FetchFailure>> {
        self.0.acquire()
    }

    /// Returns when a block may be requested again; `None` for now.
    pub fn pause_of(&self, key: BlockKey) -> Option<Instant> {
        let until = self.lock().get(&key)?.until;
        (until > Instant::now()).then_some(until)
    }

    /// Records a failed fetch. `asked` is the wait that the remote asked for.
    pub fn failed(&self, key: BlockKey, asked: Option<Duration>) {
        let now = Instant::now();
        let mut failures = self.lock();
        if failures.len() >= MAX_FAILURES {
            failures.retain(|_, failure| failure.until + KEPT_FOR > now);
        }
        if failures.len() >= MAX_FAILURES && !failures.contains_key(&key) {
            return;
        }
        let failure = failures.entry(key).or_insert(FetchFailure {
            in_a_row: 0,
            until: now,
        });
        if failure.until + KEPT_FOR <= now {
            failure.in_a_row = 0;
        }
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(failure.in_a_row.min(8));
        failure.in_a_row += 1;
        failure.until = now + pause.min(LONGEST_PAUSE).max(asked.unwrap_or_default());
    }

    /// Forgets the failures of a block.
    pub fn succeeded(&self, key: BlockKey) {
        self.lock().remove(&key);
    }
}
