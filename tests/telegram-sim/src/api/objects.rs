//! Objects that answers are made of. Those with dozens of optional fields are written as bytes: the
//! few fields that are there, in the order of the schema, behind flags that name them.

use std::net::SocketAddr;

use anyhow::Context;
use grammers_tl_types::{Deserializable, Identifiable, Serializable, enums, types};

use super::Caller;
use crate::options::{Bot, Visibility};
use crate::refusal::Refusal;
use crate::world::World;
use crate::world::access;
use crate::world::channel::{ChannelState, Post, PostKind, Right};
use crate::world::event::Author;

/// User ids of bots begin above it.
const FIRST_BOT_ID: i64 = 100_000_000;

pub(crate) fn bot_user_id(bot: Bot) -> i64 {
    FIRST_BOT_ID + i64::from(bot.0)
}

/// The other way round.
pub(super) fn bot_of_user(id: i64) -> Option<Bot> {
    u32::try_from(id.checked_sub(FIRST_BOT_ID)?).ok().map(Bot)
}

/// An object that is being written.
struct Wire(Vec<u8>);

impl Wire {
    fn new(constructor: u32) -> Self {
        Self(constructor.to_bytes())
    }

    fn put(mut self, value: &impl Serializable) -> Self {
        value.serialize(&mut self.0);
        self
    }

    fn put_if(self, value: Option<&impl Serializable>) -> Self {
        match value {
            Some(value) => self.put(value),
            None => self,
        }
    }

    fn build<T: Deserializable>(self) -> Result<T, Refusal> {
        Ok(T::from_bytes(&self.0).context("an object of ours does not fit the schema")?)
    }
}

/// A set of flags, each by its bit in the schema.
fn flags(bits: &[(u32, bool)]) -> u32 {
    bits.iter()
        .filter(|(_, is_set)| *is_set)
        .fold(0, |flags, (bit, _)| flags | 1 << bit)
}

/// `user`: the bot as `viewer` sees it.
pub(super) fn user(bot: Bot, viewer: Bot) -> Result<enums::User, Refusal> {
    let id = bot_user_id(bot);
    let set = flags(&[
        (0, true),
        (1, true),
        (3, true),
        (10, bot == viewer),
        (14, true),
    ]);
    Wire::new(types::User::CONSTRUCTOR_ID)
        .put(&set)
        .put(&0_u32)
        .put(&id)
        .put(&access::user_hash(viewer, id))
        .put(&format!("Simulated {}", bot.0))
        .put(&format!("simulated_{}_bot", bot.0))
        .put(&1_i32)
        .build()
}

fn admin_rights(channel: &ChannelState, bot: Bot) -> enums::ChatAdminRights {
    let has = |right| channel.has(bot, right);
    types::ChatAdminRights {
        change_info: false,
        post_messages: has(Right::Post),
        edit_messages: has(Right::Edit),
        delete_messages: has(Right::Delete),
        ban_users: false,
        invite_users: false,
        pin_messages: has(Right::Pin),
        add_admins: false,
        anonymous: false,
        manage_call: false,
        other: channel.members.contains_key(&bot),
        manage_topics: false,
        post_stories: false,
        edit_stories: false,
        delete_stories: false,
        manage_direct_messages: false,
        manage_ranks: false,
        manage_linked_peers: false,
        manage_welcome_messages: false,
    }
    .into()
}

/// `channel`: as `viewer` sees it.
pub(super) fn channel(
    caller: Caller<'_>,
    channel: &ChannelState,
    viewer: Bot,
) -> Result<enums::Chat, Refusal> {
    let number = channel.number;
    let member = channel.members.get(&viewer);
    let username = (caller.shared.options.visibility == Visibility::Public)
        .then(|| ChannelState::username_of(number));
    let rights = member.map(|_| admin_rights(channel, viewer));
    let set = flags(&[
        (2, member.is_none()),
        (5, true),
        (6, username.is_some()),
        (13, true),
        (14, rights.is_some()),
    ]);
    Wire::new(types::Channel::CONSTRUCTOR_ID)
        .put(&set)
        .put(&0_u32)
        .put(&ChannelState::id_of(number))
        .put(&access::channel_hash(viewer, number))
        .put(&format!("Simulated channel {}", number.0))
        .put_if(username.as_ref())
        .put(&enums::ChatPhoto::Empty)
        .put(&member.map_or(0, |member| member.since))
        .put_if(rights.as_ref())
        .build()
}

/// `channelFull`
pub(super) fn channel_full(channel: &ChannelState) -> Result<enums::ChatFull, Refusal> {
    let pinned = channel.pinned();
    let silent = types::PeerNotifySettings::CONSTRUCTOR_ID;
    Wire::new(types::ChannelFull::CONSTRUCTOR_ID)
        .put(&flags(&[(5, pinned.is_some())]))
        .put(&0_u32)
        .put(&ChannelState::id_of(channel.number))
        .put(&String::new())
        .put(&0_i32)
        .put(&0_i32)
        .put(&0_i32)
        .put(&enums::Photo::Empty(types::PhotoEmpty { id: 0 }))
        .put(&silent)
        .put(&0_u32)
        .put(&Vec::<enums::BotInfo>::new())
        .put_if(pinned.as_ref())
        .put(&channel.pts)
        .build()
}

/// `channelParticipantAdmin`
pub(super) fn participant(
    channel: &ChannelState,
    bot: Bot,
    viewer: Bot,
) -> Option<enums::ChannelParticipant> {
    let member = channel.members.get(&bot)?;
    Some(
        types::ChannelParticipantAdmin {
            can_edit: false,
            is_self: bot == viewer,
            user_id: bot_user_id(bot),
            inviter_id: (bot == viewer).then_some(1),
            promoted_by: 1,
            date: member.since,
            admin_rights: admin_rights(channel, bot),
            rank: None,
        }
        .into(),
    )
}

pub(super) fn peer(channel: &ChannelState) -> enums::Peer {
    types::PeerChannel {
        channel_id: ChannelState::id_of(channel.number),
    }
    .into()
}

/// `message` or `messageService`: the post as `viewer` sees it.
pub(super) fn message(
    world: &World,
    channel: &ChannelState,
    post: &Post,
    viewer: Bot,
) -> Result<enums::Message, Refusal> {
    let is_out = post.author == Author::Bot(viewer);
    let action = match post.kind {
        PostKind::Message => return text_message(world, channel, post, viewer),
        PostKind::ChannelCreated => types::MessageActionChannelCreate {
            title: format!("Simulated channel {}", channel.number.0),
        }
        .into(),
        PostKind::PinNotice { .. } => enums::MessageAction::PinMessage,
    };
    let reply = match post.kind {
        PostKind::PinNotice { pinned } => Some(reply_to(pinned)?),
        _ => None,
    };
    Wire::new(types::MessageService::CONSTRUCTOR_ID)
        .put(&flags(&[(1, is_out), (3, reply.is_some()), (14, true)]))
        .put(&post.id)
        .put(&peer(channel))
        .put_if(reply.as_ref())
        .put(&post.date)
        .put(&action)
        .build()
}

fn reply_to(id: i32) -> Result<enums::MessageReplyHeader, Refusal> {
    Wire::new(types::MessageReplyHeader::CONSTRUCTOR_ID)
        .put(&flags(&[(4, true)]))
        .put(&id)
        .build()
}

fn text_message(
    world: &World,
    channel: &ChannelState,
    post: &Post,
    viewer: Bot,
) -> Result<enums::Message, Refusal> {
    let media = post
        .document
        .map(|id| media(world, id, viewer))
        .transpose()?;
    let set = flags(&[
        (1, post.author == Author::Bot(viewer)),
        (9, media.is_some()),
        (14, true),
        (15, post.edited.is_some()),
        (24, channel.pins.contains(&post.id)),
    ]);
    Wire::new(types::Message::CONSTRUCTOR_ID)
        .put(&set)
        .put(&0_u32)
        .put(&post.id)
        .put(&peer(channel))
        .put(&post.date)
        .put(&post.text)
        .put_if(media.as_ref())
        .put_if(post.edited.as_ref())
        .build()
}

fn media(world: &World, id: i64, viewer: Bot) -> Result<enums::MessageMedia, Refusal> {
    let document = world.document(id).context("a post without its document")?;
    let attributes = Vec::<enums::DocumentAttribute>::from_bytes(&document.record.attributes)
        .context("attributes that do not fit the schema")?;
    let document = types::Document {
        id,
        access_hash: access::document_hash(viewer, id),
        file_reference: access::reference(viewer, id, world.reference_generation(viewer, id)),
        date: 0,
        mime_type: document.record.mime_type.clone(),
        size: i64::try_from(document.content.size()).context("a document above 8 EiB")?,
        thumbs: None,
        video_thumbs: None,
        dc_id: document.record.dc,
        attributes,
    };
    Ok(types::MessageMediaDocument {
        nopremium: false,
        spoiler: false,
        video: false,
        round: false,
        voice: false,
        document: Some(document.into()),
        alt_documents: None,
        video_cover: None,
        video_timestamp: None,
        ttl_seconds: None,
    }
    .into())
}

fn data_center(id: i32, address: SocketAddr) -> enums::DcOption {
    types::DcOption {
        ipv6: address.is_ipv6(),
        media_only: false,
        tcpo_only: false,
        cdn: false,
        r#static: true,
        this_port_only: false,
        id,
        ip_address: address.ip().to_string(),
        port: i32::from(address.port()),
        secret: None,
    }
    .into()
}

/// `config`: the data centers, and limits that nobody asks for.
pub(super) fn config(caller: Caller<'_>) -> Vec<u8> {
    /// Integers between `dc_txt_domain_name` and `me_url_prefix`: sizes, periods, time-outs.
    const LIMITS: usize = 21;
    /// `caption_length_max`, `message_length_max`, `webfile_dc_id`
    const LENGTHS: [i32; 3] = [1024, 4096, 4];
    const ONE_HOUR: i32 = 3600;

    let centers: Vec<_> = caller
        .shared
        .addresses()
        .into_iter()
        .map(|(id, address)| data_center(id, address))
        .collect();
    let now = caller.shared.now();
    let mut wire = Wire::new(types::Config::CONSTRUCTOR_ID)
        .put(&0_u32)
        .put(&now)
        .put(&now.saturating_add(ONE_HOUR))
        .put(&false)
        .put(&caller.dc)
        .put(&centers)
        .put(&String::new());
    for _ in 0..LIMITS {
        wire = wire.put(&1_i32);
    }
    wire = wire.put(&"https://t.me/".to_owned());
    for length in LENGTHS {
        wire = wire.put(&length);
    }
    wire.0
}
