//! Turns of those who list files. A list is in memory until its client has taken it, so there are few at a
//! time. One whose client takes nothing ends when others wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::targets::Stop;

/// Most lists at a time. One of 100,000 files takes some 60 MB.
const LISTS: usize = 2;
/// Time in which a client takes a row, if others wait.
const PATIENCE: Duration = Duration::from_millis(400);

/// Turns of those who list files.
#[derive(Debug)]
pub(super) struct ListTurns {
    turns: Semaphore,
    /// Number of those who wait for a turn.
    waiting: AtomicUsize,
}

impl Default for ListTurns {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(LISTS),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// Guard of one who waits.
struct WaitingOne<'a>(&'a AtomicUsize);

impl Drop for WaitingOne<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ListTurns {
    /// Waits for a turn, which ends when it is dropped.
    ///
    /// # Errors
    /// When the daemon ends.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, Stop> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = WaitingOne(&self.waiting);
        self.turns.acquire().await.map_err(|_| Stop::Gone)
    }

    /// Sends a row of a list.
    ///
    /// # Errors
    /// When the client does not take it and others wait, or as `telling` says.
    pub(super) async fn send(
        &self,
        telling: impl Future<Output = Result<(), Stop>>,
    ) -> Result<(), Stop> {
        tokio::pin!(telling);
        loop {
            match tokio::time::timeout(PATIENCE, &mut telling).await {
                Ok(told) => return told,
                Err(_) if self.waiting.load(Ordering::Relaxed) > 0 => {
                    return Err(Stop::Failed(
                        "the list was not taken while others waited; ask again".to_owned(),
                    ));
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_that_nobody_takes_gives_way_to_others() {
        let turns = ListTurns::default();
        let stuck = async || {
            let _turn = turns.take().await;
            turns.send(std::future::pending()).await
        };
        let next = async {
            tokio::task::yield_now().await;
            turns.take().await.map(drop)
        };
        let both = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::join!(stuck(), stuck(), next)
        });
        let (first, second, next) = both.await.unwrap();
        assert!(next.is_ok() && (first.is_err() || second.is_err()));
    }
}
