//! Requests of a start to the remote. They are repeated until they are answered, and reported while they
//! are not.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::attach_error::AttachError;
use crate::index::Index;
use crate::remote::retry::{Deadline, retry};
use crate::remote::{RemoteError, RemoteErrorKind};

/// Time after which a request is reported as a problem. A request for a large snapshot may take longer.
const SLOW: Duration = Duration::from_secs(10);
/// Time after which a request is given up. The largest snapshot over a slow line takes less.
const HOPELESS: Duration = Duration::from_secs(15 * 60);

/// Limit of the wait for a remote that does not answer.
#[derive(Debug, Clone)]
pub enum Patience {
    /// A request that fails for this long has failed.
    Limited(Duration),
    /// No limit, until this says `true` or its sender is gone. The index gets the reason why a request
    /// makes no progress.
    UntilStopped(watch::Receiver<bool>),
}

/// Requests with one patience.
#[derive(Debug)]
pub(super) struct PatientRequests<'a> {
    pub index: &'a Arc<Index>,
    pub patience: Patience,
}

impl PatientRequests<'_> {
    /// Sends a request until it is answered.
    ///
    /// # Errors
    /// An error that a retry does not cure, the last error when patience ends, or `Stopped`.
    pub async fn send<T, F>(&self, call: impl Fn() -> F) -> Result<T, AttachError>
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        let begun = Instant::now();
        let sent = retry(Deadline::None, || async {
            match self.attempt(call()).await {
                Err(error) if error.is_retryable() => {
                    self.report(Some(error.to_string()));
                    match self.patience {
                        Patience::Limited(time) if begun.elapsed() >= time => Ok(Err(error)),
                        _ => Err(error),
                    }
                }
                other => {
                    self.report(None);
                    Ok(other)
                }
            }
        });
        let answer = match &self.patience {
            Patience::Limited(_) => sent.await,
            Patience::UntilStopped(stop) => {
                let mut stop = stop.clone();
                tokio::select! {
                    answer = sent => answer,
                    // An error means that the sender, which could stop it, is gone.
                    _ = stop.wait_for(|stop| *stop) => return Err(AttachError::Stopped),
                }
            }
        };
        Ok(answer??)
    }

    async fn attempt<T>(
        &self,
        call: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let mut call = pin!(call);
        if let Ok(outcome) = tokio::time::timeout(SLOW, &mut call).await {
            return outcome;
        }
        let waits = "it has not answered for a while";
        self.report(Some(waits.to_owned()));
        let late = tokio::time::timeout(HOPELESS, call).await;
        late.unwrap_or_else(|_| {
            Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                "wait for the store",
                waits,
            ))
        })
    }

    fn report(&self, problem: Option<String>) {
        if matches!(self.patience, Patience::UntilStopped(_)) {
            self.index.tell_problem(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Owner;

    async fn unavailable() -> Result<(), RemoteError> {
        Err(RemoteError::new(
            RemoteErrorKind::Unavailable,
            "ask",
            "no answer",
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_its_time_or_with_a_stop() {
        let directory = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(directory.path(), Owner::of_process()).unwrap();
        let index = Arc::new(index);
        let begun = Instant::now();
        let limit = Duration::from_secs(60);
        let limited = PatientRequests {
            index: &index,
            patience: Patience::Limited(limit),
        };
        let error = limited.send(unavailable).await.unwrap_err();
        assert!(matches!(error, AttachError::Remote(_)), "{error}");
        assert!(begun.elapsed() >= limit);

        let (stop, stopped) = watch::channel(false);
        let endless = PatientRequests {
            index: &index,
            patience: Patience::UntilStopped(stopped),
        };
        let waiting = tokio::time::timeout(10 * limit, endless.send(unavailable));
        assert!(waiting.await.is_err(), "it goes on trying");
        stop.send_replace(true);
        let error = endless.send(unavailable).await.unwrap_err();
        assert!(matches!(error, AttachError::Stopped), "{error}");
    }
}
