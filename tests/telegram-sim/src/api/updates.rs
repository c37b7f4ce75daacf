//! Updates that a bot missed. Only changes of its memberships are told: posts are read by id.

use grammers_tl_types::{enums, functions, types};

use super::objects::{bot_user_id, channel, participant, user};
use super::{Caller, Outcome, object};
use crate::options::Bot;
use crate::refusal::Refusal;
use crate::world::{Change, MembershipChange};

/// Numbers that count the changes of memberships: the first is 1.
fn qts(changes: &[MembershipChange]) -> i32 {
    i32::try_from(changes.len()).unwrap_or(i32::MAX)
}

fn state_at(caller: Caller<'_>, changes: &[MembershipChange]) -> enums::updates::State {
    types::updates::State {
        pts: 1,
        qts: qts(changes),
        date: caller.shared.now(),
        seq: 0,
        unread_count: 0,
    }
    .into()
}

/// `updates.getState`
pub(super) fn state(caller: Caller<'_>, bot: Bot) -> Outcome {
    let world = caller.shared.world();
    object(&state_at(caller, world.membership_changes(bot)))
}

/// `updates.getDifference`: an `updateChannelParticipant` for each channel that the bot was put into or
/// taken out of, behind the call's `qts`.
pub(super) fn difference(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::updates::GetDifference,
) -> Outcome {
    let world = caller.shared.world();
    let changes = world.membership_changes(bot);
    let seen =
        usize::try_from(call.qts).map_err(|_| Refusal::bad("PERSISTENT_TIMESTAMP_INVALID"))?;
    let missed = changes.get(seen..).unwrap_or_default();
    if missed.is_empty() {
        return object(&enums::updates::Difference::from(
            types::updates::DifferenceEmpty {
                date: caller.shared.now(),
                seq: 0,
            },
        ));
    }
    let mut other_updates: Vec<enums::Update> = Vec::new();
    let mut chats = Vec::new();
    for (change, qts) in missed.iter().zip(seen + 1..) {
        let state = world.channel(change.channel)?;
        let left: enums::ChannelParticipant = types::ChannelParticipantLeft {
            peer: types::PeerUser {
                user_id: bot_user_id(bot),
            }
            .into(),
        }
        .into();
        let new = match change.change {
            Change::Joined => participant(state, bot, bot).unwrap_or(left),
            Change::Left => left,
        };
        let update = types::UpdateChannelParticipant {
            via_chatlist: false,
            channel_id: crate::world::channel::ChannelState::id_of(change.channel),
            date: change.date,
            actor_id: 1,
            user_id: bot_user_id(bot),
            prev_participant: None,
            new_participant: Some(new),
            invite: None,
            qts: i32::try_from(qts).unwrap_or(i32::MAX),
        };
        other_updates.push(update.into());
        chats.push(channel(caller, state, bot)?);
    }
    object(&enums::updates::Difference::from(
        types::updates::Difference {
            new_messages: Vec::new(),
            new_encrypted_messages: Vec::new(),
            other_updates,
            chats,
            users: vec![user(bot, bot)?],
            state: state_at(caller, changes),
        },
    ))
}
