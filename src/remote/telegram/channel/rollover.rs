//! Choice of the channel for a bot's packs. A full channel rolls over to another one, because
//! Telegram hides all but the newest messages of a channel.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::library::LibraryMarks;
use super::scan::ChannelHistory;
use crate::model::{ChannelId, MessageId, TelegramAddress};
use crate::remote::telegram::bots::{Bots, Member};
use crate::remote::{Outlook, RemoteError};
use crate::sync::MutexExt as _;

/// Number of messages that a channel shows: about the last million (docs/OPERATIONS.md).
const VISIBLE_MESSAGES: i32 = 1_000_000;
/// A message is near the edge when fewer than this many are left before it is hidden. At 20 posts a minute
/// these take three and a half days without a pause.
const EDGE_MESSAGES: i32 = 100_000;

/// Channels for packs.
#[derive(Debug)]
pub struct PackChannels {
    bots: Arc<Bots>,
    history: Arc<ChannelHistory>,
    marks: Arc<LibraryMarks>,
    /// Number of messages from which on a channel takes no more packs.
    limit: MessageId,
    /// Full channels already warned about.
    warned: Mutex<BTreeSet<ChannelId>>,
}

impl PackChannels {
    /// Makes the choice among the channels of `bots`.
    pub fn new(
        bots: Arc<Bots>,
        history: Arc<ChannelHistory>,
        marks: Arc<LibraryMarks>,
        rollover: u32,
    ) -> Self {
        Self {
            bots,
            history,
            marks,
            limit: MessageId::new(i32::try_from(rollover).unwrap_or(i32::MAX)),
            warned: Mutex::default(),
        }
    }

    /// Returns the channel that a bot's next pack goes to. It is the bot's own channel until that one is
    /// nearly full. The channel is marked as the library's.
    ///
    /// # Errors
    /// When the bot's channel is not known, or belongs to another library.
    pub async fn choose(&self, member: &Member) -> Result<ChannelId, RemoteError> {
        let op = || format!("look for the channel of bot {}", member.bot.number);
        let own = self.bots.channel_of(member).await;
        let own = own.map_err(|error| error.into_remote(op()))?;
        let chosen = match self.history.newest_or_ask(own).await? >= self.limit {
            true => self.other_than(own, member).await?,
            false => own,
        };
        self.marks.join(chosen).await?;
        Ok(chosen)
    }

    /// Returns the emptiest channel that is not full; `full` itself when there is none.
    async fn other_than(&self, full: ChannelId, member: &Member) -> Result<ChannelId, RemoteError> {
        let others = self.bots.channels().await?;
        let other = others
            .into_iter()
            .filter(|channel| self.newest(*channel) < self.limit)
            .filter(|channel| self.bots.peers().may_enter(&member.bot, *channel))
            .min_by_key(|channel| self.newest(*channel));
        if other.is_none() {
            self.warn_full(full);
        }
        Ok(other.unwrap_or(full))
    }

    fn newest(&self, channel: ChannelId) -> MessageId {
        self.history.newest(channel).unwrap_or(MessageId::ZERO)
    }

    fn warn_full(&self, channel: ChannelId) {
        if self.warned.acquire().insert(channel) {
            tracing::warn!(
                posts = %self.newest(channel),
                "channel {channel} has passed TGFS_ROLLOVER, and Telegram shows about the last {VISIBLE_MESSAGES} posts of a channel: make another one, add all bots to it, and give it to one of them as CHAT_ID_n; keep this one for the others"
            );
        }
    }

    /// Returns whether a message of ours is about to be hidden behind newer ones.
    ///
    /// # Errors
    /// When no bot may post in the channel.
    pub async fn outlook(&self, message: TelegramAddress) -> Result<Outlook, RemoteError> {
        self.history.newest_or_ask(message.channel).await?;
        Ok(self.known_outlook(message))
    }

    /// Returns the same without asking the service, for a channel where we cannot post.
    pub fn known_outlook(&self, message: TelegramAddress) -> Outlook {
        let newest = self.newest(message.channel).get();
        let behind = newest.saturating_sub(message.message.get());
        match behind >= VISIBLE_MESSAGES - EDGE_MESSAGES {
            true => Outlook::Fading,
            false => Outlook::Lasting,
        }
    }
}
