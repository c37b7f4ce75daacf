//! Description of a channel as the service gives it to one bot.

use grammers_tl_types::{enums, types};

use super::messages::ChannelPeer;
use crate::model::ChannelId;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;

/// Rights of a bot in a channel (`chatAdminRights`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Right to post messages.
    pub post: Right,
    /// Right to edit messages.
    pub edit: Right,
    /// Right to delete messages.
    pub delete: Right,
    /// Right to pin messages.
    pub pin: Right,
}

/// State of one right of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// The bot has the right.
    Granted,
    /// The bot does not have the right.
    Missing,
}

impl Right {
    const fn from_flag(flag: bool) -> Self {
        if flag { Self::Granted } else { Self::Missing }
    }
}

/// Channel as the service describes it to one bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    /// The channel as the bot addresses it.
    pub peer: ChannelPeer,
    /// Name for people.
    pub title: String,
    /// `@name` without the sign, which only public channels have.
    pub username: Option<String>,
    /// Channel or group.
    pub kind: ChannelKind,
    /// Wait between the messages of a member.
    pub slow_mode: SlowMode,
    /// Rights of the bot.
    pub rights: Rights,
}

/// Wait between two messages of a member, which only groups can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowMode {
    /// Members need not wait.
    Off,
    /// Members must wait, which delays uploads.
    On,
}

/// Kind of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// Channel in which only administrators post.
    Broadcast,
    /// Group, in which the bots of others can read along.
    Group,
}

impl ChannelInfo {
    /// Finds channel `wanted` in an answer to `channels.getChannels`.
    ///
    /// # Errors
    /// `CHANNEL_PRIVATE` when the bot is not in the channel.
    pub fn from_chats(chats: enums::messages::Chats, wanted: ChannelId) -> Result<Self, CallError> {
        let chats = match chats {
            enums::messages::Chats::Chats(found) => found.chats,
            enums::messages::Chats::Slice(found) => found.chats,
        };
        let channel = chats.into_iter().find_map(|chat| match chat {
            enums::Chat::Channel(channel) if channel.id == wanted.get() => Some(channel),
            _ => None,
        });
        let not_in = || CallError::refused(RpcErrorName::ChannelPrivate);
        let channel = channel.ok_or_else(not_in)?;
        let hash = channel.access_hash.ok_or_else(not_in)?;
        if channel.left {
            return Err(not_in());
        }
        let rights = rights(&channel);
        Ok(Self {
            peer: ChannelPeer {
                channel: wanted,
                hash,
            },
            title: channel.title,
            username: channel.username,
            kind: match channel.broadcast {
                true => ChannelKind::Broadcast,
                false => ChannelKind::Group,
            },
            slow_mode: match channel.slowmode_enabled {
                true => SlowMode::On,
                false => SlowMode::Off,
            },
            rights,
        })
    }
}

/// Returns whether restrictions of a group keep a member from posting documents.
fn is_muted(group: &types::Channel) -> bool {
    let restrictions = [&group.banned_rights, &group.default_banned_rights];
    let mut restrictions = restrictions.into_iter().flatten();
    restrictions.any(|enums::ChatBannedRights::Rights(no)| {
        no.view_messages || no.send_messages || no.send_media || no.send_docs
    })
}

fn rights(channel: &types::Channel) -> Rights {
    let granted = |flag: fn(&types::ChatAdminRights) -> bool| {
        let told = channel
            .admin_rights
            .as_ref()
            .is_some_and(|enums::ChatAdminRights::Rights(rights)| flag(rights));
        Right::from_flag(told || channel.creator)
    };
    Rights {
        // In a group every member posts whom no restriction keeps from it.
        post: match channel.broadcast {
            true => granted(|rights| rights.post_messages),
            false => Right::from_flag(granted(|_| true) == Right::Granted || !is_muted(channel)),
        },
        edit: granted(|rights| rights.edit_messages),
        delete: granted(|rights| rights.delete_messages),
        pin: granted(|rights| rights.pin_messages || rights.edit_messages),
    }
}
