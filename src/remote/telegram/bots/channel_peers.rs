//! Addresses of channels for each bot: ids behind `@name`s, and access hashes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use grammers_tl_types::{enums, functions};
use tokio::time::Instant;

use super::bot::BotClient;
use super::channel_info::{ChannelInfo, ChannelKind, Right};
use super::membership::{Evidence, MembershipProblems};
use super::messages::ChannelPeer;
use crate::model::{BotId, ChannelId, KeyStore};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::sync::MutexExt as _;

/// Time after which a bot that is not in a channel is asked again, since it may have been added.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Outcome of asking for a channel as one bot.
#[derive(Debug, Clone)]
enum KnownPeer {
    /// The access hash.
    Inside(i64),
    /// The bot is not in the channel.
    Outside { since: Instant, error: CallError },
}

impl KnownPeer {
    /// Returns why the bot is outside, as long as that answer is valid.
    fn refusal(&self) -> Option<&CallError> {
        match self {
            Self::Outside { since, error } if since.elapsed() < ASK_AGAIN => Some(error),
            Self::Outside { .. } | Self::Inside(_) => None,
        }
    }
}

/// Cache of channel addresses. Access hashes and ids are kept over restarts.
#[derive(Debug)]
pub struct ChannelPeers {
    keys: Arc<dyn KeyStore>,
    peers: Mutex<HashMap<(BotId, ChannelId), KnownPeer>>,
    /// Locks of the bots that ask for an address again.
    renewing: Mutex<HashMap<BotId, Arc<tokio::sync::Mutex<()>>>>,
    problems: MembershipProblems,
    /// Channel ids by `@name`.
    names: Mutex<HashMap<String, ChannelId>>,
}

impl ChannelPeers {
    /// Makes an empty cache over `keys`.
    pub fn new(keys: Arc<dyn KeyStore>) -> Self {
        Self {
            keys,
            peers: Mutex::default(),
            renewing: Mutex::default(),
            problems: MembershipProblems::default(),
            names: Mutex::default(),
        }
    }

    /// Returns the problems of bots in their channels.
    pub const fn problems(&self) -> &MembershipProblems {
        &self.problems
    }

    /// Returns the id of a channel given as `-100…` or `@name`. A name is resolved once
    /// (`contacts.resolveUsername`, which the service limits hard).
    ///
    /// # Errors
    /// When the text is no id, or the name is no channel's.
    pub async fn id_of(&self, bot: &BotClient, chat: &str) -> Result<ChannelId, CallError> {
        let Some(name) = chat.strip_prefix('@') else {
            return ChannelId::from_chat_id(chat)
                .ok_or_else(|| CallError::Misfit(format!("{chat} is not the id of a channel")));
        };
        let name = name.to_lowercase();
        if let Some(id) = self.names.acquire().get(&name) {
            return Ok(*id);
        }
        let id = match self.kept(&name_row(&name)) {
            Some(id) => ChannelId::new(id),
            None => self.resolve(bot, &name).await?,
        };
        self.names.acquire().insert(name, id);
        Ok(id)
    }

    async fn resolve(&self, bot: &BotClient, name: &str) -> Result<ChannelId, CallError> {
        let request = functions::contacts::ResolveUsername {
            username: name.to_owned(),
            referer: None,
        };
        let enums::contacts::ResolvedPeer::Peer(found) = bot.call(&request).await?;
        let enums::Peer::Channel(channel) = found.peer else {
            return Err(CallError::Misfit(format!(
                "@{name} is not a channel: name one that the bot is an administrator of"
            )));
        };
        self.keep(&name_row(name), channel.channel_id);
        for chat in found.chats {
            if let enums::Chat::Channel(channel) = chat
                && let Some(hash) = channel.access_hash
            {
                self.remember(bot, ChannelId::new(channel.id), hash);
            }
        }
        Ok(ChannelId::new(channel.channel_id))
    }

    /// Returns how `bot` addresses `channel`.
    ///
    /// # Errors
    /// When the bot is not in the channel, as found at most a minute ago.
    pub async fn peer(
        &self,
        bot: &BotClient,
        channel: ChannelId,
    ) -> Result<ChannelPeer, CallError> {
        match self.peers().get(&(bot.id, channel)) {
            Some(KnownPeer::Inside(hash)) => {
                return Ok(ChannelPeer {
                    channel,
                    hash: *hash,
                });
            }
            Some(known) => {
                if let Some(error) = known.refusal() {
                    return Err(error.clone());
                }
            }
            None => {}
        }
        if let Some(hash) = self.kept(&peer_row(bot, channel)) {
            self.peers()
                .insert((bot.id, channel), KnownPeer::Inside(hash));
            return Ok(ChannelPeer { channel, hash });
        }
        self.look(bot, channel).await.map(|info| info.peer)
    }

    /// Returns whether no known fact speaks against `bot` being in `channel`.
    pub fn may_enter(&self, bot: &BotClient, channel: ChannelId) -> bool {
        let peers = self.peers();
        let known = peers.get(&(bot.id, channel));
        known.and_then(KnownPeer::refusal).is_none()
    }

    /// Asks the service about a channel (`channels.getChannels`; a member needs no hash for it).
    ///
    /// # Errors
    /// When the bot is not in the channel, or cannot ask.
    pub async fn look(
        &self,
        bot: &BotClient,
        channel: ChannelId,
    ) -> Result<ChannelInfo, CallError> {
        let nobody = ChannelPeer { channel, hash: 0 };
        let request = functions::channels::GetChannels {
            id: vec![nobody.input_channel()],
        };
        let answer = bot.call(&request).await;
        match answer.and_then(|chats| ChannelInfo::from_chats(chats, channel)) {
            Ok(info) => {
                self.remember(bot, channel, info.peer.hash);
                if info.rights.post == Right::Granted {
                    let by = match info.kind {
                        ChannelKind::Broadcast => Evidence::Posted,
                        ChannelKind::Group => Evidence::Asked,
                    };
                    self.problems.end(bot.number, channel, by);
                }
                Ok(info)
            }
            Err(error) => {
                if error.is_missing_right() {
                    self.note_outside(bot, channel, &error);
                }
                Err(error)
            }
        }
    }

    /// Calls `work` with the address of `channel` as `bot` knows it. When the service does not take the
    /// address, asks for it again and calls `work` once more.
    ///
    /// # Errors
    /// That of `work`, or the reason why the bot is not in the channel.
    pub async fn with_peer<T, F>(
        &self,
        bot: &BotClient,
        channel: ChannelId,
        mut work: impl FnMut(ChannelPeer) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let peer = self.peer(bot, channel).await?;
        match work(peer).await {
            Err(error) => match self.renew(bot, peer, &error).await {
                Some(renewed) => work(renewed).await,
                None => Err(error),
            },
            done => done,
        }
    }

    /// Asks for the address of a channel again after the service refused `refused` with `error`. Returns
    /// `None` when the error has another reason, or the bot is not in the channel.
    pub async fn renew(
        &self,
        bot: &BotClient,
        refused: ChannelPeer,
        error: &CallError,
    ) -> Option<ChannelPeer> {
        if !error.is_refused_address() {
            return None;
        }
        let channel = refused.channel;
        let turn = Arc::clone(self.renewing.acquire().entry(bot.id).or_default());
        let _turn = turn.lock().await;
        // Calls that were refused together ask once.
        let known = self.peers().get(&(bot.id, channel)).cloned();
        match known {
            Some(KnownPeer::Inside(hash)) if hash != refused.hash => {
                Some(ChannelPeer { channel, hash })
            }
            Some(known) if known.refusal().is_some() => None,
            _ => self.look(bot, channel).await.ok().map(|info| info.peer),
        }
    }

    /// Notes that a bot is not in a channel. For a bot that was in it, this is a problem.
    fn note_outside(&self, bot: &BotClient, channel: ChannelId, error: &CallError) {
        let row = peer_row(bot, channel);
        if self.kept(&row).is_some() {
            self.problems
                .begin(bot.number, channel, Evidence::Asked, error);
            if let Err(error) = self.keys.remove(row.as_bytes()) {
                tracing::warn!(%error, "an access hash cannot be removed");
            }
        }
        let outside = KnownPeer::Outside {
            since: Instant::now(),
            error: error.clone(),
        };
        self.peers().insert((bot.id, channel), outside);
    }

    fn remember(&self, bot: &BotClient, channel: ChannelId, hash: i64) {
        self.peers()
            .insert((bot.id, channel), KnownPeer::Inside(hash));
        self.keep(&peer_row(bot, channel), hash);
    }

    fn keep(&self, row: &str, number: i64) {
        if let Err(error) = self.keys.put(row.as_bytes(), &number.to_le_bytes()) {
            // The next start asks the service again.
            tracing::warn!(%error, "the address of a channel cannot be kept");
        }
    }

    fn kept(&self, row: &str) -> Option<i64> {
        let bytes = self.keys.get(row.as_bytes()).ok().flatten()?;
        bytes.try_into().ok().map(i64::from_le_bytes)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<(BotId, ChannelId), KnownPeer>> {
        self.peers.acquire()
    }
}

/// Returns the row of a bot's access hash for a channel; the name is frozen.
fn peer_row(bot: &BotClient, channel: ChannelId) -> String {
    format!("bot/{}/channel/{}", bot.id, channel.get())
}

/// Returns the row of the id of `@name`; the name is frozen.
fn name_row(name: &str) -> String {
    format!("name/{name}")
}
