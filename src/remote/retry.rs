//! The retry loop. Decorators and callers use it; no remote retries by itself.

use std::time::Duration;

use tokio::time::Instant;

use super::{RemoteError, RemoteErrorKind};

const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait. The end of an outage is noticed within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Limit of retries.
#[derive(Debug, Clone, Copy)]
pub enum Deadline {
    /// No limit. It is for writes, which a remote that is down delays but never fails.
    None,
    /// Until this time.
    At(Instant),
    /// No retry, because the caller repeats the whole operation.
    Once,
}

impl Deadline {
    /// Returns a deadline that is `duration` from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self::At(Instant::now() + duration)
    }
}

/// Repeats `attempt` while its error is retryable and the deadline allows. Drops an attempt that is
/// under way at the deadline.
///
/// # Errors
/// The last error; [`RemoteErrorKind::Unavailable`] when the first attempt did not even end.
pub async fn retry<T, E, F>(deadline: Deadline, attempt: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsRef<RemoteError> + From<RemoteError>,
{
    retry_telling(deadline, &|_| {}, attempt).await
}

/// Does the same as [`retry`], and calls `tell` with each error before a retry.
///
/// # Errors
/// See [`retry`].
pub async fn retry_telling<T, E, F>(
    deadline: Deadline,
    tell: &(dyn Fn(&RemoteError) + Sync),
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsRef<RemoteError> + From<RemoteError>,
{
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut last = None;
    loop {
        let outcome = match deadline {
            Deadline::None => attempt().await,
            Deadline::Once => return attempt().await,
            Deadline::At(at) => match tokio::time::timeout_at(at, attempt()).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(last.unwrap_or_else(|| timed_out().into())),
            },
        };
        let error = match outcome {
            Err(error) if error.as_ref().is_retryable() => error,
            other => return other,
        };
        let told: &RemoteError = error.as_ref();
        let usual = backoff.pause();
        let pause = told.retry_after.unwrap_or(usual);
        if let Deadline::At(at) = deadline
            && Instant::now() + pause >= at
        {
            return Err(error);
        }
        tracing::debug!(error = %told, ?pause, "trying again");
        tell(told);
        last = Some(error);
        tokio::time::sleep(pause).await;
    }
}

fn timed_out() -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Unavailable,
        "wait for the store",
        "it did not answer in time",
    )
}

/// Pauses between tries, each about twice as long as the one before, up to a longest one.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Makes the pauses of a loop that has not failed yet.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// Returns the next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = jitter(self.next);
        self.next = self.next.saturating_mul(2).min(self.longest);
        pause
    }
}

/// Returns a random time between half of `wait` and all of it. Calls that failed together are then not
/// repeated together.
fn jitter(wait: Duration) -> Duration {
    let half = wait / 2;
    let part = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    half + half.mul_f64(part)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn error(kind: RemoteErrorKind) -> RemoteError {
        RemoteError::new(kind, "test", "x")
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_delays_and_does_not_fail() {
        let count = Cell::new(0);
        let outcome = retry(Deadline::None, || async {
            count.set(count.get() + 1);
            if count.get() < 50 {
                Err(error(RemoteErrorKind::Unavailable))
            } else {
                Ok(7)
            }
        });
        assert_eq!(outcome.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_help_is_not_repeated() {
        let count = Cell::new(0);
        let outcome: Result<(), _> = retry(Deadline::None, || async {
            count.set(count.get() + 1);
            Err(error(RemoteErrorKind::NotFound))
        })
        .await;
        assert_eq!(outcome.unwrap_err().kind, RemoteErrorKind::NotFound);
        assert_eq!(count.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_a_hang_and_an_outage() {
        let deadline = Deadline::after(Duration::from_secs(5));
        let hang = retry(deadline, std::future::pending::<Result<(), RemoteError>>);
        assert_eq!(hang.await.unwrap_err().kind, RemoteErrorKind::Unavailable);
        let deadline = Deadline::after(Duration::from_secs(5));
        let outage = retry(deadline, || async {
            Err::<(), _>(error(RemoteErrorKind::RateLimited))
        });
        assert_eq!(outage.await.unwrap_err().kind, RemoteErrorKind::RateLimited);
    }
}
