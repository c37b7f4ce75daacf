//! All bots together: their channels, and the choice of a bot for a task.

pub mod bot;
pub mod bot_keys;
pub mod channel_info;
pub mod channel_peers;
pub mod health;
pub mod membership;
pub mod messages;
pub mod random_id;
pub mod rate_limit;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use grammers_tl_types::{Serializable, functions};

use self::bot::{BotClient, CALL_LIMIT};
use self::channel_info::{ChannelInfo, Right};
use self::channel_peers::ChannelPeers;
use self::membership::Evidence;
use self::messages::ChannelPeer;
use self::rate_limit::{PostPriority, RateLimiter};
use super::mtproto::call_error::CallError;
use super::mtproto::connection_pool::CallPurpose;
use super::mtproto::data_centres::DataCentres;
use super::mtproto::rpc_error::RpcErrorName;
use super::settings::{BotSettings, Publicity, TelegramRemoteSettings};
use crate::model::{ChannelId, KeyStore};
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Pause between two looks at bots that have a problem in their channel.
const WATCH_EVERY: Duration = Duration::from_secs(15);
/// Number of these pauses between two looks at the others.
const CALM_ROUNDS: u32 = 8;

/// One bot and the channel that the settings give it.
#[derive(Debug)]
pub struct Member {
    /// The bot.
    pub bot: BotClient,
    /// `CHAT_ID_n` as written.
    pub chat: String,
}

/// All bots, the addresses of their channels, and the limit on posts.
#[derive(Debug)]
pub struct Bots {
    members: Vec<Arc<Member>>,
    peers: ChannelPeers,
    rate_limiter: RateLimiter,
    /// Number that rises with each task, so the bots take turns at being asked first.
    turn: AtomicUsize,
    publicity: Publicity,
    /// Public channels already warned about.
    warned_public: Mutex<BTreeSet<ChannelId>>,
}

impl Bots {
    /// Makes the bots without connecting any. `keys` keeps sign-ins over restarts.
    pub fn new(settings: &TelegramRemoteSettings, keys: &Arc<dyn KeyStore>) -> Self {
        let centres = Arc::new(DataCentres::new(settings.server.clone()));
        let member = |bot: &BotSettings| {
            Arc::new(Member {
                bot: BotClient::new(bot, settings.api.clone(), Arc::clone(&centres), keys),
                chat: bot.chat.clone(),
            })
        };
        Self {
            members: settings.bots.iter().map(member).collect(),
            peers: ChannelPeers::new(Arc::clone(keys)),
            rate_limiter: RateLimiter::new(settings.rate_limit),
            turn: AtomicUsize::new(0),
            publicity: settings.publicity,
            warned_public: Mutex::default(),
        }
    }

    /// Returns the bots in the order of the settings.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Returns the addresses of channels for each bot.
    pub const fn peers(&self) -> &ChannelPeers {
        &self.peers
    }

    /// Waits until a post of this priority may go to `channel`.
    pub async fn wait_to_post(&self, channel: ChannelId, priority: PostPriority) {
        self.rate_limiter.wait(channel, priority).await;
    }

    /// Returns the channel that a bot posts to.
    ///
    /// # Errors
    /// When the setting names no channel, or the bot cannot ask.
    pub async fn channel_of(&self, member: &Member) -> Result<ChannelId, CallError> {
        self.peers.id_of(&member.bot, &member.chat).await
    }

    /// Returns the channels that bots post to, each once.
    ///
    /// # Errors
    /// The first bot's error, when no bot knows its channel.
    pub async fn channels(&self) -> Result<Vec<ChannelId>, RemoteError> {
        let mut channels = Vec::new();
        let mut first_error = None;
        for member in &self.members {
            match self.channel_of(member).await {
                Ok(channel) if channels.contains(&channel) => {}
                Ok(channel) => channels.push(channel),
                Err(error) => {
                    let op = format!("look for the channel of bot {}", member.bot.number);
                    first_error.get_or_insert(error.into_remote(op));
                }
            }
        }
        match first_error {
            Some(error) if channels.is_empty() => Err(error),
            _ => Ok(channels),
        }
    }

    /// Prepares a bot for its first read: signs in, finds its channel, opens a connection.
    pub async fn warm(&self, member: &Member) {
        let bot = &member.bot;
        let ready = async {
            let channel = self.channel_of(member).await?;
            self.look_at_own(member, channel).await?;
            let ping = functions::Ping { ping_id: 1 }.to_bytes().into();
            bot.send(None, CallPurpose::Read, ping, 0, CALL_LIMIT).await
        };
        if let Err(error) = ready.await {
            let op = format!("get bot {} ready for channel {}", bot.number, member.chat);
            let error = error.into_remote(op);
            tracing::warn!(%error, "a bot is not ready");
        }
    }

    /// Asks the service about a bot in the channel that it posts to, because rights come and go.
    async fn look_at_own(&self, member: &Member, channel: ChannelId) -> Result<(), CallError> {
        let bot = &member.bot;
        let looked = self.peers.look(bot, channel).await.and_then(|info| {
            self.warn_public(&info);
            match info.rights.post {
                Right::Granted => Ok(()),
                Right::Missing => Err(CallError::refused(RpcErrorName::ChatWriteForbidden)),
            }
        });
        if let Err(error) = &looked
            && error.is_missing_right()
        {
            let by = Evidence::Asked;
            self.peers.problems().begin(bot.number, channel, by, error);
        }
        looked
    }

    /// Looks after all bots until nobody uses them any more: a bot that lost its place in its channel is
    /// told, and so is its return.
    pub async fn watch(bots: Weak<Self>) {
        for round in 1_u32.. {
            tokio::time::sleep(WATCH_EVERY).await;
            let Some(bots) = bots.upgrade() else { return };
            for member in &bots.members {
                // The outcomes are noted, and an error that passes is none of the channel.
                let own = bots.channel_of(member).await.ok();
                let mut channels = bots.peers.problems().channels_of(member.bot.number);
                if round.is_multiple_of(CALM_ROUNDS) {
                    channels.extend(own.filter(|own| !channels.contains(own)));
                }
                for channel in channels {
                    let _ = match Some(channel) == own {
                        true => bots.look_at_own(member, channel).await,
                        false => bots.peers.look(&member.bot, channel).await.map(drop),
                    };
                }
            }
        }
    }

    /// Returns what goes wrong now, a line for people each.
    pub fn troubles(&self) -> Vec<String> {
        let mut lines = self.peers.problems().lines();
        lines.extend(self.members.iter().flat_map(|member| member.bot.troubles()));
        lines
    }

    /// Warns once about a public channel that holds a library in the clear.
    fn warn_public(&self, info: &ChannelInfo) {
        let Some(username) = &info.username else {
            return;
        };
        let is_new = self.warned_public.acquire().insert(info.peer.channel);
        if self.publicity == Publicity::Matters && is_new {
            tracing::warn!(
                "channel @{username} is public: everybody can read what is stored there; make it private, or set TGFS_PASSPHRASE before the first upload"
            );
        }
    }

    /// Tries `work` with one bot after the other until one can do it. Bots that are not set aside come
    /// first. It is for tasks that any member of the channel may do.
    ///
    /// # Errors
    /// A temporary error in preference to a permanent one.
    pub async fn with_any<T, F>(
        &self,
        op: &str,
        channel: ChannelId,
        mut work: impl FnMut(Arc<Member>, ChannelPeer) -> F,
    ) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut members: Vec<Arc<Member>> = self.members.clone();
        // Parallel calls go to different bots.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % members.len().max(1);
        members.rotate_left(turn);
        members.sort_by_key(|member| member.bot.aside(CallPurpose::Control));
        let mut passing = None;
        let mut lasting = None;
        for member in members {
            let bot = &member.bot;
            if let Some(wait) = bot.aside(CallPurpose::Control) {
                let mut error = RemoteError::new(
                    RemoteErrorKind::RateLimited,
                    format!("{op} with bot {}", bot.number),
                    "the bot is left out for a while: Telegram asked it to wait, or its last calls failed",
                );
                error.retry_after = Some(wait);
                passing.get_or_insert(error);
                continue;
            }
            let tried = self
                .peers
                .with_peer(bot, channel, |peer| work(Arc::clone(&member), peer));
            match tried.await {
                Ok(done) => return Ok(done),
                Err(error) => {
                    let slot = if error.is_passing() || error.wait().is_some() {
                        &mut passing
                    } else {
                        &mut lasting
                    };
                    slot.get_or_insert(error.into_remote(format!("{op} with bot {}", bot.number)));
                }
            }
        }
        Err(passing
            .or(lasting)
            .unwrap_or_else(|| RemoteError::new(RemoteErrorKind::Denied, op, "no bot can do it")))
    }
}
