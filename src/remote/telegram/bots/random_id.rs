//! Random ids of calls and files.

use crate::remote::{RemoteError, RemoteErrorKind};

/// Returns a random id, which makes it harmless to repeat a call.
///
/// # Errors
/// [`RemoteErrorKind::Unavailable`] when the system has no random numbers.
pub fn random_id() -> Result<i64, RemoteError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        RemoteError::new(
            RemoteErrorKind::Unavailable,
            "make a random number",
            error.to_string(),
        )
    })?;
    Ok(i64::from_le_bytes(bytes))
}
