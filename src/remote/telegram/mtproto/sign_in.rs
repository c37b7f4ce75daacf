//! Sign-in of a bot (`auth.importBotAuthorization`) with grammers-client. It happens once in the life of a
//! key. All other calls use connections of our own.

use std::sync::Arc;
use std::time::Duration;

use grammers_client::{Client, InvocationError, SenderPool};
use grammers_mtsender::{ConnectionParams, NoRetries};
use grammers_session::storages::MemorySession;
use grammers_session::types::DcOption;
use grammers_session::{Session, SessionData};

use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::data_centres::DataCentres;
use super::handshake;
use super::rpc_error::RpcErrorName;
use crate::remote::telegram::settings::{ApiId, BotToken};

/// Time limit of one try, since grammers itself has none.
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

/// Signs in with `key`, which `dc` knows. When the bot is at home elsewhere, agrees on a key there first,
/// because the exchange of grammers knows only the keys of the service.
///
/// # Errors
/// When the service refuses the token or cannot be reached.
pub async fn sign_in(
    centres: &DataCentres,
    api: &ApiId,
    token: &BotToken,
    dc: i32,
    key: AuthKeyBytes,
) -> Result<SignedIn, CallError> {
    let mut at = (dc, key);
    let mut last = CallError::Unexpected("the bot moves between data centres".into());
    for _ in 0..TRIES {
        let session = Arc::new(session(centres, at.0, at.1)?);
        match try_once(&session, api, token).await {
            Ok(username) => {
                return Ok(SignedIn {
                    home: at.0,
                    key: at.1,
                    username,
                });
            }
            Err(error) => {
                let moved = session.home_dc_id().unwrap_or(at.0);
                last = error;
                if moved == at.0 {
                    break;
                }
                let address = centres
                    .address(moved)
                    .map_err(|error| CallError::Disconnected(error.to_string()))?;
                at = (moved, handshake::agree(centres.server(), address).await?);
            }
        }
    }
    Err(last)
}

/// Returns a session that knows `dc` and the key for it.
fn session(centres: &DataCentres, dc: i32, key: AuthKeyBytes) -> Result<MemorySession, CallError> {
    let mut data = SessionData {
        home_dc: dc,
        ..SessionData::default()
    };
    if !centres.is_service() {
        data.dc_options.clear();
    }
    let address = centres
        .address(dc)
        .map_err(|error| CallError::Disconnected(error.to_string()))?;
    let std::net::SocketAddr::V4(ipv4) = address else {
        return Err(CallError::Disconnected("only IPv4 is used".into()));
    };
    let option = DcOption {
        id: dc,
        ipv4,
        ipv6: std::net::SocketAddrV6::new(ipv4.ip().to_ipv6_mapped(), ipv4.port(), 0, 0),
        auth_key: Some(key),
    };
    data.dc_options.insert(dc, option);
    Ok(MemorySession::from(data))
}

async fn try_once(
    session: &Arc<MemorySession>,
    api: &ApiId,
    token: &BotToken,
) -> Result<Option<String>, CallError> {
    let parameters = ConnectionParams {
        retry_policy: Box::new(NoRetries),
        ..ConnectionParams::default()
    };
    let SenderPool {
        runner,
        handle,
        updates,
    } = SenderPool::with_configuration(Arc::clone(session), api.id, parameters);
    drop(updates);
    let running = tokio::spawn(runner.run());
    let quit = handle.thin.clone();
    let client = Client::new(handle);
    let signing = client.bot_sign_in(token.reveal(), api.hash.reveal());
    let outcome = tokio::time::timeout(SIGN_IN_LIMIT, signing).await;
    quit.quit();
    running.abort();
    match outcome {
        Ok(Ok(user)) => Ok(user.username().map(str::to_owned)),
        Ok(Err(error)) => Err(from_grammers(error)),
        Err(_) => Err(CallError::TimedOut(SIGN_IN_LIMIT)),
    }
}

fn from_grammers(error: InvocationError) -> CallError {
    match error {
        InvocationError::Rpc(rpc) => CallError::Rpc {
            code: rpc.code,
            name: RpcErrorName::decode(&rpc.name),
            value: rpc.value,
        },
        InvocationError::Io(error) => {
            CallError::Disconnected(format!("the connection broke: {error}"))
        }
        InvocationError::Dropped(_) => CallError::Disconnected("the connection ended".into()),
        // The other texts hold names of types and numbers, and never a secret.
        other => CallError::Disconnected(other.to_string()),
    }
}
