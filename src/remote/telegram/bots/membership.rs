//! Problems of bots in their channels: a bot that is not in a channel any more, or may not post there. Each
//! is told once, shown while it lasts, and told again when it is over.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::model::ChannelId;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::sync::MutexExt as _;

/// Problems that hold now, by the number of the bot.
#[derive(Debug, Default)]
pub struct MembershipProblems {
    found: Mutex<BTreeMap<(u32, ChannelId), FoundProblem>>,
}

/// Way to find out about a bot in a channel, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The service was asked about the channel. In a group it does not tell everything that keeps a bot
    /// from posting.
    Asked,
    /// The bot posted, or the service told that it may.
    Posted,
}

#[derive(Debug)]
struct FoundProblem {
    line: String,
    /// What the user is to do about it.
    remedy: Option<&'static str>,
    by: Evidence,
}

impl MembershipProblems {
    /// Notes that the service keeps a bot from working in a channel.
    pub fn begin(&self, bot: u32, channel: ChannelId, by: Evidence, error: &CallError) {
        let line = format!(
            "bot {bot} cannot work in channel {channel}: {}",
            error.explain()
        );
        let remedy = error.hint();
        let mut found = self.found.acquire();
        let known = found.get(&(bot, channel));
        // The service names one problem in several ways, one after the other.
        if known.is_none_or(|known| known.remedy != remedy) {
            tracing::warn!("{line}");
        }
        let by = known.map_or(by, |known| known.by.max(by));
        found.insert((bot, channel), FoundProblem { line, remedy, by });
    }

    /// Notes that a bot works in a channel. A problem that a post met ends when a post succeeds.
    pub fn end(&self, bot: u32, channel: ChannelId, by: Evidence) {
        let mut found = self.found.acquire();
        if found
            .get(&(bot, channel))
            .is_some_and(|known| known.by <= by)
        {
            found.remove(&(bot, channel));
            tracing::info!("bot {bot} works in channel {channel} again");
        }
    }

    /// Returns the channels in which a bot has a problem.
    pub fn channels_of(&self, bot: u32) -> Vec<ChannelId> {
        let found = self.found.acquire();
        let of_bot = found.keys().filter(|(number, _)| *number == bot);
        of_bot.map(|(_, channel)| *channel).collect()
    }

    /// Returns a line for people for each problem.
    pub fn lines(&self) -> Vec<String> {
        let found = self.found.acquire();
        found.values().map(|known| known.line.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_in_a_group_lasts_until_a_post_succeeds() {
        let problems = MembershipProblems::default();
        let group = ChannelId::new(1_000_000_001);
        for name in ["USER_BANNED_IN_CHANNEL", "CHAT_WRITE_FORBIDDEN"] {
            let error = CallError::rpc(400, name);
            problems.begin(2, group, Evidence::Posted, &error);
            // The service still shows the group to the bot, every few seconds.
            problems.end(2, group, Evidence::Asked);
            assert!(problems.lines()[0].contains(name), "{:?}", problems.lines());
            assert!(error.hint().is_some_and(|hint| hint.contains("right")));
        }
        problems.end(2, group, Evidence::Posted);
        assert!(problems.lines().is_empty());
        let outside = CallError::rpc(400, "CHANNEL_PRIVATE");
        problems.begin(2, group, Evidence::Asked, &outside);
        problems.end(2, group, Evidence::Asked);
        assert!(problems.lines().is_empty());
    }
}
