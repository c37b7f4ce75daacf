//! Channels: who may see them, and what there is to see.

use grammers_tl_types::{enums, functions, types};

use super::objects::{bot_of_user, channel, channel_full, participant, peer, user};
use super::{Caller, Outcome, object};
use crate::options::{Bot, Channel, Visibility};
use crate::refusal::Refusal;
use crate::world::World;
use crate::world::access;
use crate::world::channel::ChannelState;

/// The channel that a bot names. A member that is an administrator may leave the hash out.
pub(super) fn reach(
    world: &World,
    bot: Bot,
    channel_id: i64,
    access_hash: i64,
) -> Result<&ChannelState, Refusal> {
    let invalid = || Refusal::bad("CHANNEL_INVALID");
    let number = ChannelState::number_of(channel_id).ok_or_else(invalid)?;
    let state = world.channel(number).map_err(|_| invalid())?;
    let is_right = access_hash == access::channel_hash(bot, number);
    match (state.members.contains_key(&bot), is_right) {
        (true, true) => Ok(state),
        (true, false) if access_hash == 0 => Ok(state),
        (false, true) => Err(Refusal::bad("CHANNEL_PRIVATE")),
        _ => Err(invalid()),
    }
}

pub(super) fn reach_input<'a>(
    world: &'a World,
    bot: Bot,
    input: &enums::InputChannel,
) -> Result<&'a ChannelState, Refusal> {
    match input {
        enums::InputChannel::Channel(input) => {
            reach(world, bot, input.channel_id, input.access_hash)
        }
        _ => Err(Refusal::bad("CHANNEL_INVALID")),
    }
}

pub(super) fn reach_peer<'a>(
    world: &'a World,
    bot: Bot,
    input: &enums::InputPeer,
) -> Result<&'a ChannelState, Refusal> {
    match input {
        enums::InputPeer::Channel(input) => reach(world, bot, input.channel_id, input.access_hash),
        _ => Err(Refusal::bad("PEER_ID_INVALID")),
    }
}

/// `channels.getChannels`
pub(super) fn get(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::channels::GetChannels,
) -> Outcome {
    let world = caller.shared.world();
    let chats = call
        .id
        .iter()
        .map(|input| channel(caller, reach_input(&world, bot, input)?, bot))
        .collect::<Result<Vec<_>, _>>()?;
    object(&enums::messages::Chats::Chats(types::messages::Chats {
        chats,
    }))
}

/// `channels.getFullChannel`
pub(super) fn get_full(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::channels::GetFullChannel,
) -> Outcome {
    let world = caller.shared.world();
    let state = reach_input(&world, bot, &call.channel)?;
    object(&enums::messages::ChatFull::Full(
        types::messages::ChatFull {
            full_chat: channel_full(state)?,
            chats: vec![channel(caller, state, bot)?],
            users: Vec::new(),
        },
    ))
}

/// `channels.getParticipant`
pub(super) fn get_participant(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::channels::GetParticipant,
) -> Outcome {
    let world = caller.shared.world();
    let state = reach_input(&world, bot, &call.channel)?;
    let whom = match &call.participant {
        enums::InputPeer::PeerSelf => Some(bot),
        enums::InputPeer::User(input) => bot_of_user(input.user_id),
        _ => None,
    };
    let whom = whom.ok_or_else(|| Refusal::bad("PARTICIPANT_ID_INVALID"))?;
    let participant =
        participant(state, whom, bot).ok_or_else(|| Refusal::bad("USER_NOT_PARTICIPANT"))?;
    object(&enums::channels::ChannelParticipant::Participant(
        types::channels::ChannelParticipant {
            participant,
            chats: vec![channel(caller, state, bot)?],
            users: vec![user(whom, bot)?],
        },
    ))
}

/// `contacts.resolveUsername`
pub(super) fn resolve_username(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::contacts::ResolveUsername,
) -> Outcome {
    let free = || Refusal::bad("USERNAME_NOT_OCCUPIED");
    if caller.shared.options.visibility == Visibility::Private {
        return Err(free());
    }
    let world = caller.shared.world();
    let state = (1..=caller.shared.options.channels)
        .map(Channel)
        .find(|number| ChannelState::username_of(*number).eq_ignore_ascii_case(&call.username))
        .and_then(|number| world.channel(number).ok())
        .ok_or_else(free)?;
    object(&enums::contacts::ResolvedPeer::Peer(
        types::contacts::ResolvedPeer {
            peer: peer(state),
            chats: vec![channel(caller, state, bot)?],
            users: Vec::new(),
        },
    ))
}
