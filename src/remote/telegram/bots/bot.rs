//! One bot: its sign-in, its pools of connections, and its calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use grammers_tl_types::{RemoteCall, Serializable, enums, functions, types};
use tokio::time::Instant;

use super::bot_keys::BotKeys;
use super::health::BotHealth;
use crate::model::{BotId, KeyStore};
use crate::remote::telegram::mtproto::answer;
use crate::remote::telegram::mtproto::auth_key::AuthKeyBytes;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{CallPurpose, ConnectionPool};
use crate::remote::telegram::mtproto::data_centres::DataCentres;
use crate::remote::telegram::mtproto::handshake;
use crate::remote::telegram::mtproto::reconnecting::ConnectionTarget;
use crate::remote::telegram::mtproto::sign_in::sign_in;
use crate::remote::telegram::settings::{ApiId, BotSettings, BotToken};
use crate::sync::MutexExt as _;

/// Time limit of a call that moves few bytes.
pub const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Time for which a sign-in that was refused for good is not tried again.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// One bot as a client of the service.
#[derive(Debug)]
pub struct BotClient {
    /// The n of `BOT_TOKEN_n`: the bot's name in texts for people.
    pub number: u32,
    /// The token's public half.
    pub id: BotId,
    token: BotToken,
    api: ApiId,
    centres: Arc<DataCentres>,
    keys: BotKeys,
    /// Data centre that the bot is at home in; 0 when it has not signed in yet.
    home: AtomicI32,
    /// Authorizations that were exported for a data centre and not used there yet. Another export so soon
    /// would mean a wait. The lock lets one move at a time.
    entering: tokio::sync::Mutex<HashMap<i32, types::auth::ExportedAuthorization>>,
    /// The last sign-in that failed. The lock lets one sign-in at a time.
    signing: tokio::sync::Mutex<Option<(Instant, CallError)>>,
    /// Number of sign-ins so far. A call that was signed out before the last one need not sign in again.
    sign_ins: AtomicU64,
    pools: Mutex<HashMap<(i32, CallPurpose), Arc<ConnectionPool>>>,
    health: BotHealth,
}

impl BotClient {
    /// Makes the bot without connecting it. `keys` keeps its sign-in over restarts.
    pub fn new(
        settings: &BotSettings,
        api: ApiId,
        centres: Arc<DataCentres>,
        keys: &Arc<dyn KeyStore>,
    ) -> Self {
        let (number, id) = (settings.number, settings.token.bot_id());
        let keys = BotKeys::new(number, id, Arc::clone(keys));
        Self {
            number,
            id,
            token: settings.token.clone(),
            api,
            centres,
            home: AtomicI32::new(keys.home().unwrap_or(0)),
            keys,
            entering: tokio::sync::Mutex::default(),
            signing: tokio::sync::Mutex::default(),
            sign_ins: AtomicU64::new(0),
            pools: Mutex::default(),
            health: BotHealth::new(number),
        }
    }

    /// Returns the data centre that the bot is at home in. Signs in when it never did before.
    ///
    /// # Errors
    /// When the sign-in fails.
    pub async fn home(&self) -> Result<i32, CallError> {
        // The number is read first: a sign-in that ends in between counts.
        let sign_ins = self.sign_ins();
        match self.home.load(Ordering::SeqCst) {
            0 => self.sign_in_again(sign_ins).await,
            home => Ok(home),
        }
    }

    /// Makes a small call to the bot's home. Signs in again once when the service has forgotten the key.
    ///
    /// # Errors
    /// The service's answer, or that of the connection.
    pub async fn call<R: RemoteCall<Return: Send>>(
        &self,
        request: &R,
    ) -> Result<R::Return, CallError> {
        self.call_for(CallPurpose::Control, request).await
    }

    /// Makes a small call whose answer may hold much, and returns what `read` takes from it.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn call_with<R: RemoteCall, T: Send>(
        &self,
        request: &R,
        read: impl FnOnce(R::Return) -> T + Send,
    ) -> Result<T, CallError> {
        let body = request.to_bytes().into();
        let answer = self
            .send(None, CallPurpose::Control, body, 0, CALL_LIMIT)
            .await?;
        answer::decode_with(&answer, read)
    }

    /// Makes a call that posts or changes messages. Waits for these are kept apart.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn post<R: RemoteCall<Return: Send>>(
        &self,
        request: &R,
    ) -> Result<R::Return, CallError> {
        self.call_for(CallPurpose::Post, request).await
    }

    async fn call_for<R: RemoteCall<Return: Send>>(
        &self,
        purpose: CallPurpose,
        request: &R,
    ) -> Result<R::Return, CallError> {
        let body = request.to_bytes().into();
        let answer = self.send(None, purpose, body, 0, CALL_LIMIT).await?;
        answer::decode(&answer)
    }

    /// Makes one call over the connections of `purpose`, to `dc` or home, and notes the bot's health.
    /// `bytes` is the amount that it moves, in or out.
    ///
    /// # Errors
    /// See [`Self::call`].
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
        let sign_ins = self.sign_ins();
        let pool = self.pool(dc, purpose).await?;
        let mut outcome = pool.call(purpose, body.clone(), bytes, limit).await;
        if let Err(error) = &outcome
            && error.is_signed_out()
        {
            if dc == home {
                self.sign_in_after(sign_ins, home, error).await?;
            } else {
                self.forget_foreign_key(dc, pool.key(), error);
            }
            let pool = self.pool(dc, purpose).await?;
            outcome = pool.call(purpose, body, bytes, limit).await;
        }
        match &outcome {
            Ok(_) => self.health.note_success(purpose),
            Err(error) => self.health.note_error(purpose, error),
        }
        outcome
    }

    /// Returns the pool to `dc`, if there is one already.
    pub fn known_pool(&self, dc: i32, purpose: CallPurpose) -> Option<Arc<ConnectionPool>> {
        self.pools().get(&(dc, purpose.pool_purpose())).cloned()
    }

    async fn pool(&self, dc: i32, purpose: CallPurpose) -> Result<Arc<ConnectionPool>, CallError> {
        if let Some(pool) = self.known_pool(dc, purpose) {
            return Ok(pool);
        }
        let target = self.target(dc).await?;
        let purpose = purpose.pool_purpose();
        let kind = match purpose {
            CallPurpose::Read | CallPurpose::Ahead => Some("read"),
            CallPurpose::Write => Some("write"),
            CallPurpose::Control | CallPurpose::Post => None,
        };
        let memory = kind.map(|kind| self.keys.pool_size(dc, kind));
        let mut pools = self.pools();
        let made = pools
            .entry((dc, purpose))
            .or_insert_with(|| Arc::new(ConnectionPool::new(target, purpose, memory)));
        Ok(Arc::clone(made))
    }

    /// Returns the data that a connection of this bot to `dc` needs.
    ///
    /// # Errors
    /// When there is no key for `dc` and none can be agreed on.
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

    /// Returns a signed-in key for `dc`, which was kept from before or is made now.
    async fn key(&self, dc: i32) -> Result<AuthKeyBytes, CallError> {
        let sign_ins = self.sign_ins();
        if let Some(key) = self.keys.key(dc) {
            return Ok(key);
        }
        if dc == self.home.load(Ordering::Relaxed) {
            self.sign_in_again(sign_ins).await?;
            return self
                .keys
                .key(self.home.load(Ordering::Relaxed))
                .ok_or_else(|| CallError::Unexpected("the new key cannot be kept".into()));
        }
        self.enter_foreign(dc).await
    }

    /// Exports the bot's authorization to another data centre (`auth.exportAuthorization`,
    /// `auth.importAuthorization`), which holds files that the bot shall read.
    async fn enter_foreign(&self, dc: i32) -> Result<AuthKeyBytes, CallError> {
        let mut tickets = self.entering.lock().await;
        if let Some(key) = self.keys.key(dc) {
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
        // An export that the service has looked at is used up.
        if !matches!(&entered, Err(error) if error.is_passing()) {
            tickets.remove(&dc);
        }
        entered?;
        self.keys.keep_key(dc, &key);
        Ok(key)
    }

    async fn agree(&self, dc: i32) -> Result<AuthKeyBytes, CallError> {
        let address = self
            .centres
            .address(dc)
            .map_err(|error| CallError::Disconnected(error.to_string()))?;
        handshake::agree(self.centres.server(), address).await
    }

    /// Drops the key for a foreign data centre that no longer takes it, and the connections that use it.
    /// Another call may have agreed on a new one meanwhile, which stays.
    fn forget_foreign_key(&self, dc: i32, refused: &AuthKeyBytes, error: &CallError) {
        let mut pools = self.pools();
        if self.keys.key(dc).as_ref() != Some(refused) {
            return;
        }
        tracing::info!(bot = self.number, dc, %error, "the sign-in is no longer valid; it is made anew");
        pools.retain(|(at, _), _| *at != dc);
        self.keys.remove_key(dc);
    }

    fn sign_ins(&self) -> u64 {
        self.sign_ins.load(Ordering::SeqCst)
    }

    /// Signs in, unless another task did since there were `seen` sign-ins.
    async fn sign_in_again(&self, seen: u64) -> Result<i32, CallError> {
        self.sign_in_with(seen, |_| {}).await
    }

    /// Signs in after `home` refused the sign-in with `error`, unless another task did since there were
    /// `seen` sign-ins.
    async fn sign_in_after(
        &self,
        seen: u64,
        home: i32,
        error: &CallError,
    ) -> Result<i32, CallError> {
        let forget = |bot: &Self| {
            let dc = home;
            tracing::info!(bot = bot.number, dc, %error, "the sign-in is no longer valid; it is made anew");
            bot.pools().retain(|(at, _), _| *at != home);
            if error.is_key_unknown() {
                bot.keys.remove_key(home);
            }
        };
        self.sign_in_with(seen, forget).await
    }

    async fn sign_in_with(&self, seen: u64, before: impl FnOnce(&Self)) -> Result<i32, CallError> {
        let began = Instant::now();
        let mut failed = self.signing.lock().await;
        let home = self.home.load(Ordering::Relaxed);
        if self.sign_ins() != seen {
            return Ok(home);
        }
        // Another try for each call that waited, or for each call after a refusal, would be a flood.
        if let Some((at, error)) = &*failed
            && (*at > began || (!error.is_passing() && *at + REFUSED_FOR > Instant::now()))
        {
            return Err(error.clone());
        }
        before(self);
        let dc = if home == 0 {
            self.centres.first()
        } else {
            home
        };
        let outcome = self.sign_in_at(dc).await;
        *failed = match &outcome {
            Err(error) => Some((Instant::now(), error.clone())),
            Ok(_) => None,
        };
        outcome
    }

    async fn sign_in_at(&self, dc: i32) -> Result<i32, CallError> {
        let key = match self.keys.key(dc) {
            Some(key) => key,
            None => self.agree(dc).await?,
        };
        let signed = sign_in(&self.centres, &self.api, &self.token, dc, key).await?;
        self.keys.keep_key(signed.home, &signed.key);
        self.keys.keep_home(signed.home);
        if let Some(username) = &signed.username {
            self.keys.keep_username(username);
        }
        self.pools().clear();
        self.home.store(signed.home, Ordering::Relaxed);
        self.sign_ins.fetch_add(1, Ordering::SeqCst);
        tracing::info!(bot = self.number, dc = signed.home, "signed in");
        Ok(signed.home)
    }

    /// Returns the `@name` that the service told at sign-in, without the sign.
    pub fn username(&self) -> Option<String> {
        self.keys.username()
    }

    /// Returns how long this bot shall be left alone; `None` when it need not be.
    pub fn aside(&self, purpose: CallPurpose) -> Option<Duration> {
        self.health.aside(purpose)
    }

    /// Returns what goes wrong with this bot now, a line for people each.
    pub fn troubles(&self) -> Vec<String> {
        self.health.troubles()
    }

    /// Leaves the bot alone for `wait`.
    pub fn set_aside(&self, purpose: CallPurpose, wait: Duration) {
        self.health.set_aside(purpose, wait);
    }
}
