//! Measurements of the service: round trip, bytes a second, and deletion of old posts. They take at most
//! 64 MiB a bot and a minute in all. They provoke no wait, because posts a minute are not tried out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use grammers_tl_types::{Serializable, functions};
use tokio::time::{Instant, timeout_at};

use super::findings::BotFindings;
use super::patience::PatientBots;
use super::round_trip::{self, MemberInChannel, RoundTrip};
use crate::model::MessageId;
use crate::remote::telegram::bots::bot::{BotClient, CALL_LIMIT};
use crate::remote::telegram::bots::messages::{self, ChannelMessage, Document, IDS_AT_ONCE};
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::channel::binding::probe_without_library;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{MAX_CONNECTIONS, WINDOW};
use crate::remote::telegram::mtproto::reconnecting::ReconnectingConnection;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;
use crate::remote::telegram::packs::parts::{FileUpload, PART_BYTES, PART_LIMIT};
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Time for all bots together.
const TIME: Duration = Duration::from_secs(60);
/// Time for one direction over one or all connections. Rates settle within two seconds.
const LONGEST_STAGE: Duration = Duration::from_secs(4);
const STAGES: u32 = 4;
/// Parts of 512 KiB over one connection: 8 MiB.
const PARTS_OF_ONE: u32 = 16;
/// Parts over all connections: 24 MiB.
const MOST_PARTS: u32 = 48;
const LEAST_PARTS: u32 = 4;
/// Expected ratio of all connections to one, from which the size of the document follows.
const EXPECTED_GAIN: f64 = 4.0;
/// Number of short calls. Their median time counts.
const PINGS: usize = 7;
/// The age from which a post counts as old (<https://core.telegram.org/bots/api#deletemessage>).
const OLD: i32 = 48 * 60 * 60;
/// Number of messages that are searched for an old probe.
const LOOK_BACK: i32 = 2000;

/// Results of all measurements.
#[derive(Debug)]
pub struct Measured {
    /// One for each bot that was measured.
    pub bots: Vec<BotMeasured>,
    /// Outcome of deleting an old post.
    pub old_posts: OldPosts,
}

/// Results of one bot.
#[derive(Debug)]
pub struct BotMeasured {
    /// Its number.
    pub bot: u32,
    /// Its speeds, or why they were not measured.
    pub speeds: Result<BotSpeeds, RemoteError>,
}

/// Speeds of one bot; rates are in bytes a second.
#[derive(Debug, Clone, Copy)]
pub struct BotSpeeds {
    /// Time of a short call.
    pub round_trip: Duration,
    /// Upload over one connection.
    pub connection_up: f64,
    /// Download over one connection.
    pub connection_down: f64,
    /// Upload over all connections.
    pub bot_up: f64,
    /// Download over all connections.
    pub bot_down: f64,
    /// Number of connections of the last two.
    pub connections: usize,
}

/// Outcome of deleting a post that is older than 48 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldPosts {
    /// There was no old probe to delete; one was left for a later run.
    NotTried,
    /// It stays, without an error.
    Kept,
    /// It stays, with an error.
    Refused,
    /// It is gone.
    Deleted,
}

/// Measures the bots whose round trip passed, one after the other.
pub async fn measure(bots: &PatientBots, findings: &BotFindings) -> Measured {
    let end = Instant::now() + TIME;
    let able = able(bots, findings);
    let mut measured = Vec::new();
    for (place, own) in able.iter().enumerate() {
        let left = u32::try_from(able.len() - place).unwrap_or(u32::MAX);
        let time = end.saturating_duration_since(Instant::now()) / left;
        let whole = speeds(bots, own, (time / STAGES).min(LONGEST_STAGE));
        let speeds = match timeout_at(Instant::now() + time * 2, whole).await {
            Ok(speeds) => speeds.inspect_err(|error| bots.note(&own.member, "measure", error)),
            Err(_) => Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                "measure",
                "the connection is too slow to measure it within a minute",
            )),
        };
        measured.push(BotMeasured {
            bot: own.member.bot.number,
            speeds,
        });
    }
    let old_posts = match able.first() {
        Some(own) => old_posts(bots, own).await,
        None => OldPosts::NotTried,
    };
    Measured {
        bots: measured,
        old_posts,
    }
}

/// Returns the bots that can post in their own channel.
fn able(bots: &PatientBots, findings: &BotFindings) -> Vec<MemberInChannel> {
    let members = bots.bots().members().iter().zip(&findings.bots);
    let able = members.filter_map(|(member, bot)| {
        let access = bot.access_to(*bot.own.as_ref().ok()?)?;
        let passed = matches!(access.round_trip, Some(RoundTrip::Passed { .. }));
        let info = access.info.as_ref().ok().filter(|_| passed)?;
        Some(MemberInChannel {
            member: Arc::clone(member),
            peer: info.peer,
        })
    });
    able.collect()
}

async fn speeds(
    bots: &PatientBots,
    own: &MemberInChannel,
    stage: Duration,
) -> Result<BotSpeeds, RemoteError> {
    let bot = &own.member.bot;
    let failed = |error: CallError| error.into_remote("measure");
    let home = bot.home().await.map_err(failed)?;
    let one = MeasuredConnections::open(bot, home, 1);
    let one = one.await.map_err(failed)?;
    let all = MeasuredConnections::open(bot, home, MAX_CONNECTIONS);
    let all = all.await.map_err(failed)?;
    let round_trip = one.round_trip().await.map_err(failed)?;

    let bytes = junk(PARTS_OF_ONE);
    let upload = FileUpload::new(&bytes, "probe.tgfs".into())?;
    let until = StageEnd::Time(Instant::now() + stage);
    let sent = one.rate(PARTS_OF_ONE, sending(&upload, &bytes), until);
    let connection_up = sent.await.map_err(failed)?;

    // The size of a document that takes about a stage. All of its parts have to arrive.
    let parts = connection_up * EXPECTED_GAIN * stage.as_secs_f64() / PART_BYTES as f64;
    let parts = (parts as u32).clamp(LEAST_PARTS, MOST_PARTS);
    let bytes = junk(parts);
    let upload = FileUpload::new(&bytes, "probe.tgfs".into())?;
    let sent = all.rate(parts, sending(&upload, &bytes), StageEnd::Done);
    let bot_up = sent.await.map_err(failed)?;
    let probe = round_trip::post(bots, own, &upload, &bytes).await?;
    let down = download_rates(bot, probe.document.as_ref(), stage).await;
    round_trip::delete(bots, own, probe.id).await?;
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

/// Measures downloads over one connection, and over all.
async fn download_rates(
    bot: &BotClient,
    document: Option<&Document>,
    stage: Duration,
) -> Result<(f64, f64), RemoteError> {
    let failed = |error: CallError| error.into_remote("measure");
    let document = document
        .ok_or_else(|| failed(CallError::Unexpected("the message has no document".into())))?;
    let rate = async |connections, parts| {
        let connections = MeasuredConnections::open(bot, document.dc, connections).await?;
        let until = StageEnd::Time(Instant::now() + stage);
        connections.rate(parts, reading(document), until).await
    };
    let one = rate(1, PARTS_OF_ONE).await.map_err(failed)?;
    let all = rate(MAX_CONNECTIONS, MOST_PARTS).await.map_err(failed)?;
    Ok((one, all))
}

/// Deletes a probe that an earlier run left, if one is old enough. Otherwise leaves one.
async fn old_posts(bots: &PatientBots, own: &MemberInChannel) -> OldPosts {
    try_old_posts(bots, own).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether old posts can be deleted was not found out");
        OldPosts::NotTried
    })
}

async fn try_old_posts(bots: &PatientBots, own: &MemberInChannel) -> Result<OldPosts, RemoteError> {
    let MemberInChannel { member, peer } = own;
    let bot = &member.bot;
    let failed = |error: CallError| error.into_remote("look for an old probe");
    let left = leave_probe(bots, own).await?;
    let first = (left.id.get() - LOOK_BACK).max(1);
    let ids: Vec<MessageId> = (first..left.id.get()).map(MessageId::new).collect();
    let mut probes = Vec::new();
    for ids in ids.chunks(IDS_AT_ONCE) {
        let found = messages::get(bot, *peer, ids).await.map_err(failed)?;
        probes.extend(found.into_iter().flatten().filter(|message| {
            let caption = Caption::read(&message.text);
            caption.is_some_and(|caption| caption.body == CaptionBody::Probe)
        }));
    }
    // One probe is enough to wait for.
    if !probes.is_empty() {
        round_trip::delete(bots, own, left.id).await?;
    }
    let Some(old) = probes.iter().find(|probe| left.date - probe.date >= OLD) else {
        return Ok(OldPosts::NotTried);
    };
    match messages::delete(bot, *peer, &[old.id]).await {
        Err(error) if error.is(&RpcErrorName::MessageDeleteForbidden) => {
            return Ok(OldPosts::Refused);
        }
        outcome => outcome.map_err(failed)?,
    }
    let after = messages::get(bot, *peer, &[old.id]).await.map_err(failed)?;
    Ok(match after.into_iter().flatten().next() {
        Some(_) => OldPosts::Kept,
        None => OldPosts::Deleted,
    })
}

async fn leave_probe(
    bots: &PatientBots,
    own: &MemberInChannel,
) -> Result<ChannelMessage, RemoteError> {
    let MemberInChannel { member, peer } = own;
    let text = &probe_without_library();
    let random_id = random_id()?;
    bots.bots()
        .wait_to_post(peer.channel, PostPriority::Log)
        .await;
    bots.patiently(member, "leave a probe", LONGEST_STAGE, || {
        messages::send_text(&member.bot, *peer, text, random_id)
    })
    .await
}

/// End of a stage.
#[derive(Debug, Clone, Copy)]
enum StageEnd {
    /// The stage ends when all calls are answered.
    Done,
    /// The stage ends at this time, regardless of calls under way.
    Time(Instant),
}

/// Connections that carry nothing but the measurement.
struct MeasuredConnections(Vec<ReconnectingConnection>);

impl MeasuredConnections {
    /// Opens the connections.
    async fn open(bot: &BotClient, dc: i32, connections: usize) -> Result<Self, CallError> {
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

    /// Returns bytes a second over all connections. Each has a full window of calls that move a part.
    async fn rate(
        &self,
        parts: u32,
        body: impl Fn(u32) -> Bytes,
        until: StageEnd,
    ) -> Result<f64, CallError> {
        let begun = Instant::now();
        let next = AtomicU32::new(0);
        // Number of parts that arrived, and time of the last one.
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
            StageEnd::Done => drop(all.await?),
            // Calls under way are abandoned.
            StageEnd::Time(at) => drop(
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

/// Returns the calls that send parts.
fn sending<'a>(upload: &'a FileUpload, bytes: &'a Bytes) -> impl Fn(u32) -> Bytes + 'a {
    move |part| {
        let begin = len_of(part);
        upload.request(bytes, part, &bytes.slice(begin..begin + len_of(1)))
    }
}

/// Returns the calls that read parts. After the document's last whole part they begin again.
fn reading(document: &Document) -> impl Fn(u32) -> Bytes {
    let whole = (document.size / PART_BYTES).max(1);
    move |part| {
        let offset = u64::from(part) % whole * PART_BYTES;
        document.request(offset, PART_BYTES).into()
    }
}
