//! All bots together: which channels they are in, by which hash, and who does the next thing.

pub mod bot;
pub mod messages;
pub mod rate_limit;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use grammers_tl_types::{Serializable, enums, functions, types};
use tokio::time::Instant;

use self::bot::{BotClient, CALL_LIMIT};
use self::messages::ChannelPeer;
use super::mtproto::call_error::CallError;
use super::mtproto::connection_pool::CallPurpose;
use super::mtproto::data_centres::DataCentres;
use super::{BotSettings, Publicity, Settings};
use crate::model::KeyStore;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// What the Bot API puts before a channel's id.
const BOT_API_OFFSET: i64 = 1_000_000_000_000;
/// A bot that is not in a channel is asked again after this long: it may have been added.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// One bot with what the settings say of it.
#[derive(Debug)]
pub struct Member {
    pub bot: BotClient,
    /// CHAT_ID_n as written.
    pub chat: String,
}

/// A channel's access hash for a bot, or why it did not get in, and when.
type KnownPeers = HashMap<(i64, i64), Result<i64, (Instant, CallError)>>;

#[derive(Debug)]
pub struct Bots {
    members: Vec<Arc<Member>>,
    keys: Arc<dyn KeyStore>,
    /// By bot and channel; an error with the time when it was met.
    peers: Mutex<KnownPeers>,
    /// Channel ids by `@name`.
    names: Mutex<HashMap<String, i64>>,
    turn: AtomicUsize,
    publicity: Publicity,
    /// Public channels that were told of.
    told_public: Mutex<BTreeSet<i64>>,
}

/// What a bot may do in a channel (`chatAdminRights`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub post: Right,
    pub edit: Right,
    pub delete: Right,
    pub pin: Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Granted,
    Missing,
}

impl Right {
    const fn from_flag(flag: bool) -> Self {
        if flag { Self::Granted } else { Self::Missing }
    }
}

/// A channel as the service describes it to one bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    pub peer: ChannelPeer,
    pub title: String,
    /// Public channels have one: everybody can read them.
    pub username: Option<String>,
    pub kind: ChannelKind,
    pub slow_mode: SlowMode,
    pub rights: Rights,
}

/// Whether members must wait between two messages, which groups can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowMode {
    Off,
    On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    Broadcast,
    /// A group, where bots of others can read along and slow mode exists.
    Group,
}

impl Bots {
    pub fn new(settings: &Settings, keys: &Arc<dyn KeyStore>) -> Self {
        let centres = Arc::new(DataCentres::new(settings.server.clone()));
        let member = |bot: &BotSettings| {
            Arc::new(Member {
                bot: BotClient::new(
                    bot.number,
                    bot.token.clone(),
                    settings.api.clone(),
                    Arc::clone(&centres),
                    Arc::clone(keys),
                ),
                chat: bot.chat.clone(),
            })
        };
        Self {
            members: settings.bots.iter().map(member).collect(),
            keys: Arc::clone(keys),
            peers: Mutex::default(),
            names: Mutex::default(),
            turn: AtomicUsize::new(0),
            publicity: settings.publicity,
            told_public: Mutex::default(),
        }
    }

    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The id of a bot's own channel, asked for once where it is given by name
    /// (`contacts.resolveUsername`, which the service limits hard).
    pub async fn channel_of(&self, member: &Member) -> Result<i64, CallError> {
        self.channel_named(&member.bot, &member.chat).await
    }

    /// The id of any channel, `-100…` or `@name`.
    pub async fn channel_named(&self, bot: &BotClient, chat: &str) -> Result<i64, CallError> {
        let Some(name) = chat.strip_prefix('@') else {
            return bare_id(chat)
                .ok_or_else(|| CallError::Misfit(format!("{chat} is no channel id")));
        };
        let name = name.to_lowercase();
        if let Some(id) = self.named().get(&name) {
            return Ok(*id);
        }
        let row = format!("name/{name}");
        let kept = self.keys.get(row.as_bytes()).ok().flatten();
        let kept = kept.and_then(|bytes| bytes.try_into().ok().map(i64::from_le_bytes));
        let id = match kept {
            Some(id) => id,
            None => self.resolve(bot, &name).await?,
        };
        self.named().insert(name, id);
        Ok(id)
    }

    async fn resolve(&self, bot: &BotClient, name: &str) -> Result<i64, CallError> {
        let request = functions::contacts::ResolveUsername {
            username: name.to_owned(),
            referer: None,
        };
        let enums::contacts::ResolvedPeer::Peer(found) = bot.call(&request).await?;
        let enums::Peer::Channel(channel) = found.peer else {
            return Err(CallError::Misfit(format!(
                "@{name} is no channel: give one that the bot is an administrator of"
            )));
        };
        self.keep(&format!("name/{name}"), channel.channel_id);
        for chat in found.chats {
            if let enums::Chat::Channel(channel) = chat
                && let Some(hash) = channel.access_hash
            {
                self.remember(bot, channel.id, hash);
            }
        }
        Ok(channel.channel_id)
    }

    /// How `bot` addresses `channel`.
    ///
    /// # ReadErrors
    /// That it is not in there, as it was found at most a minute ago.
    pub async fn peer(&self, bot: &BotClient, channel: i64) -> Result<ChannelPeer, CallError> {
        match self.peers().get(&(bot.id, channel)) {
            Some(Ok(hash)) => {
                return Ok(ChannelPeer {
                    channel,
                    hash: *hash,
                });
            }
            Some(Err((at, error))) if at.elapsed() < ASK_AGAIN => return Err(error.clone()),
            _ => {}
        }
        let row = peer_row(bot, channel);
        let kept = self.keys.get(row.as_bytes()).ok().flatten();
        if let Some(hash) = kept.and_then(|bytes| bytes.try_into().ok().map(i64::from_le_bytes)) {
            self.peers().insert((bot.id, channel), Ok(hash));
            return Ok(ChannelPeer { channel, hash });
        }
        self.look(bot, channel).await.map(|info| info.peer)
    }

    /// Makes what a bot's first read needs: the sign-in, the way into its channel, a lane.
    pub async fn warm(&self, member: &Member) {
        let bot = &member.bot;
        let ready = async {
            let channel = self.channel_of(member).await?;
            // Asked anew at each start: rights come and go.
            let info = self.look(bot, channel).await?;
            self.warn_public(&info);
            if info.rights.post == Right::Missing {
                return Err(CallError::rpc(403, "CHAT_WRITE_FORBIDDEN"));
            }
            let ping = functions::Ping { ping_id: 1 }.to_bytes().into();
            bot.send(None, CallPurpose::Read, ping, 0, CALL_LIMIT).await
        };
        if let Err(error) = ready.await {
            let op = format!("get bot {} ready for channel {}", bot.number, member.chat);
            let error = error.into_remote(op);
            tracing::warn!(%error, "a bot is not ready");
        }
    }

    /// Told once a channel, where nothing is encrypted.
    fn warn_public(&self, info: &ChannelInfo) {
        let Some(username) = &info.username else {
            return;
        };
        let is_new = self.told_public.acquire().insert(info.peer.channel);
        if self.publicity == Publicity::Matters && is_new {
            tracing::warn!(
                "channel @{username} is public: everybody can read what is stored there; make it private, or set TGFS_PASSPHRASE before the first upload"
            );
        }
    }

    /// Whether nothing is known that speaks against `bot` being in `channel`.
    pub fn may_enter(&self, bot: &BotClient, channel: i64) -> bool {
        !matches!(
            self.peers().get(&(bot.id, channel)),
            Some(Err((at, _))) if at.elapsed() < ASK_AGAIN
        )
    }

    /// Asks the service about a channel (`channels.getChannels`; a member needs no hash for it).
    pub async fn look(&self, bot: &BotClient, channel: i64) -> Result<ChannelInfo, CallError> {
        let nobody = ChannelPeer { channel, hash: 0 };
        let request = functions::channels::GetChannels {
            id: vec![nobody.input_channel()],
        };
        let outcome = match bot.call(&request).await {
            Ok(chats) => describe(chats, channel),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(info) => {
                self.remember(bot, channel, info.peer.hash);
                Ok(info)
            }
            Err(error) => {
                if error.is_missing_right() {
                    let met = (Instant::now(), error.clone());
                    self.peers().insert((bot.id, channel), Err(met));
                }
                Err(error)
            }
        }
    }

    /// A peer that did not open is asked for anew the next time.
    pub fn forget_peer(&self, bot: &BotClient, channel: i64) {
        self.peers().remove(&(bot.id, channel));
        if let Err(error) = self.keys.remove(peer_row(bot, channel).as_bytes()) {
            tracing::warn!(%error, "an access hash cannot be removed");
        }
    }

    fn remember(&self, bot: &BotClient, channel: i64, hash: i64) {
        self.peers().insert((bot.id, channel), Ok(hash));
        self.keep(&peer_row(bot, channel), hash);
    }

    fn keep(&self, row: &str, number: i64) {
        if let Err(error) = self.keys.put(row.as_bytes(), &number.to_le_bytes()) {
            // It is asked for again at the next start.
            tracing::warn!(%error, "what the service told cannot be kept");
        }
    }

    fn peers(&self) -> MutexGuard<'_, KnownPeers> {
        self.peers.acquire()
    }
    fn named(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.names.acquire()
    }

    /// The channels that bots post to, each once, with the first of the errors of those that cannot
    /// tell theirs.
    pub async fn channels(&self) -> Result<Vec<i64>, RemoteError> {
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

    /// Tries `work` with one bot after the other, those that are not set aside first, until one can.
    /// For what any member of the channel may do.
    ///
    /// # ReadErrors
    /// What helps most to know: an error that passes before one that does not.
    pub async fn with_any<T, F>(
        &self,
        op: &str,
        channel: i64,
        mut work: impl FnMut(Arc<Member>, ChannelPeer) -> F,
    ) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut members: Vec<Arc<Member>> = self.members.clone();
        // Several calls side by side go to several bots.
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
                    "it rests for a while: Telegram asked it to wait, or its last calls failed",
                );
                error.retry_after = Some(wait);
                passing.get_or_insert(error);
                continue;
            }
            let outcome = match self.peer(bot, channel).await {
                Ok(peer) => work(Arc::clone(&member), peer).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(done) => return Ok(done),
                Err(error) => {
                    if error.is_missing_right() {
                        self.forget_refused_peer(bot, channel, &error);
                    }
                    let slot = if error.is_passing() || error.wait().is_some() {
                        &mut passing
                    } else {
                        &mut lasting
                    };
                    slot.get_or_insert(error.into_remote(format!("{op} with bot {}", bot.number)));
                }
            }
        }
        Err(passing.or(lasting).unwrap_or_else(|| {
            RemoteError::new(RemoteErrorKind::Denied, op, "there is no bot for it")
        }))
    }

    /// A hash that the service does not take (any more) must not be used for ever.
    fn forget_refused_peer(&self, bot: &BotClient, channel: i64, error: &CallError) {
        let known = matches!(self.peers().get(&(bot.id, channel)), Some(Ok(_)));
        if known && (error.is("CHANNEL_INVALID") || error.is("CHANNEL_PRIVATE")) {
            self.forget_peer(bot, channel);
        }
    }
}

fn peer_row(bot: &BotClient, channel: i64) -> String {
    format!("bot/{}/channel/{channel}", bot.id)
}

/// `-1001234567890` and `1234567890` are the same channel.
pub fn bare_id(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    let bare = if number < -BOT_API_OFFSET {
        -number - BOT_API_OFFSET
    } else {
        number
    };
    (bare > 0).then_some(bare)
}

fn describe(chats: enums::messages::Chats, wanted: i64) -> Result<ChannelInfo, CallError> {
    let chats = match chats {
        enums::messages::Chats::Chats(found) => found.chats,
        enums::messages::Chats::Slice(found) => found.chats,
    };
    let channel = chats.into_iter().find_map(|chat| match chat {
        enums::Chat::Channel(channel) if channel.id == wanted => Some(channel),
        _ => None,
    });
    let not_in = || CallError::rpc(400, "CHANNEL_PRIVATE");
    let channel = channel.ok_or_else(not_in)?;
    let hash = channel.access_hash.ok_or_else(not_in)?;
    if channel.left {
        return Err(not_in());
    }
    let rights = rights(&channel);
    Ok(ChannelInfo {
        peer: ChannelPeer {
            channel: channel.id,
            hash,
        },
        title: channel.title,
        username: channel.username,
        kind: match channel.broadcast {
            true => ChannelKind::Broadcast,
            false => ChannelKind::Group,
        },
        slow_mode: match channel.slowmode_enabled {
            true => SlowMode::On,
            false => SlowMode::Off,
        },
        rights,
    })
}

fn rights(channel: &types::Channel) -> Rights {
    let granted = |flag: fn(&types::ChatAdminRights) -> bool| {
        let told = channel
            .admin_rights
            .as_ref()
            .is_some_and(|enums::ChatAdminRights::Rights(rights)| flag(rights));
        Right::from_flag(told || channel.creator)
    };
    Rights {
        // In a group every member posts.
        post: match channel.broadcast {
            true => granted(|rights| rights.post_messages),
            false => Right::Granted,
        },
        edit: granted(|rights| rights.edit_messages),
        delete: granted(|rights| rights.delete_messages),
        pin: granted(|rights| rights.pin_messages || rights.edit_messages),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_ids_come_in_two_forms() {
        assert_eq!(bare_id("-1001234567890"), Some(1_234_567_890));
        assert_eq!(bare_id("1234567890"), Some(1_234_567_890));
        assert_eq!(bare_id("-5"), None);
        assert_eq!(bare_id("@name"), None);
    }
}
