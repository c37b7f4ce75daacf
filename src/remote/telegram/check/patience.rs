//! Retries of a check, and the waits that the service asks for meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::remote::retry::{Deadline, retry_telling};
use crate::remote::telegram::bots::{Bots, Member};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Wait that the service asked a bot for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedWait {
    /// Number of the bot.
    pub bot: u32,
    /// Step that the bot was at.
    pub step: String,
    /// Its length.
    pub wait: Duration,
}

/// All bots, with retries and a list of the waits.
#[derive(Debug)]
pub struct PatientBots {
    bots: Arc<Bots>,
    waits: Mutex<Vec<RequestedWait>>,
}

impl PatientBots {
    /// Makes the retries of these bots, none of which was told to wait yet.
    pub fn new(bots: Arc<Bots>) -> Self {
        Self {
            bots,
            waits: Mutex::default(),
        }
    }

    /// Returns the bots themselves.
    pub fn bots(&self) -> &Bots {
        &self.bots
    }

    /// Returns all waits so far.
    pub fn waits(&self) -> Vec<RequestedWait> {
        self.waits.acquire().clone()
    }

    /// Repeats an attempt while its error may pass, and notes each wait.
    ///
    /// # Errors
    /// The last error, with the reason of the first one when the service cannot be reached.
    pub async fn patiently<T, F>(
        &self,
        member: &Member,
        step: &str,
        patience: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        // Later errors may only say that the next try waits.
        let first = Mutex::new(None);
        let tell = |error: &RemoteError| {
            self.note(member, step, error);
            let mut first = first.acquire();
            first.get_or_insert_with(|| error.message.clone());
        };
        let attempt = || {
            let trying = attempt();
            async { trying.await.map_err(|error| error.into_remote(step)) }
        };
        let outcome = retry_telling(Deadline::after(patience), &tell, attempt).await;
        outcome.map_err(|mut error| {
            self.note(member, step, &error);
            let first = first.acquire().take();
            if let Some(first) = first.filter(|_| error.kind == RemoteErrorKind::Unavailable) {
                error.message = first;
            }
            error
        })
    }

    /// Notes the wait that an error asks for.
    pub fn note(&self, member: &Member, step: &str, error: &RemoteError) {
        if let Some(wait) = error.retry_after {
            self.waits.acquire().push(RequestedWait {
                bot: member.bot.number,
                step: step.to_owned(),
                wait,
            });
        }
    }
}
