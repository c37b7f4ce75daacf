//! Errors that a call is answered with: `rpc_error`, core.telegram.org/api/errors.

use grammers_tl_types::{Serializable, enums, types};

/// A code and a message in Telegram's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: i32,
    message: String,
}

impl Refusal {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// 400: the request is wrong.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 401: the key is not signed in.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(401, message)
    }

    /// 403: the right is missing.
    pub(crate) fn forbidden(message: &str) -> Self {
        Self::new(403, message)
    }

    /// 303: another data center has it.
    pub(crate) fn elsewhere(what: &str, dc: i32) -> Self {
        Self::new(303, format!("{what}_MIGRATE_{dc}"))
    }

    /// 420: again after so many seconds.
    pub(crate) fn wait(what: &str, seconds: u64) -> Self {
        Self::new(420, format!("{what}_{seconds}"))
    }

    /// 500: the server failed.
    pub(crate) fn internal() -> Self {
        Self::new(500, "INTERNAL_SERVER_ERROR")
    }

    /// -503: the server took too long.
    pub(crate) fn timeout() -> Self {
        Self::new(-503, "Timeout")
    }

    pub(crate) fn part_missing(number: i32) -> Self {
        Self::bad(format!("FILE_PART_{number}_MISSING"))
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        enums::RpcError::Error(types::RpcError {
            error_code: self.code,
            error_message: self.message.clone(),
        })
        .to_bytes()
    }
}
