//! Settings that the remote is made from.

use std::fmt;
use std::sync::Arc;

use super::server::TelegramServer;
use crate::model::{BotId, RateLimit, TombstonePolicy};

/// Text that never reaches a log, such as a token or the hash of the application.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(Arc<str>);

impl HiddenText {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one call that needs it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Application at my.telegram.org: `TELEGRAM_API_ID` and `TELEGRAM_API_HASH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiId {
    /// Its public number.
    pub id: i32,
    /// Its secret.
    pub hash: HiddenText,
}

/// Token of a bot as @BotFather gives it: the bot's id, a colon, a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotToken(HiddenText);

impl BotToken {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(HiddenText::new(text))
    }

    /// Returns the whole token, for the sign-in.
    pub(super) fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Returns the public half; 0 when the token does not begin with a number.
    pub(super) fn bot_id(&self) -> BotId {
        let half = self.reveal().split(':').next().unwrap_or_default();
        BotId::new(half.parse().unwrap_or(0))
    }
}

/// One bot and its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotSettings {
    /// The n of `BOT_TOKEN_n`.
    pub number: u32,
    /// Its token.
    pub token: BotToken,
    /// Channel that it posts to: `-100…` or `@name`.
    pub chat: String,
}

/// Effect of a public channel on the content that is stored in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publicity {
    /// Everybody can read the bytes.
    Matters,
    /// The bytes are encrypted.
    Harmless,
}

/// Everything that a [`super::TelegramRemote`] is made from.
#[derive(Debug, Clone)]
pub struct TelegramRemoteSettings {
    /// Application that the bots sign in with.
    pub api: ApiId,
    /// Server that they talk to.
    pub server: TelegramServer,
    /// At least one bot. Numbers and tokens are unique.
    pub bots: Vec<BotSettings>,
    /// Limit on posts to one channel.
    pub rate_limit: RateLimit,
    /// Handling of posts that are too old to be deleted.
    pub tombstones: TombstonePolicy,
    /// Number of posts from which on a channel takes no more packs.
    pub rollover: u32,
    /// Effect of a public channel on its content.
    pub publicity: Publicity,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_its_id_and_never_its_secret() {
        let token = BotToken::new("123456:secret");
        assert_eq!(token.bot_id(), BotId::new(123_456));
        assert!(!format!("{token:?}").contains("secret"));
        assert_eq!(BotToken::new("no token").bot_id(), BotId::new(0));
    }
}
