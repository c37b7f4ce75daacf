//! The result of a step that a film can refuse without an error.

/// Result of a step that a film can refuse. A refusal says something about the film and is final. An
/// error ([`super::error::MediaError`]) means that the result could not be determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Attempt<T, R> {
    /// The step succeeded.
    Made(T),
    /// The film does not allow it, for this reason.
    Refused(R),
}

impl<T, R> Attempt<T, R> {
    /// Converts the result of success.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Attempt<U, R> {
        match self {
            Self::Made(made) => Attempt::Made(convert(made)),
            Self::Refused(reason) => Attempt::Refused(reason),
        }
    }

    /// Returns the result of success, and drops the reason of a refusal.
    #[must_use]
    pub fn made(self) -> Option<T> {
        match self {
            Self::Made(made) => Some(made),
            Self::Refused(_) => None,
        }
    }
}

impl<T, R> From<Result<T, R>> for Attempt<T, R> {
    fn from(result: Result<T, R>) -> Self {
        match result {
            Ok(made) => Self::Made(made),
            Err(reason) => Self::Refused(reason),
        }
    }
}
