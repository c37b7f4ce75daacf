//! Telegram as the remote: packs are documents in channels, posted and read by several bots over
//! MTProto.
//!
//! From the wire up: [`connection`] (one socket), [`lane`] and [`lanes`] (as many as help), [`bot`]
//! (sign-in, keys, health).

mod bot;
mod call_error;
mod caption;
mod connection;
mod crew;
mod handshake;
mod lane;
mod lanes;
mod posts;
mod server;
mod sign_in;

use std::fmt;
use std::sync::Arc;

pub use server::{Server, ServerKey};

/// A text that never reaches a log: a token, the hash of the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Arc<str>);

impl Hidden {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `TELEGRAM_API_ID` and `TELEGRAM_API_HASH`, from my.telegram.org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiId {
    pub id: i32,
    pub hash: Hidden,
}

/// A bot's token as @BotFather gives it: its id, a colon, a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Hidden);

impl Token {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Hidden::new(text))
    }
    fn reveal(&self) -> &str {
        self.0.reveal()
    }
    /// The public half.
    fn bot_id(&self) -> i64 {
        let half = self.reveal().split(':').next().unwrap_or_default();
        half.parse().unwrap_or(0)
    }
}

/// One bot, and the channel that it posts to: `-100…`, or `@name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotSettings {
    /// The n of BOT_TOKEN_n.
    pub number: u32,
    pub token: Token,
    pub chat: String,
}

/// How fast posts go to one channel (`TGFS_PACE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Half of what is known to be tolerated.
    Gentle,
    /// 20 posts a minute.
    Normal,
    /// Until the service says stop.
    Fast,
}

/// What becomes of posts that are too old to be deleted (`TGFS_TOMBSTONE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// They stay as they are, and are counted.
    Leave,
    /// Their bytes are replaced by a few, at most one post a minute.
    Write,
}

/// Everything that a [`TelegramRemote`] is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub api: ApiId,
    pub server: Server,
    /// At least one; numbers and tokens are unique.
    pub bots: Vec<BotSettings>,
    pub pace: Pace,
    pub tombstones: Tombstones,
    /// Posts in a channel from which on it takes no more packs.
    pub rollover: u32,
}
