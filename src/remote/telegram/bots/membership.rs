//! Problems of bots in their channels: a bot that is not in a channel any more, or may not post there. Each
//! is told once, shown while it lasts, and told again when it is over.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::bot::BotClient;
use crate::model::ChannelId;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::sync::MutexExt as _;

/// Problems that hold now, by the number of the bot.
#[derive(Debug, Default)]
pub struct MembershipProblems {
    lines: Mutex<BTreeMap<(u32, ChannelId), String>>,
}

impl MembershipProblems {
    /// Notes that the service keeps a bot from working in a channel.
    pub fn begin(&self, bot: &BotClient, channel: ChannelId, error: &CallError) {
        let line = format!(
            "bot {} cannot work in channel {channel}: {}",
            bot.number,
            error.explain()
        );
        let mut lines = self.lines.acquire();
        if lines.insert((bot.number, channel), line.clone()).as_ref() != Some(&line) {
            tracing::warn!("{line}");
        }
    }

    /// Notes that a bot works in a channel.
    pub fn end(&self, bot: &BotClient, channel: ChannelId) {
        if self
            .lines
            .acquire()
            .remove(&(bot.number, channel))
            .is_some()
        {
            tracing::info!("bot {} works in channel {channel} again", bot.number);
        }
    }

    /// Returns the channels in which a bot has a problem.
    pub fn channels_of(&self, bot: &BotClient) -> Vec<ChannelId> {
        let lines = self.lines.acquire();
        let of_bot = lines.keys().filter(|(number, _)| *number == bot.number);
        of_bot.map(|(_, channel)| *channel).collect()
    }

    /// Returns a line for people for each problem.
    pub fn lines(&self) -> Vec<String> {
        self.lines.acquire().values().cloned().collect()
    }
}
