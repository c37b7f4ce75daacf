//! Signing in, at home and at the other data center.

use grammers_tl_types::{Serializable, enums, functions, types};

use super::objects::{bot_of_user, bot_user_id, user};
use super::{Answer, Caller, Outcome, object};
use crate::digest::random;
use crate::options::Bot;
use crate::refusal::Refusal;
use crate::world::event::Event;

fn authorization(bot: Bot) -> Outcome {
    object(&enums::auth::Authorization::Authorization(
        types::auth::Authorization {
            setup_password_required: false,
            otherwise_relogin_days: None,
            tmp_sessions: None,
            future_auth_token: None,
            user: user(bot, bot)?,
        },
    ))
}

fn sign_in(caller: Caller<'_>, bot: Bot) -> Outcome {
    caller.shared.world().record(Event::SignedIn {
        dc: caller.dc,
        id: caller.key_id,
        bot,
    })?;
    authorization(bot)
}

/// `auth.importBotAuthorization`
pub(super) fn import_bot(
    caller: Caller<'_>,
    call: &functions::auth::ImportBotAuthorization,
) -> Outcome {
    let options = &caller.shared.options;
    if call.api_id != options.api_id || call.api_hash != options.api_hash {
        return Err(Refusal::bad("API_ID_INVALID"));
    }
    let Some(bot) = caller.shared.bot_of_token(&call.bot_auth_token) else {
        // A token of a bot that there is, but not its current one, was revoked.
        let is_revoked = call
            .bot_auth_token
            .split_once(':')
            .and_then(|(id, _)| bot_of_user(id.parse().ok()?))
            .is_some_and(|bot| (1..=options.bots).contains(&bot.0));
        return Err(Refusal::bad(if is_revoked {
            "ACCESS_TOKEN_EXPIRED"
        } else {
            "ACCESS_TOKEN_INVALID"
        }));
    };
    let home = caller.shared.home_of(bot);
    if caller.dc != home {
        return Err(Refusal::elsewhere("USER", home));
    }
    sign_in(caller, bot)
}

/// `auth.exportAuthorization`
pub(super) fn export(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::auth::ExportAuthorization,
) -> Outcome {
    let is_other = caller
        .shared
        .addresses()
        .iter()
        .any(|(id, _)| *id == call.dc_id && *id != caller.dc);
    if !is_other {
        return Err(Refusal::bad("DC_ID_INVALID"));
    }
    let token = random::<32>()?.to_vec();
    let mut world = caller.shared.world();
    world
        .export_allowances
        .entry(bot)
        .or_default()
        .take(caller.shared.options.export_pace)
        .map_err(|seconds| Refusal::wait("FLOOD_WAIT", seconds))?;
    world.exported.insert(bot, token.clone());
    object(&enums::auth::ExportedAuthorization::Authorization(
        types::auth::ExportedAuthorization {
            id: bot_user_id(bot),
            bytes: token,
        },
    ))
}

/// `auth.importAuthorization`
pub(super) fn import(caller: Caller<'_>, call: &functions::auth::ImportAuthorization) -> Outcome {
    let Some(bot) = bot_of_user(call.id) else {
        return Err(Refusal::bad("USER_ID_INVALID"));
    };
    let mut world = caller.shared.world();
    if world.exported.get(&bot) != Some(&call.bytes) {
        return Err(Refusal::bad("AUTH_BYTES_INVALID"));
    }
    world.exported.remove(&bot);
    drop(world);
    sign_in(caller, bot)
}

/// `auth.logOut`
pub(super) fn log_out(caller: Caller<'_>) -> Outcome {
    caller.shared.world().record(Event::SignedOut {
        dc: caller.dc,
        id: caller.key_id,
    })?;
    object(&enums::auth::LoggedOut::Out(types::auth::LoggedOut {
        future_auth_token: None,
    }))
}

/// `users.getUsers`
pub(super) fn users(caller: Caller<'_>, bot: Bot, call: &functions::users::GetUsers) -> Outcome {
    let mut found = Vec::new();
    for id in &call.id {
        let wanted = match id {
            enums::InputUser::UserSelf => Some(bot),
            enums::InputUser::User(user) => bot_of_user(user.user_id),
            _ => None,
        };
        if let Some(wanted) = wanted
            && (1..=caller.shared.options.bots).contains(&wanted.0)
        {
            found.push(user(wanted, bot)?);
        }
    }
    Ok(Answer::Object(found.to_bytes()))
}
