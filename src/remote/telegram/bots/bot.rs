//! One bot: its keys, its sign-in, its pool, and how it is doing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use grammers_tl_types::{Deserializable, RemoteCall, Serializable, enums, functions, types};
use tokio::time::Instant;

use crate::model::KeyStore;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{
    CallPurpose, ConnectionPool, PoolSizeMemory,
};
use crate::remote::telegram::mtproto::data_centres::DataCentres;
use crate::remote::telegram::mtproto::handshake::{self, AuthKeyBytes};
use crate::remote::telegram::mtproto::reconnecting::ConnectionTarget;
use crate::remote::telegram::mtproto::sign_in::sign_in;
use crate::remote::telegram::{ApiId, BotToken};
use crate::sync::MutexExt as _;

/// For a call that moves few bytes.
pub const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Failures in a row, waits not counted, after which a bot is left out for a while.
const FAILURES: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// ReadErrors of a sign-in that no try mends are not asked about again for this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct BotClient {
    /// The n of BOT_TOKEN_n: how a bot is named to people.
    pub number: u32,
    /// The token's public half.
    pub id: i64,
    token: BotToken,
    api: ApiId,
    centres: Arc<DataCentres>,
    keys: Arc<dyn KeyStore>,
    /// 0: not signed in yet.
    home: AtomicI32,
    /// One move to another data centre at a time; what was exported for one and not used there yet,
    /// since whoever asked went away. Asking again so soon means a wait.
    entering: tokio::sync::Mutex<HashMap<i32, types::auth::ExportedAuthorization>>,
    /// One sign-in at a time; the last one that was refused for good.
    signing: tokio::sync::Mutex<Option<(Instant, CallError)>>,
    pools: Mutex<HashMap<(i32, CallPurpose), Arc<ConnectionPool>>>,
    health: Mutex<HashMap<CallPurpose, BotHealth>>,
}

/// How a bot is doing in one respect.
#[derive(Debug, Default, Clone)]
struct BotHealth {
    failures: u32,
    /// It is left alone until then: it was told to wait, or it failed.
    aside_until: Option<Instant>,
    told: bool,
}

impl BotClient {
    pub fn new(
        number: u32,
        token: BotToken,
        api: ApiId,
        centres: Arc<DataCentres>,
        keys: Arc<dyn KeyStore>,
    ) -> Self {
        let id = token.bot_id();
        let home = read_number(keys.as_ref(), &format!("bot/{id}/home")).unwrap_or(0);
        Self {
            number,
            id,
            token,
            api,
            centres,
            keys,
            home: AtomicI32::new(home),
            entering: tokio::sync::Mutex::default(),
            signing: tokio::sync::Mutex::default(),
            pools: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// The data centre that the bot is at home in; signs in when it never did.
    pub async fn home(&self) -> Result<i32, CallError> {
        match self.home.load(Ordering::Relaxed) {
            0 => self.sign_in_again(0).await,
            home => Ok(home),
        }
    }

    /// A small call to the bot's home, signed in again once where the service forgot the key.
    pub async fn call<R: RemoteCall>(&self, request: &R) -> Result<R::Return, CallError> {
        self.call_for(CallPurpose::Control, request).await
    }

    /// The same for a call that makes or changes posts.
    pub async fn post<R: RemoteCall>(&self, request: &R) -> Result<R::Return, CallError> {
        self.call_for(CallPurpose::Post, request).await
    }

    async fn call_for<R: RemoteCall>(
        &self,
        purpose: CallPurpose,
        request: &R,
    ) -> Result<R::Return, CallError> {
        let body = request.to_bytes().into();
        let answer = self.send(None, purpose, body, 0, CALL_LIMIT).await?;
        R::Return::from_bytes(&answer).map_err(|error| CallError::Unexpected(error.to_string()))
    }

    /// One call over the pool of `purpose`, to `dc` or home. Keeps the book of the bot's health.
    pub async fn send(
        &self,
        dc: Option<i32>,
        purpose: CallPurpose,
        body: Bytes,
        bytes: u64,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let home = self.home().await?;
        let dc = dc.unwrap_or(home);
        let pool = self.pool(dc, purpose).await?;
        let mut outcome = pool.call(purpose, body.clone(), bytes, limit).await;
        if let Err(error) = &outcome
            && error.is_signed_out()
        {
            self.forget_key(dc, error);
            if dc == home {
                self.sign_in_again(home).await?;
            }
            let pool = self.pool(dc, purpose).await?;
            outcome = pool.call(purpose, body, bytes, limit).await;
        }
        self.note(purpose, outcome.as_ref().err());
        outcome
    }

    /// The pool to `dc` that exist.
    pub fn known_pool(&self, dc: i32, purpose: CallPurpose) -> Option<Arc<ConnectionPool>> {
        self.pools().get(&(dc, purpose.pool_purpose())).cloned()
    }

    async fn pool(&self, dc: i32, purpose: CallPurpose) -> Result<Arc<ConnectionPool>, CallError> {
        if let Some(pool) = self.known_pool(dc, purpose) {
            return Ok(pool);
        }
        let target = self.target(dc).await?;
        let purpose = purpose.pool_purpose();
        let name = match purpose {
            CallPurpose::Read | CallPurpose::Ahead => Some("read"),
            CallPurpose::Write => Some("write"),
            CallPurpose::Control | CallPurpose::Post => None,
        };
        let memory = name.map(|name| PoolSizeMemory {
            keys: Arc::clone(&self.keys),
            row: format!("bot/{}/dc/{dc}/lanes/{name}", self.id),
        });
        let mut pools = self.pools();
        let made = pools
            .entry((dc, purpose))
            .or_insert_with(|| Arc::new(ConnectionPool::new(target, purpose, memory)));
        Ok(Arc::clone(made))
    }

    /// What a connection of this bot to `dc` connects to.
    pub async fn target(&self, dc: i32) -> Result<ConnectionTarget, CallError> {
        Ok(ConnectionTarget {
            centres: Arc::clone(&self.centres),
            dc,
            key: self.key(dc).await?,
            api: self.api.clone(),
        })
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<(i32, CallPurpose), Arc<ConnectionPool>>> {
        self.pools.acquire()
    }

    fn key_name(&self, dc: i32) -> String {
        format!("bot/{}/dc/{dc}/key", self.id)
    }

    fn stored_key(&self, dc: i32) -> Option<AuthKeyBytes> {
        let stored = self.keys.get(self.key_name(dc).as_bytes());
        match stored {
            Ok(key) => key.and_then(|bytes| bytes.try_into().ok()),
            Err(error) => {
                // A new key costs a sign-in; nothing is lost.
                tracing::warn!(%error, bot = self.number, "a key cannot be read");
                None
            }
        }
    }

    fn keep(&self, name: &str, value: &[u8]) {
        if let Err(error) = self.keys.put(name.as_bytes(), value) {
            tracing::warn!(%error, bot = self.number, "what was agreed on with the server cannot be kept");
        }
    }

    /// The key for `dc`, signed in: kept from before, or made now.
    async fn key(&self, dc: i32) -> Result<AuthKeyBytes, CallError> {
        if let Some(key) = self.stored_key(dc) {
            return Ok(key);
        }
        if dc == self.home.load(Ordering::Relaxed) {
            self.sign_in_again(dc).await?;
            return self
                .stored_key(self.home.load(Ordering::Relaxed))
                .ok_or_else(|| CallError::Unexpected("the new key cannot be kept".into()));
        }
        self.enter_foreign(dc).await
    }

    /// Takes the bot's authorization along to another data centre (`auth.exportAuthorization`,
    /// `auth.importAuthorization`), which holds files that it shall read.
    async fn enter_foreign(&self, dc: i32) -> Result<AuthKeyBytes, CallError> {
        let mut tickets = self.entering.lock().await;
        if let Some(key) = self.stored_key(dc) {
            return Ok(key);
        }
        let exported = match tickets.get(&dc) {
            Some(exported) => exported.clone(),
            None => {
                let request = functions::auth::ExportAuthorization { dc_id: dc };
                let enums::auth::ExportedAuthorization::Authorization(exported) =
                    Box::pin(self.call(&request)).await?;
                tickets.insert(dc, exported.clone());
                exported
            }
        };
        let key = self.agree(dc).await?;
        let target = ConnectionTarget {
            centres: Arc::clone(&self.centres),
            dc,
            key,
            api: self.api.clone(),
        };
        let request = functions::auth::ImportAuthorization {
            id: exported.id,
            bytes: exported.bytes,
        };
        let entered = ConnectionPool::new(target, CallPurpose::Control, None)
            .call(
                CallPurpose::Control,
                request.to_bytes().into(),
                0,
                CALL_LIMIT,
            )
            .await;
        // What the service has looked at is of no use any more.
        if !matches!(&entered, Err(error) if error.is_passing()) {
            tickets.remove(&dc);
        }
        entered?;
        self.keep(&self.key_name(dc), &key);
        Ok(key)
    }

    async fn agree(&self, dc: i32) -> Result<AuthKeyBytes, CallError> {
        let address = self
            .centres
            .address(dc)
            .map_err(|error| CallError::Disconnected(error.to_string()))?;
        handshake::agree(&self.centres.server, address).await
    }

    /// Drops a key that the server no longer takes, and the pool that use it.
    fn forget_key(&self, dc: i32, error: &CallError) {
        tracing::info!(bot = self.number, dc, %error, "the sign-in is no longer valid; it is made anew");
        self.pools().retain(|(at, _), _| *at != dc);
        if error.is_key_unknown() || dc != self.home.load(Ordering::Relaxed) {
            let removed = self.keys.remove(self.key_name(dc).as_bytes());
            if let Err(error) = removed {
                tracing::warn!(%error, bot = self.number, "a key cannot be removed");
            }
        }
    }

    /// Signs in, unless somebody else did meanwhile. `seen`: the home that did not work.
    async fn sign_in_again(&self, seen: i32) -> Result<i32, CallError> {
        let began = Instant::now();
        let mut refused = self.signing.lock().await;
        let home = self.home.load(Ordering::Relaxed);
        if seen == 0 && home != 0 {
            return Ok(home);
        }
        if let Some((at, error)) = &*refused
            && (*at + REFUSED_FOR > Instant::now() || *at > began)
        {
            return Err(error.clone());
        }
        let dc = if home == 0 {
            self.centres.first()
        } else {
            home
        };
        let outcome = self.sign_in_at(dc).await;
        *refused = match &outcome {
            // What no waiting mends is not asked again for each call: that would be a flood.
            Err(error) if !error.is_passing() => Some((Instant::now(), error.clone())),
            _ => None,
        };
        outcome
    }

    async fn sign_in_at(&self, dc: i32) -> Result<i32, CallError> {
        let key = match self.stored_key(dc) {
            Some(key) => key,
            None => self.agree(dc).await?,
        };
        let signed = sign_in(&self.centres, &self.api, &self.token, dc, key).await?;
        self.keep(&self.key_name(signed.home), &signed.key);
        self.keep(&format!("bot/{}/home", self.id), &signed.home.to_le_bytes());
        if let Some(username) = &signed.username {
            self.keep(&format!("bot/{}/name", self.id), username.as_bytes());
        }
        self.pools().clear();
        self.home.store(signed.home, Ordering::Relaxed);
        tracing::info!(bot = self.number, dc = signed.home, "signed in");
        Ok(signed.home)
    }

    /// `@name` as the service told it at sign-in.
    pub fn username(&self) -> Option<String> {
        let stored = self.keys.get(format!("bot/{}/name", self.id).as_bytes());
        String::from_utf8(stored.ok()??).ok()
    }

    fn healths(&self) -> MutexGuard<'_, HashMap<CallPurpose, BotHealth>> {
        self.health.acquire()
    }

    /// How long this bot shall be left alone; `None`: not at all.
    pub fn aside(&self, purpose: CallPurpose) -> Option<Duration> {
        let until = self.healths().get(&purpose.health())?.aside_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Leaves the bot alone for `wait`.
    pub fn set_aside(&self, purpose: CallPurpose, wait: Duration) {
        let until = Instant::now() + wait;
        let mut healths = self.healths();
        let health = healths.entry(purpose.health()).or_default();
        health.aside_until = health.aside_until.max(Some(until));
    }

    fn note(&self, purpose: CallPurpose, error: Option<&CallError>) {
        let Some(error) = error else {
            let mut healths = self.healths();
            if let Some(health) = healths.get_mut(&purpose.health())
                && health.failures > 0
            {
                if health.told {
                    tracing::info!(bot = self.number, "works again");
                }
                *health = BotHealth::default();
            }
            return;
        };
        if let Some(wait) = error.wait() {
            tracing::debug!(bot = self.number, ?wait, "told to wait");
            self.set_aside(purpose, wait);
            return;
        }
        let broken = matches!(
            error,
            CallError::Disconnected(_) | CallError::TimedOut(_) | CallError::Transport(_)
        ) || error.is_signed_out();
        if !broken {
            return;
        }
        let mut healths = self.healths();
        let health = healths.entry(purpose.health()).or_default();
        health.failures += 1;
        if health.failures < FAILURES {
            return;
        }
        let doublings = (health.failures - FAILURES).min(10);
        let rest = (FIRST_REST * 2_u32.saturating_pow(doublings)).min(LONGEST_REST);
        health.aside_until = Some(Instant::now() + rest);
        if !std::mem::replace(&mut health.told, true) {
            tracing::warn!(bot = self.number, %error, "keeps failing and is left out for now");
        }
    }
}

fn read_number(keys: &dyn KeyStore, name: &str) -> Option<i32> {
    let bytes = keys.get(name.as_bytes()).ok()??;
    bytes.try_into().ok().map(i32::from_le_bytes)
}
