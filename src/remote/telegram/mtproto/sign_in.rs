//! Sign-in of a bot (`auth.importBotAuthorization`), which happens once in the life of a key.

use std::time::Duration;

use grammers_tl_types::{Serializable, enums, functions};

use super::answer;
use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::handshake;
use super::reconnecting::{ConnectionTarget, ReconnectingConnection};
use crate::remote::telegram::settings::BotToken;

/// Time limit of one try.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(30);
/// Most tries. A bot that is at home elsewhere is told so once.
const TRIES: usize = 3;

/// Result of a sign-in.
#[derive(Debug)]
pub struct SignedIn {
    /// Data centre that the bot is at home in.
    pub home: i32,
    /// Signed-in key for it.
    pub key: AuthKeyBytes,
    /// `@name` of the bot, without the sign.
    pub username: Option<String>,
}

/// Signs in with the key of `target`. When the bot is at home elsewhere (`USER_MIGRATE_X`), agrees on a key
/// there first.
///
/// # Errors
/// When the service refuses the token or cannot be reached.
pub async fn sign_in(
    mut target: ConnectionTarget,
    token: &BotToken,
) -> Result<SignedIn, CallError> {
    for _ in 0..TRIES {
        let moved = match try_once(&target, token).await {
            Ok(username) => {
                return Ok(SignedIn {
                    home: target.dc,
                    key: target.key,
                    username,
                });
            }
            Err(error) => match error.migrate() {
                Some(dc) if dc != target.dc => dc,
                _ => return Err(error),
            },
        };
        let address = target
            .centres
            .address(moved)
            .map_err(|error| CallError::Disconnected(error.to_string()))?;
        target.key = handshake::agree(target.centres.server(), address).await?;
        target.dc = moved;
    }
    Err(CallError::Unexpected(
        "the bot moves between data centres".into(),
    ))
}

/// Returns the bot's `@name`.
async fn try_once(
    target: &ConnectionTarget,
    token: &BotToken,
) -> Result<Option<String>, CallError> {
    let request = functions::auth::ImportBotAuthorization {
        flags: 0,
        api_id: target.api.id,
        api_hash: target.api.hash.reveal().to_owned(),
        bot_auth_token: token.reveal().to_owned(),
    };
    let connection = ReconnectingConnection::new(target.clone());
    let answer = connection
        .call(request.to_bytes().into(), SIGN_IN_LIMIT)
        .await?;
    match answer::decode(&answer)? {
        enums::auth::Authorization::Authorization(signed) => match signed.user {
            enums::User::User(user) => Ok(user.username),
            enums::User::Empty(_) => Ok(None),
        },
        enums::auth::Authorization::SignUpRequired(_) => Err(CallError::Unexpected(
            "the service wants a person to sign up".into(),
        )),
    }
}
