//! Steps of ingest that run at the moment, and the flag that no new step may start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Time between two checks of a stop that the last step has ended.
const POLL: Duration = Duration::from_millis(20);

/// Count of the running steps, and the flag that no new one may begin.
#[derive(Debug, Default)]
pub struct RunningSteps {
    stopping: AtomicBool,
    running: AtomicUsize,
}

/// Running step, which is counted until this is dropped.
#[derive(Debug)]
pub struct RunningStep(Arc<RunningSteps>);

impl RunningSteps {
    /// Counts one more running step.
    pub fn begin(self: &Arc<Self>) -> RunningStep {
        self.running.fetch_add(1, Ordering::Relaxed);
        RunningStep(Arc::clone(self))
    }

    /// Forbids new steps.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns true if no new step may begin.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits until no step runs.
    pub async fn ended(&self) {
        while self.running.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for RunningStep {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_the_steps_that_run() {
        let steps = Arc::new(RunningSteps::default());
        let (first, second) = (steps.begin(), steps.begin());
        steps.stop();
        assert!(steps.is_stopping());
        drop(first);
        let waiting = tokio::time::timeout(Duration::from_secs(1), steps.ended());
        assert!(waiting.await.is_err(), "one step still runs");
        drop(second);
        steps.ended().await;
    }
}
