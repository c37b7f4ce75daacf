//! The result of a step that a film can refuse without an error.

/// Result of a step that a film can refuse. A refusal says something about the film and is final;
/// an error ([`super::error::MediaError`]) says that it could not be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Attempt<T, R> {
    /// The step succeeded.
    Made(T),
    /// The film does not allow it, for this reason.
    Refused(R),
}

impl<T, R> Attempt<T, R> {
    /// Converts what was made.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Attempt<U, R> {
        match self {
            Self::Made(made) => Attempt::Made(convert(made)),
            Self::Refused(reason) => Attempt::Refused(reason),
        }
    }

    /// Returns what was made, and drops the reason otherwise.
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
