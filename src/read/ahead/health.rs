//! Pauses after failed fetches. A remote that is down is not asked ahead of its readers.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::MutexExt as _;

/// Pause after the first failed fetch; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two attempts, in which a remote that is back is noticed soon enough.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Health of the remote, which tells if asking ahead is worthwhile.
#[derive(Debug, Default)]
pub struct RemoteHealth(Mutex<FailureRun>);

#[derive(Debug, Default)]
struct FailureRun {
    failures: u32,
    until: Option<Instant>,
}

impl RemoteHealth {
    /// Tells whether a pause is under way.
    pub fn is_pausing(&self) -> bool {
        let until = self.0.acquire().until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Records a fetch that succeeded. The next pause is the shortest again.
    pub fn succeeded(&self) {
        *self.0.acquire() = FailureRun::default();
    }

    /// Records a fetch that failed. Fetches that were under way together fail together and count once.
    pub fn failed(&self) {
        let mut run = self.0.acquire();
        let now = Instant::now();
        if run.until.is_none_or(|until| until <= now) {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(run.failures.min(8));
            run.failures += 1;
            run.until = Some(now + pause.min(LONGEST_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_fetches_that_fail_together_count_once() {
        let health = RemoteHealth::default();
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            health.failed();
            health.failed();
            tokio::time::advance(Duration::from_millis(pause * 1000 - 1)).await;
            assert!(health.is_pausing(), "{pause} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(!health.is_pausing(), "{pause} s");
        }
        health.failed();
        health.succeeded();
        assert!(!health.is_pausing());
    }
}
