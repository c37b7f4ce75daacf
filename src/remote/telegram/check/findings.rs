//! Findings of a check.

use super::patience::RequestedWait;
use super::round_trip::RoundTrip;
use crate::model::{ChannelId, LibraryId};
use crate::remote::RemoteError;
use crate::remote::telegram::bots::channel_info::ChannelInfo;

/// Findings on all bots and channels.
#[derive(Debug)]
pub struct BotFindings {
    /// One for each bot.
    pub bots: Vec<BotFinding>,
    /// One for each channel, in the order of the bots that post to them.
    pub channels: Vec<ChannelFinding>,
    /// Waits that the service asked for meanwhile.
    pub waits: Vec<RequestedWait>,
}

/// Findings on one bot.
#[derive(Debug)]
pub struct BotFinding {
    /// The n of `BOT_TOKEN_n`.
    pub number: u32,
    /// `@name`, without the sign.
    pub username: Option<String>,
    /// Data centre where it is at home.
    pub home: Result<i32, RemoteError>,
    /// `CHAT_ID_n` as written.
    pub chat: String,
    /// Channel that it posts to.
    pub own: Result<ChannelId, RemoteError>,
    /// One for each of [`BotFindings::channels`]; empty when the bot could not sign in.
    pub access: Vec<ChannelAccess>,
    /// Other channels that it was added to, as far as the service still reports them.
    pub new_channels: Vec<ChannelInfo>,
}

impl BotFinding {
    /// Returns the findings on this bot in one channel.
    pub fn access_to(&self, channel: ChannelId) -> Option<&ChannelAccess> {
        self.access.iter().find(|access| access.channel == channel)
    }

    /// Returns the channel as this bot sees it, if it is in there.
    pub fn info_of(&self, channel: ChannelId) -> Option<&ChannelInfo> {
        self.access_to(channel)?.info.as_ref().ok()
    }
}

/// Findings on one bot in one channel.
#[derive(Debug)]
pub struct ChannelAccess {
    /// The channel.
    pub channel: ChannelId,
    /// The channel as the bot sees it.
    pub info: Result<ChannelInfo, RemoteError>,
    /// Test document; only in the bot's own channel.
    pub round_trip: Option<RoundTrip>,
}

/// Findings on one channel.
#[derive(Debug)]
pub struct ChannelFinding {
    /// The channel.
    pub channel: ChannelId,
    /// The channel as the first bot in it sees it.
    pub info: Option<ChannelInfo>,
    /// Library that the pinned message names.
    pub library: Option<LibraryId>,
    /// Numbers of the bots in it.
    pub members: Vec<u32>,
}
