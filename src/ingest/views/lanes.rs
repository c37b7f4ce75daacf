//! Lanes of the views stage. A film that takes long moves out of the lane in which all begin, so that
//! those behind it do not wait for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ingest::jobs::{Jobs, Stage};
use crate::ingest::parts::CommonParts;
use crate::ingest::steps::RunningSteps;
use crate::model::{ErrorKind, FsError, FsResult};

/// Files that may take long, side by side. Mapping is bound by CPU, and there may be only two cores.
const LONG_AT_ONCE: usize = 1;
/// Time that each file has in the first lane.
const LEAST_TURN: Duration = Duration::from_secs(10);
/// Bytes of a film that earn it one more second there. A good disk reads a film at this rate.
const BYTES_A_SECOND: u64 = 100 << 20;
/// Time between two looks whether others wait, or ingest stops.
const LOOK: Duration = Duration::from_millis(200);

/// Lanes of the views stage. The permits of the first one are the worker's.
#[derive(Debug)]
pub struct ViewsLanes {
    jobs: Arc<Jobs>,
    steps: Arc<RunningSteps>,
    long: Arc<Semaphore>,
}

/// Result of a turn in the first lane.
#[derive(Debug)]
pub enum Turn<T> {
    /// The work ended, there or in the second lane.
    Done(T),
    /// The work took long while others waited and the second lane was taken. It is to be dropped, and
    /// begun again in the second lane.
    Over,
}

impl ViewsLanes {
    /// Makes the lanes.
    #[must_use]
    pub fn new(parts: &CommonParts) -> Self {
        Self {
            jobs: Arc::clone(&parts.jobs),
            steps: Arc::clone(&parts.steps),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
        }
    }

    /// Does work on `bytes` bytes in the first lane, whose place is `permit`. Work that takes long goes on
    /// in the second lane if that is free, and may stay otherwise while nobody waits.
    pub async fn first_turn<T>(
        &self,
        bytes: u64,
        permit: OwnedSemaphorePermit,
        mut work: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> Turn<T> {
        if let Ok(done) = tokio::time::timeout(turn_of(bytes), &mut work).await {
            return Turn::Done(done);
        }
        loop {
            if let Ok(place) = Arc::clone(&self.long).try_acquire_owned() {
                drop(permit);
                let done = work.await;
                drop(place);
                return Turn::Done(done);
            }
            if self.jobs.is_any_queued(Stage::Views) {
                return Turn::Over;
            }
            if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
                return Turn::Done(done);
            }
        }
    }

    /// Waits for a place in the second lane.
    ///
    /// # Errors
    /// `Io` when ingest stops meanwhile.
    pub async fn long_place(&self) -> FsResult<OwnedSemaphorePermit> {
        let stopping = || FsError::new(ErrorKind::Io, "ingest is stopping");
        // One wait for all looks, since it keeps the place in the queue.
        let place = Arc::clone(&self.long).acquire_owned();
        tokio::pin!(place);
        loop {
            if self.steps.is_stopping() {
                return Err(stopping());
            }
            if let Ok(place) = tokio::time::timeout(LOOK, &mut place).await {
                return place.map_err(|_| stopping());
            }
        }
    }
}

/// Returns the time that work on `bytes` bytes has in the first lane.
fn turn_of(bytes: u64) -> Duration {
    LEAST_TURN + Duration::from_secs(bytes / BYTES_A_SECOND)
}
