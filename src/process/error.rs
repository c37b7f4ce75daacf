//! Reasons why a child process did not run to its end.

use std::time::Duration;

/// Reason why a job did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{0} is not installed, or not in PATH")]
    ProgramMissing(String),
    #[error("{program} could not be started: {error}")]
    Start {
        program: String,
        error: std::io::Error,
    },
    #[error("{0} could not be opened: {1}")]
    Input(String, std::io::Error),
    #[error("{program} gave no output for {} seconds and was stopped", after.as_secs())]
    Stalled { program: String, after: Duration },
    #[error("{program} ran for longer than {} seconds and was stopped", after.as_secs())]
    TooSlow { program: String, after: Duration },
    #[error("{0} wrote more than expected and was stopped")]
    TooMuchOutput(String),
    #[error("{0} was stopped on request")]
    Cancelled(String),
    #[error("{program}: {error}")]
    Io {
        program: String,
        error: std::io::Error,
    },
}

impl ProcessError {
    /// Returns whether the same job can succeed later, with nothing changed about its input.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::ProgramMissing(_)
            | Self::Start { .. }
            | Self::Input(..)
            | Self::Stalled { .. }
            | Self::TooSlow { .. }
            | Self::Cancelled(_)
            | Self::Io { .. } => true,
            Self::TooMuchOutput(_) => false,
        }
    }
}
