//! What the service lets a bot do: round trip, bytes a second, whether old posts can be deleted. Within
//! 64 MiB a bot and a minute in all, and without provoking a wait: posts a minute are not tried out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use grammers_tl_types::{Serializable, functions};
use tokio::time::{Instant, timeout_at};

use super::probe::{BotCheck, BotFindings};
use super::round_trip::probe_text;
use crate::remote::telegram::bots::Member;
use crate::remote::telegram::bots::bot::{BotClient, CALL_LIMIT};
use crate::remote::telegram::bots::messages::{
    self, ChannelMessage, ChannelPeer, Document, IDS_AT_ONCE,
};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{MAX_CONNECTIONS, WINDOW};
use crate::remote::telegram::mtproto::reconnecting::ReconnectingConnection;
use crate::remote::telegram::packs::parts::{FileUpload, PART_BYTES, PART_LIMIT, random_id};
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// For all bots together.
const TIME: Duration = Duration::from_secs(60);
/// For one direction over one or all connections: rates settle within two seconds.
const LONGEST_STAGE: Duration = Duration::from_secs(4);
const STAGES: u32 = 4;
/// Parts of 512 KiB over one connection: 8 MiB.
const PARTS_OF_ONE: u32 = 16;
/// Parts over all connections: 24 MiB.
const MOST_PARTS: u32 = 48;
const LEAST_PARTS: u32 = 4;
/// How much faster all connections are expected to be than one, for the size of the document.
const EXPECTED_GAIN: f64 = 4.0;
/// Short calls whose middle time counts.
const PINGS: usize = 7;
/// The age from which a post counts as old (<https://core.telegram.org/bots/api#deletemessage>).
const OLD: i32 = 48 * 60 * 60;
/// Posts that are looked through for an old probe.
const LOOK_BACK: i32 = 2000;

/// What was learned.
#[derive(Debug)]
pub struct Measured {
    pub bots: Vec<BotMeasured>,
    pub old_posts: OldPosts,
}

#[derive(Debug)]
pub struct BotMeasured {
    pub bot: u32,
    pub figures: Result<BotSpeeds, RemoteError>,
}

/// Rates in bytes a second.
#[derive(Debug, Clone, Copy)]
pub struct BotSpeeds {
    pub round_trip: Duration,
    pub connection_up: f64,
    pub connection_down: f64,
    pub bot_up: f64,
    pub bot_down: f64,
    /// Connections behind the last two.
    pub connections: usize,
}

/// What becomes of posts older than 48 hours when a bot deletes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldPosts {
    /// There was no old probe to delete; one was left for a later time.
    NotTried,
    /// They stay, without an error.
    Kept,
    /// An error says that they stay.
    Refused,
    Deleted,
}

impl BotCheck {
    /// Measures the bots that passed their round_trip, one after the other.
    pub async fn measure(&self, probed: &BotFindings) -> Measured {
        let end = Instant::now() + TIME;
        let able: Vec<(&Arc<Member>, ChannelPeer)> = self.able(probed);
        let mut bots = Vec::new();
        for (place, (member, peer)) in able.iter().enumerate() {
            let left = u32::try_from(able.len() - place).unwrap_or(u32::MAX);
            let time = end.saturating_duration_since(Instant::now()) / left;
            let whole = self.figures(member, *peer, (time / STAGES).min(LONGEST_STAGE));
            let figures = match timeout_at(Instant::now() + time * 2, whole).await {
                Ok(figures) => figures.inspect_err(|error| self.note(member, "measure", error)),
                Err(_) => Err(RemoteError::new(
                    RemoteErrorKind::Unavailable,
                    "measure",
                    "the connection is too slow to measure it within a minute",
                )),
            };
            bots.push(BotMeasured {
                bot: member.bot.number,
                figures,
            });
        }
        let old_posts = match able.first() {
            Some((member, peer)) => self.old_posts(member, *peer).await,
            None => OldPosts::NotTried,
        };
        Measured { bots, old_posts }
    }

    /// Bots that can post in their own channel, with the way there.
    fn able(&self, probed: &BotFindings) -> Vec<(&Arc<Member>, ChannelPeer)> {
        let members = self.bots.members().iter().zip(&probed.bots);
        let able = members.filter_map(|(member, bot)| {
            let own = *bot.own.as_ref().ok()?;
            let access = bot.access.iter().find(|access| access.channel == own)?;
            let posted = matches!(
                access.round_trip,
                Some(crate::remote::telegram::RoundTrip::Passed { .. })
            );
            let info = access.info.as_ref().ok().filter(|_| posted)?;
            Some((member, info.peer))
        });
        able.collect()
    }

    async fn figures(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
        stage: Duration,
    ) -> Result<BotSpeeds, RemoteError> {
        let bot = &member.bot;
        let failed = |error: CallError| error.into_remote("measure");
        let home = bot.home().await.map_err(failed)?;
        let one = Rig::new(bot, home, 1).await.map_err(failed)?;
        let all = Rig::new(bot, home, MAX_CONNECTIONS).await.map_err(failed)?;
        let round_trip = one.round_trip().await.map_err(failed)?;

        let bytes = junk(PARTS_OF_ONE);
        let upload = FileUpload::new(&bytes, "probe.tgfs".into())?;
        let until = Until::Time(Instant::now() + stage);
        let sent = one.rate(PARTS_OF_ONE, sending(&upload, &bytes), until);
        let connection_up = sent.await.map_err(failed)?;

        // A document that takes about a stage, and all of whose parts have to arrive.
        let parts = connection_up * EXPECTED_GAIN * stage.as_secs_f64() / PART_BYTES as f64;
        let parts = (parts as u32).clamp(LEAST_PARTS, MOST_PARTS);
        let bytes = junk(parts);
        let upload = FileUpload::new(&bytes, "probe.tgfs".into())?;
        let sent = all.rate(parts, sending(&upload, &bytes), Until::Done);
        let bot_up = sent.await.map_err(failed)?;
        let post = self.post(member, peer, &upload, &bytes).await?;
        let down = self.rates_down(member, &post.document, stage).await;
        self.delete(member, peer, post.id).await?;
        let (connection_down, bot_down) = down?;
        Ok(BotSpeeds {
            round_trip,
            connection_up,
            connection_down,
            bot_up: bot_up.max(connection_up),
            bot_down: bot_down.max(connection_down),
            connections: MAX_CONNECTIONS,
        })
    }

    /// Over one connection, and over all.
    async fn rates_down(
        &self,
        member: &Arc<Member>,
        document: &Option<Document>,
        stage: Duration,
    ) -> Result<(f64, f64), RemoteError> {
        let failed = |error: CallError| error.into_remote("measure");
        let document = document
            .as_ref()
            .ok_or_else(|| failed(CallError::Unexpected("the post has no document".into())))?;
        let rate = async |connections, parts| {
            let rig = Rig::new(&member.bot, document.dc, connections).await?;
            let until = Until::Time(Instant::now() + stage);
            rig.rate(parts, reading(document), until).await
        };
        let one = rate(1, PARTS_OF_ONE).await.map_err(failed)?;
        let all = rate(MAX_CONNECTIONS, MOST_PARTS).await.map_err(failed)?;
        Ok((one, all))
    }

    /// Deletes a probe that an earlier run left, where one is old enough; else leaves one.
    async fn old_posts(&self, member: &Arc<Member>, peer: ChannelPeer) -> OldPosts {
        self.try_old_posts(member, peer)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "whether old posts can be deleted was not found out");
                OldPosts::NotTried
            })
    }

    async fn try_old_posts(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
    ) -> Result<OldPosts, RemoteError> {
        let bot = &member.bot;
        let failed = |error: CallError| error.into_remote("look for an old probe");
        let left = self.leave_probe(member, peer).await?;
        let first = (left.id - LOOK_BACK).max(1);
        let ids: Vec<i32> = (first..left.id).collect();
        let mut probes = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let found = messages::get(bot, peer, ids).await.map_err(failed)?;
            probes.extend(found.into_iter().flatten().filter(|post| {
                Caption::read(&post.text).is_some_and(|caption| caption.body == CaptionBody::Probe)
            }));
        }
        // One is enough to wait for.
        if !probes.is_empty() {
            self.delete(member, peer, left.id).await?;
        }
        let Some(old) = probes.iter().find(|post| left.date - post.date >= OLD) else {
            return Ok(OldPosts::NotTried);
        };
        match messages::delete(bot, peer, &[old.id]).await {
            Err(error) if error.is("MESSAGE_DELETE_FORBIDDEN") => return Ok(OldPosts::Refused),
            outcome => outcome.map_err(failed)?,
        }
        let after = messages::get(bot, peer, &[old.id]).await.map_err(failed)?;
        Ok(match after.into_iter().flatten().next() {
            Some(_) => OldPosts::Kept,
            None => OldPosts::Deleted,
        })
    }

    async fn leave_probe(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
    ) -> Result<ChannelMessage, RemoteError> {
        let text = &probe_text();
        let random_id = random_id()?;
        self.rate_limiter
            .turn(peer.channel, PostPriority::Log)
            .await;
        self.patiently(member, "leave a probe", LONGEST_STAGE, || {
            messages::send_text(&member.bot, peer, text, random_id)
        })
        .await
    }
}

/// When a stage ends.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// With all calls answered.
    Done,
    /// Then, whatever is under way.
    Time(Instant),
}

/// Connections of their own, so that what is measured is known.
struct Rig(Vec<ReconnectingConnection>);

impl Rig {
    /// Connected.
    async fn new(bot: &BotClient, dc: i32, connections: usize) -> Result<Self, CallError> {
        let target = bot.target(dc).await?;
        let connections: Vec<ReconnectingConnection> = (0..connections)
            .map(|_| ReconnectingConnection::new(target.clone()))
            .collect();
        try_join_all(
            connections
                .iter()
                .map(|connection| connection.call(ping(), CALL_LIMIT)),
        )
        .await?;
        Ok(Self(connections))
    }

    async fn round_trip(&self) -> Result<Duration, CallError> {
        let mut times = Vec::new();
        for connection in self.0.iter().cycle().take(PINGS) {
            let begun = Instant::now();
            connection.call(ping(), CALL_LIMIT).await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    }

    /// Bytes a second over all connections, each with a full window of calls that move a part.
    async fn rate(
        &self,
        parts: u32,
        body: impl Fn(u32) -> Bytes,
        until: Until,
    ) -> Result<f64, CallError> {
        let begun = Instant::now();
        let next = AtomicU32::new(0);
        // Parts that arrived, and when the last one did.
        let arrived = Mutex::new((0_u32, begun));
        let work = async |connection: &ReconnectingConnection| {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    return Ok(());
                }
                connection.call(body(part), PART_LIMIT).await?;
                let mut arrived = arrived.acquire();
                *arrived = (arrived.0 + 1, Instant::now());
            }
        };
        let connections = self.0.iter().flat_map(|connection| [connection; WINDOW]);
        let all = try_join_all(connections.map(work));
        match until {
            Until::Done => drop(all.await?),
            // Those under way are given up.
            Until::Time(at) => drop(
                timeout_at(at, all)
                    .await
                    .unwrap_or_else(|_| Ok(Vec::new()))?,
            ),
        }
        let (count, last) = *arrived.acquire();
        let seconds = (last - begun).as_secs_f64();
        if count == 0 || seconds <= 0.0 {
            return Err(CallError::TimedOut(begun.elapsed()));
        }
        Ok(f64::from(count) * PART_BYTES as f64 / seconds)
    }
}

fn ping() -> Bytes {
    functions::updates::GetState {}.to_bytes().into()
}

fn junk(parts: u32) -> Bytes {
    vec![0x5a; len_of(parts)].into()
}

fn len_of(parts: u32) -> usize {
    usize::try_from(u64::from(parts) * PART_BYTES).unwrap_or(usize::MAX)
}

/// The call that sends a part.
fn sending<'a>(upload: &'a FileUpload, bytes: &'a Bytes) -> impl Fn(u32) -> Bytes + 'a {
    move |part| {
        let begin = len_of(part);
        upload.request(bytes, part, &bytes.slice(begin..begin + len_of(1)))
    }
}

/// The call that reads a part; behind the document's last whole one it begins again.
fn reading(document: &Document) -> impl Fn(u32) -> Bytes {
    let whole = (document.size / PART_BYTES).max(1);
    move |part| {
        let offset = u64::from(part) % whole * PART_BYTES;
        document.request(offset, PART_BYTES).into()
    }
}
