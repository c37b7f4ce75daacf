//! Errors of calls, and their meaning for the bot, the connection and the next try.

use std::time::Duration;

use super::rpc_error::RpcErrorName;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Transport error with which the service closes a connection that asks too often. It names no time
/// (<https://core.telegram.org/mtproto/mtproto-transports#transport-errors>).
const TRANSPORT_FLOOD: i32 = -429;
/// Time that a connection rests after it.
const TRANSPORT_FLOOD_WAIT: Duration = Duration::from_secs(5);
/// Shortest wait, so that no loop runs without a pause.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait that is believed. The service is asked again after it, in case the number was wrong.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Transport error: the server does not know the authorization key.
const KEY_UNKNOWN: i32 = -404;
/// Codes of `rpc_error` (<https://core.telegram.org/api/errors#error-type>).
const SEE_OTHER: i32 = 303;
const BAD_REQUEST: i32 = 400;
const UNAUTHORIZED: i32 = 401;
const SERVER_FAULT: i32 = 500;

/// Error of one call, of its connection, or of the settings that it was made with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service's answer: an error of the method.
    #[error("{name}{}", value.map(|value| format!(" ({value})")).unwrap_or_default())]
    Rpc {
        /// Class of the error, as in HTTP. It is negative or from 500 on for faults of the service.
        code: i32,
        /// Name without its number.
        name: RpcErrorName,
        /// The number in the name.
        value: Option<u32>,
    },
    /// The bot has to wait. An earlier call of the same task was told so.
    #[error("Telegram asks to wait ({} s)", .0.as_secs())]
    MustWait(Duration),
    /// An error of the connection as a whole.
    #[error("transport error {0}")]
    Transport(i32),
    /// There is no connection, or it ended before the answer came.
    #[error("{0}")]
    Disconnected(String),
    /// The answer did not come in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The settings do not fit the service. The text says what to do.
    #[error("{0}")]
    Misfit(String),
    /// The answer does not have the form that the method promises.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl CallError {
    /// Reads an `rpc_error`: `FLOOD_WAIT_31` is [`RpcErrorName::FloodWait`] with the value 31,
    /// `FILE_PART_3_MISSING` is [`RpcErrorName::FilePartMissing`] with the value 3.
    pub fn rpc(code: i32, message: &str) -> Self {
        let mut value = None;
        let mut words = Vec::new();
        for word in message.split('_') {
            match word.parse::<u32>() {
                Ok(number) if value.is_none() => value = Some(number),
                _ => words.push(word),
            }
        }
        Self::Rpc {
            code,
            name: RpcErrorName::decode(&words.join("_")),
            value,
        }
    }

    /// Makes the error that the service would answer with, for an outcome that is known without asking.
    pub const fn refused(name: RpcErrorName) -> Self {
        Self::Rpc {
            code: BAD_REQUEST,
            name,
            value: None,
        }
    }

    /// Returns whether the service answered with this error.
    pub fn is(&self, wanted: &RpcErrorName) -> bool {
        self.name() == Some(wanted)
    }

    /// Returns the name of the service's error.
    const fn name(&self) -> Option<&RpcErrorName> {
        match self {
            Self::Rpc { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Returns how long the service asks this bot to wait.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Rpc { name, value, .. } if name.asks_to_wait() => {
                let asked = Duration::from_secs(u64::from(value.unwrap_or(1)));
                Some(asked.clamp(LEAST_WAIT, LONGEST_WAIT))
            }
            Self::MustWait(wait) => Some((*wait).max(LEAST_WAIT)),
            Self::Transport(TRANSPORT_FLOOD) => Some(TRANSPORT_FLOOD_WAIT),
            _ => None,
        }
    }

    /// Returns the data centre to ask instead (`FILE_MIGRATE_X`, `USER_MIGRATE_X`).
    pub fn migrate(&self) -> Option<i32> {
        match self {
            Self::Rpc {
                code: SEE_OTHER,
                value: Some(dc),
                ..
            } => i32::try_from(*dc).ok(),
            _ => None,
        }
    }

    /// Returns whether the location is out of date. The message has to be asked for again then.
    pub fn is_stale_reference(&self) -> bool {
        self.name().is_some_and(RpcErrorName::is_stale_reference)
    }

    /// Returns whether the service no longer knows the key, or knows it as nobody's.
    pub fn is_signed_out(&self) -> bool {
        match self {
            Self::Rpc { code, .. } => *code == UNAUTHORIZED,
            Self::Transport(status) => *status == KEY_UNKNOWN,
            _ => false,
        }
    }

    /// Returns whether the key itself is of no use any more.
    pub fn is_key_unknown(&self) -> bool {
        matches!(self, Self::Transport(KEY_UNKNOWN)) || self.is(&RpcErrorName::AuthKeyDuplicated)
    }

    /// Returns whether the same call may succeed soon, because no answer speaks against it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Disconnected(_) | Self::TimedOut(_) | Self::MustWait(_) => true,
            Self::Transport(status) => *status != KEY_UNKNOWN,
            Self::Rpc { code, name, .. } => *code >= SERVER_FAULT || *code < 0 || name.is_passing(),
            Self::Misfit(_) | Self::Unexpected(_) => false,
        }
    }

    /// Returns whether the bot may not do this here. Another bot might be allowed to.
    pub fn is_missing_right(&self) -> bool {
        self.name().is_some_and(RpcErrorName::is_missing_right)
    }

    /// Returns whether the service does not take the address of a channel. It has to be asked for again then.
    pub fn is_refused_address(&self) -> bool {
        self.name().is_some_and(RpcErrorName::is_refused_address)
    }

    /// Returns whether the service says that the fault is its own.
    pub const fn is_service_fault(&self) -> bool {
        matches!(self, Self::Rpc { code, .. } if *code >= SERVER_FAULT || *code < 0)
    }

    /// Returns the error for the layers above. `op` names the task and the bot's number.
    pub fn into_remote(self, op: impl Into<String>) -> RemoteError {
        let retry_after = self.wait();
        let kind = match &self {
            _ if retry_after.is_some() => RemoteErrorKind::RateLimited,
            _ if self.is_signed_out() => RemoteErrorKind::Denied,
            _ if self.is_missing_right() => RemoteErrorKind::Denied,
            // A location that stays stale after it was asked for anew may still be readable for another
            // bot.
            _ if self.is_passing() || self.is_stale_reference() => RemoteErrorKind::Unavailable,
            Self::Rpc { .. } | Self::Misfit(_) => RemoteErrorKind::Invalid,
            _ => RemoteErrorKind::Unavailable,
        };
        // The explanation ends with the service's own word, which a source would only repeat.
        let mut error = RemoteError::new(kind, op, self.explain());
        error.retry_after = retry_after;
        error
    }

    /// Returns what a user can do about the error, or what it means.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Rpc { name, .. } => name.hint(),
            Self::Transport(TRANSPORT_FLOOD) => Some("Telegram asks to slow down"),
            _ => None,
        }
    }

    /// Returns the hint and the service's own word.
    pub fn explain(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{hint} ({self})"),
            None => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_values() {
        let flood = CallError::rpc(420, "FLOOD_WAIT_31");
        assert_eq!(flood.wait(), Some(Duration::from_secs(31)));
        let premium = CallError::rpc(420, "FLOOD_PREMIUM_WAIT_4");
        assert_eq!(premium.wait(), Some(Duration::from_secs(4)));
        let missing = CallError::rpc(400, "FILE_PART_3_MISSING");
        assert!(missing.is(&RpcErrorName::FilePartMissing));
        assert!(matches!(missing, CallError::Rpc { value: Some(3), .. }));
        assert_eq!(CallError::rpc(303, "FILE_MIGRATE_4").migrate(), Some(4));
        assert_eq!(CallError::rpc(400, "FILE_REFERENCE_2_EXPIRED").wait(), None);
        assert!(CallError::rpc(400, "FILE_REFERENCE_2_EXPIRED").is_stale_reference());
    }

    #[test]
    fn kinds_say_whether_waiting_helps() {
        let kind = |error: CallError| error.into_remote("test").kind;
        assert_eq!(
            kind(CallError::rpc(420, "FLOOD_WAIT_3")),
            RemoteErrorKind::RateLimited
        );
        assert_eq!(
            kind(CallError::Transport(-429)),
            RemoteErrorKind::RateLimited
        );
        assert_eq!(
            kind(CallError::rpc(400, "CHANNEL_PRIVATE")),
            RemoteErrorKind::Denied
        );
        assert_eq!(
            kind(CallError::rpc(500, "INTERNAL")),
            RemoteErrorKind::Unavailable
        );
        assert_eq!(
            kind(CallError::rpc(400, "MEDIA_INVALID")),
            RemoteErrorKind::Invalid
        );
        assert_eq!(
            kind(CallError::MustWait(Duration::from_secs(7))),
            RemoteErrorKind::RateLimited
        );
        let lost = CallError::Disconnected("the connection ended".into());
        assert_eq!(kind(lost), RemoteErrorKind::Unavailable);
    }
}
