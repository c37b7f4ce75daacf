//! Why a call failed, and what that says about the bot, the connection and the next try.

use std::time::Duration;

use crate::remote::{RemoteError, RemoteErrorKind};

/// The service closes a connection that asks too often with this transport error, and names no
/// time (<https://core.telegram.org/mtproto/mtproto-transports#transport-errors>).
const TRANSPORT_FLOOD: i32 = -429;
/// How long a connection rests after it.
const TRANSPORT_FLOOD_WAIT: Duration = Duration::from_secs(5);
/// The server does not know the authorization key.
const KEY_UNKNOWN: i32 = -404;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service's answer: an error of the method. `name` is without its number.
    #[error("{name}{}", value.map(|value| format!(" ({value})")).unwrap_or_default())]
    Rpc {
        code: i32,
        name: String,
        value: Option<u32>,
    },
    /// An error of the connection as a whole.
    #[error("transport error {0}")]
    Transport(i32),
    /// No connection, or it ended before the answer came.
    #[error("{0}")]
    Disconnected(String),
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// What the settings say does not fit what is there; the text says what to do.
    #[error("{0}")]
    Misfit(String),
    /// The answer is not what the method promises.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl CallError {
    /// From `rpc_error`: `FLOOD_WAIT_31` is `FLOOD_WAIT` with the value 31, `FILE_PART_3_MISSING` is
    /// `FILE_PART_MISSING` with the value 3.
    pub fn rpc(code: i32, message: &str) -> Self {
        let mut value = None;
        let mut words = Vec::new();
        for word in message.split('_') {
            match word.parse::<u32>() {
                Ok(number) if value.is_none() && !word.is_empty() => value = Some(number),
                _ => words.push(word),
            }
        }
        Self::Rpc {
            code,
            name: words.join("_"),
            value,
        }
    }

    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Rpc { name, .. } if name == wanted)
    }
    /// How long the service asks this bot to wait.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Rpc { name, value, .. }
                if matches!(
                    name.as_str(),
                    "FLOOD_WAIT" | "FLOOD_PREMIUM_WAIT" | "SLOWMODE_WAIT" | "FLOOD_TEST_PHONE_WAIT"
                ) =>
            {
                Some(Duration::from_secs(u64::from(value.unwrap_or(1)).max(1)))
            }
            Self::Transport(TRANSPORT_FLOOD) => Some(TRANSPORT_FLOOD_WAIT),
            _ => None,
        }
    }
    /// The data centre to ask instead (`FILE_MIGRATE_X`, `USER_MIGRATE_X`).
    pub fn migrate(&self) -> Option<i32> {
        match self {
            Self::Rpc {
                code: 303,
                value: Some(dc),
                ..
            } => i32::try_from(*dc).ok(),
            _ => None,
        }
    }
    /// The location is out of date: ask for the post again.
    pub fn is_stale_reference(&self) -> bool {
        matches!(self, Self::Rpc { name, .. } if name.starts_with("FILE_REFERENCE")
            || name == "FILE_ID_INVALID" || name == "LOCATION_INVALID")
    }
    /// The key is known to nobody any more, or signed in as nobody.
    pub fn is_signed_out(&self) -> bool {
        match self {
            Self::Rpc { code, .. } => *code == 401,
            Self::Transport(status) => *status == KEY_UNKNOWN,
            _ => false,
        }
    }
    pub fn is_key_unknown(&self) -> bool {
        matches!(self, Self::Transport(KEY_UNKNOWN)) || self.is("AUTH_KEY_DUPLICATED")
    }
    /// The same call may well succeed soon: nothing was said against it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Disconnected(_) | Self::TimedOut(_) => true,
            Self::Transport(status) => *status != KEY_UNKNOWN,
            Self::Rpc { code, name, .. } => {
                *code >= 500 || *code < 0 || name.starts_with("FLOOD") || name == "SLOWMODE_WAIT"
            }
            Self::Misfit(_) | Self::Unexpected(_) => false,
        }
    }
    /// The bot may not do this here: another one might.
    pub fn is_missing_right(&self) -> bool {
        matches!(self, Self::Rpc { name, .. } if matches!(name.as_str(),
            "CHAT_ADMIN_REQUIRED" | "CHAT_WRITE_FORBIDDEN" | "CHANNEL_PRIVATE" | "CHANNEL_INVALID"
            | "CHAT_FORBIDDEN" | "USER_BANNED_IN_CHANNEL" | "MESSAGE_DELETE_FORBIDDEN"
            | "CHAT_SEND_MEDIA_FORBIDDEN" | "CHAT_SEND_DOCS_FORBIDDEN" | "PEER_ID_INVALID"
            | "USER_NOT_PARTICIPANT"))
    }

    /// As the layers above know errors. `op` names what was done and the bot by its number.
    pub fn into_remote(self, op: impl Into<String>) -> RemoteError {
        let retry_after = self.wait();
        let kind = match &self {
            _ if retry_after.is_some() => RemoteErrorKind::RateLimited,
            _ if self.is_signed_out() => RemoteErrorKind::Denied,
            _ if self.is_missing_right() => RemoteErrorKind::Denied,
            // A location that stays stale after it was asked for anew may be another bot's to read.
            _ if self.is_passing() || self.is_stale_reference() => RemoteErrorKind::Unavailable,
            Self::Rpc { .. } | Self::Misfit(_) => RemoteErrorKind::Invalid,
            _ => RemoteErrorKind::Unavailable,
        };
        // The explanation ends with the service's own word: a source would only say it again.
        let mut error = RemoteError::new(kind, op, self.explain());
        error.retry_after = retry_after;
        error
    }

    /// What it means and what to do, where the service's own word does not say it.
    fn explain(&self) -> String {
        let hint = match self {
            Self::Rpc { name, .. } => match name.as_str() {
                "ACCESS_TOKEN_INVALID" | "ACCESS_TOKEN_EXPIRED" => {
                    "Telegram does not know this token: copy it again from @BotFather"
                }
                "API_ID_INVALID" | "API_ID_PUBLISHED_FLOOD" => {
                    "TELEGRAM_API_ID and TELEGRAM_API_HASH do not fit: copy both from my.telegram.org"
                }
                "CHANNEL_PRIVATE"
                | "CHANNEL_INVALID"
                | "PEER_ID_INVALID"
                | "USER_NOT_PARTICIPANT" => {
                    "the bot is not in the channel: add it as an administrator"
                }
                "CHAT_ADMIN_REQUIRED"
                | "CHAT_WRITE_FORBIDDEN"
                | "CHAT_FORBIDDEN"
                | "MESSAGE_DELETE_FORBIDDEN" => {
                    "the bot lacks a right in the channel: make it an administrator that may post, edit and delete messages"
                }
                "USERNAME_NOT_OCCUPIED" | "USERNAME_INVALID" => {
                    "no channel has this name: check CHAT_ID"
                }
                "FLOOD_WAIT" | "FLOOD_PREMIUM_WAIT" | "SLOWMODE_WAIT" => "Telegram asks to wait",
                "AUTH_KEY_DUPLICATED" => {
                    "this sign-in is used from another address at the same time; it is made anew"
                }
                _ => "",
            },
            Self::Transport(TRANSPORT_FLOOD) => "Telegram asks to slow down",
            _ => "",
        };
        if hint.is_empty() {
            self.to_string()
        } else {
            format!("{hint} ({self})")
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
        assert!(missing.is("FILE_PART_MISSING"));
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
        let lost = CallError::Disconnected("the connection ended".into());
        assert_eq!(kind(lost), RemoteErrorKind::Unavailable);
    }
}
