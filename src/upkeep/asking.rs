//! Requests of a start to the remote: tried until they are answered, and told of when they are not.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::fill::AttachError;
use crate::index::Index;
use crate::remote::retry::{Deadline, retry};
use crate::remote::{RemoteError, RemoteErrorKind};

/// A request that takes longer is told of as a problem; a large snapshot may.
const SLOW: Duration = Duration::from_secs(10);
/// A request that was not answered for so long never will be: the largest snapshot over a slow line
/// takes less.
const HOPELESS: Duration = Duration::from_secs(15 * 60);

/// How long a remote that does not answer is waited for.
#[derive(Debug, Clone)]
pub enum Patience {
    /// A request that fails for so long has failed.
    Limited(Duration),
    /// As long as it takes, until this says `true` or its sender is gone. The index is told why it
    /// does not get on.
    UntilStopped(watch::Receiver<bool>),
}

#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub index: &'a Arc<Index>,
    pub patience: Patience,
}

impl Asking<'_> {
    /// # Errors
    /// What trying again does not help against, or that it was stopped.
    pub async fn ask<T, F>(&self, call: impl Fn() -> F) -> Result<T, AttachError>
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        let begun = Instant::now();
        let asked = retry(Deadline::None, || async {
            match self.attempt(call()).await {
                Err(error) if error.is_retryable() => {
                    self.tell(Some(error.to_string()));
                    match self.patience {
                        Patience::Limited(time) if begun.elapsed() >= time => Ok(Err(error)),
                        _ => Err(error),
                    }
                }
                other => {
                    self.tell(None);
                    Ok(other)
                }
            }
        });
        let answer = match &self.patience {
            Patience::Limited(_) => asked.await,
            Patience::UntilStopped(stop) => {
                let mut stop = stop.clone();
                tokio::select! {
                    answer = asked => answer,
                    // An error says that whoever could stop it has gone.
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
        self.tell(Some(waits.to_owned()));
        let late = tokio::time::timeout(HOPELESS, call).await;
        late.unwrap_or_else(|_| {
            Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                "wait for the store",
                waits,
            ))
        })
    }

    fn tell(&self, problem: Option<String>) {
        if matches!(self.patience, Patience::UntilStopped(_)) {
            self.index.tell_problem(problem);
        }
    }
}
