//! Download of documents. Each call goes to the bot that is likely to answer first, and also to another
//! one when it is late.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::get_file::{calls_for, file_bytes};
use super::hedging::{Hedges, ReaderLoad};
use super::read_errors::ReadErrors;
use crate::model::{ByteRange, ChannelId, TelegramAddress};
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::{Bots, Member};
use crate::remote::telegram::channel::locations::DocumentLocations;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{CallPurpose, WINDOW};
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;
use crate::remote::{RemoteError, RemoteErrorKind, Urgency};

/// Time limit of one call, from the moment at which it has room on a connection.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Calls of one read side by side. A read is a block, so this matters for tables and log objects.
const SIDE_BY_SIDE: usize = 16;
/// Factor by which a late call takes longer than most others. Another bot is then asked.
const LATE_FACTOR: f64 = 1.5;
/// The same for a call that nobody waits for yet.
const LATE_AHEAD_FACTOR: f64 = 3.0;
/// Time before which no call is late. A quick call needs no help.
const LEAST_LATE: Duration = Duration::from_millis(60);
/// Time after which a call is late while nothing is known about the usual time of calls.
const UNKNOWN_LATE: Duration = Duration::from_millis(1500);
/// Longest pause between two looks for a bot with room.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Assumed time of a call at a bot without any. It is less than a real one takes, so the bot is tried.
const UNTRIED: Duration = Duration::from_millis(20);
/// Cost added for a bot that has to wait.
const ASIDE_COST: Duration = Duration::from_secs(60);
/// Cost added for the bot that wrote the document. Another one reads it, so nothing depends on the word of
/// one bot.
const WRITER_COST: Duration = Duration::from_secs(1);
/// Cost added for a bot that is not in the channel.
const OUTSIDE_COST: Duration = Duration::from_secs(3600);

/// Times that one call follows the service to another data centre.
const MOST_MOVES: u32 = 2;

/// Document in a channel.
#[derive(Debug, Clone, Copy)]
pub struct StoredDocument {
    /// Its channel and message.
    pub address: TelegramAddress,
    /// Its bytes.
    pub len: u64,
}

/// One call of a read.
#[derive(Debug, Clone, Copy)]
struct FileRead {
    address: TelegramAddress,
    offset: u64,
    limit: u64,
    urgency: Urgency,
}

impl FileRead {
    const fn purpose(self) -> CallPurpose {
        match self.urgency {
            Urgency::Waited => CallPurpose::Read,
            Urgency::Ahead => CallPurpose::Ahead,
        }
    }
}

/// Reader of documents, with all bots.
#[derive(Debug)]
pub struct DocumentReader {
    bots: Arc<Bots>,
    locations: Arc<DocumentLocations>,
    load: ReaderLoad,
}

impl DocumentReader {
    /// Makes a reader over all `bots`.
    pub fn new(bots: Arc<Bots>, locations: Arc<DocumentLocations>) -> Self {
        Self {
            load: ReaderLoad::new(bots.members().len()),
            bots,
            locations,
        }
    }

    /// Reads exactly the bytes of `range`.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`] when the message is gone.
    pub async fn read(
        &self,
        op: &str,
        document: StoredDocument,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        let StoredDocument { address, len } = document;
        if range.end() > len {
            let message = "the range passes the end of the document";
            return Err(RemoteError::new(RemoteErrorKind::Corrupt, op, message));
        }
        let calls: Vec<FileRead> = calls_for(range)
            .map(|(offset, limit)| FileRead {
                address,
                offset,
                limit,
                urgency,
            })
            .collect();
        let start = calls.first().map_or(0, |call| call.offset);
        let mut parts: Vec<Bytes> = stream::iter(calls)
            .map(|wanted| self.read_call(op, wanted, len))
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        let whole = match parts.len() {
            1 => parts.swap_remove(0),
            _ => {
                let mut whole = BytesMut::new();
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        };
        let at = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
        if at(range.end()) > whole.len() {
            let message = "the document is shorter than it was";
            return Err(RemoteError::new(RemoteErrorKind::Corrupt, op, message));
        }
        Ok(whole.slice(at(range.offset)..at(range.end())))
    }

    /// Makes one call, and others at other bots when it is late. The first answer counts.
    async fn read_call(&self, op: &str, wanted: FileRead, len: u64) -> Result<Bytes, RemoteError> {
        self.load.earn();
        let order = self.readers_with_room(wanted).await;
        let mut errors = ReadErrors::default();
        let mut order = order.into_iter();
        let mut under_way = stream::FuturesUnordered::new();
        let mut late_at = None;
        let mut hedges = Hedges::default();
        loop {
            if under_way.is_empty() {
                let Some(place) = order.next() else {
                    return Err(errors.most_useful(op));
                };
                let member = self.bots.members().get(place);
                late_at =
                    member.map(|member| Instant::now() + self.late_after(&member.bot, wanted));
                under_way.push(self.read_from(place, wanted));
            }
            tokio::select! {
                Some((place, outcome)) = under_way.next() => match outcome {
                    Ok(bytes) => return self.checked(op, wanted, len, bytes),
                    Err(error) => errors.note(self.bots.members().get(place), error),
                },
                () = sleep_until(late_at) => {
                    late_at = hedges.next(Instant::now());
                    // The only bot is asked again itself, since another connection may be quicker.
                    let place = order.next().or_else(|| self.only_reader(wanted.address));
                    if let Some(place) = place && (hedges.are_free() || self.load.spend()) {
                        under_way.push(self.read_from(place, wanted));
                    }
                }
            }
        }
    }

    fn checked(
        &self,
        op: &str,
        wanted: FileRead,
        len: u64,
        bytes: Bytes,
    ) -> Result<Bytes, RemoteError> {
        let expected = wanted.limit.min(len - wanted.offset);
        if bytes.len() as u64 == expected {
            return Ok(bytes);
        }
        let message = format!("{} bytes came instead of {expected}", bytes.len());
        Err(RemoteError::new(RemoteErrorKind::Corrupt, op, message))
    }

    async fn read_from(&self, place: usize, wanted: FileRead) -> (usize, Result<Bytes, CallError>) {
        let _busy = self.load.begin(place);
        let outcome = match self.bots.members().get(place) {
            Some(member) => self.read_with(member, wanted).await,
            None => Err(CallError::Disconnected("there is no such bot".into())),
        };
        (place, outcome)
    }

    async fn read_with(&self, member: &Member, wanted: FileRead) -> Result<Bytes, CallError> {
        let bot = &member.bot;
        let TelegramAddress {
            channel, message, ..
        } = wanted.address;
        let mut dc = wanted.address.dc;
        let mut renewed = false;
        let mut moves = 0;
        loop {
            let found = self
                .locations
                .find(&self.bots, bot, channel, message)
                .await?;
            let document = found
                .filter(|document| document.id == wanted.address.document)
                .ok_or_else(|| CallError::refused(RpcErrorName::MessageIdInvalid))?;
            let body = document.request(wanted.offset, wanted.limit).into();
            let purpose = wanted.purpose();
            let sent = bot.send(Some(dc), purpose, body, wanted.limit, CALL_LIMIT);
            match sent.await {
                Ok(answer) => return file_bytes(answer),
                Err(error) if error.is_stale_reference() && !renewed => {
                    renewed = true;
                    self.locations.forget(bot.id, channel, message);
                }
                Err(error) => match error.migrate() {
                    // Two data centres that name each other must not make a loop.
                    Some(other) if other != dc && moves < MOST_MOVES => {
                        moves += 1;
                        dc = other;
                    }
                    Some(other) => {
                        return Err(CallError::Unexpected(format!(
                            "data centre {dc} says that the file is in {other}, and that one does not have it"
                        )));
                    }
                    None => return Err(error),
                },
            }
        }
    }

    /// Returns the bots in order of promise once one of them has room. That one comes first. Until then
    /// the call belongs to no bot: in a queue it would wait for its bot while another one is idle.
    async fn readers_with_room(&self, wanted: FileRead) -> Vec<usize> {
        loop {
            let freed = self.load.freed();
            let mut order = self.readers_by_promise(wanted.address);
            let able: Vec<usize> = order
                .iter()
                .copied()
                .filter(|place| self.is_able(*place, wanted.address.channel))
                .collect();
            let free = able.iter().find(|place| self.has_room(**place, wanted));
            if let Some(free) = free {
                order.retain(|place| place != free);
                order.insert(0, *free);
                return order;
            }
            if able.is_empty() {
                return order;
            }
            // A new connection notifies nobody, so the loop looks again from time to time.
            let _ = tokio::time::timeout(LOOK_AGAIN, freed).await;
        }
    }

    /// Returns whether nothing speaks against asking a bot now.
    fn is_able(&self, place: usize, channel: ChannelId) -> bool {
        self.bots.members().get(place).is_some_and(|member| {
            member.bot.aside(CallPurpose::Read).is_none()
                && self.bots.peers().may_enter(&member.bot, channel)
        })
    }

    fn has_room(&self, place: usize, wanted: FileRead) -> bool {
        let member = self.bots.members().get(place);
        let connections = member.and_then(|member| {
            let dc = wanted.address.dc;
            member.bot.known_pool(dc, CallPurpose::Read)
        });
        // The first call opens the connections.
        connections.is_none_or(|connections| connections.has_room(wanted.purpose()))
    }

    /// Returns the bots in the order in which they are likely to answer. Those that must wait come last.
    fn readers_by_promise(&self, address: TelegramAddress) -> Vec<usize> {
        let members = self.bots.members();
        let writer = self.locations.writer(address.channel, address.message);
        let turn = self.load.next_turn();
        let mut order: Vec<(u128, usize, usize)> = members
            .iter()
            .enumerate()
            .map(|(place, member)| {
                let bot = &member.bot;
                let connections = bot.known_pool(address.dc, CallPurpose::Read);
                let usual = connections
                    .as_ref()
                    .and_then(|connections| connections.usual(0.5));
                let room = connections.map_or(1, |connections| connections.count()) * WINDOW;
                let busy = self.load.busy(place);
                let usual = usual.unwrap_or(UNTRIED).as_micros();
                let mut cost = usual * (room + busy) as u128 / room as u128;
                if let Some(wait) = bot.aside(CallPurpose::Read) {
                    cost += wait.as_micros() + ASIDE_COST.as_micros();
                }
                if writer == Some(bot.id) {
                    cost += WRITER_COST.as_micros();
                }
                if !self.bots.peers().may_enter(bot, address.channel) {
                    cost += OUTSIDE_COST.as_micros();
                }
                (
                    cost,
                    (place + members.len() - turn % members.len()) % members.len(),
                    place,
                )
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, place)| place).collect()
    }

    fn only_reader(&self, address: TelegramAddress) -> Option<usize> {
        self.readers_by_promise(address).first().copied()
    }

    /// Returns the time after which a call counts as late.
    fn late_after(&self, bot: &BotClient, wanted: FileRead) -> Duration {
        let usual = bot
            .known_pool(wanted.address.dc, CallPurpose::Read)
            .and_then(|connections| connections.usual(0.8));
        let times = match wanted.urgency {
            Urgency::Waited => LATE_FACTOR,
            Urgency::Ahead => LATE_AHEAD_FACTOR,
        };
        usual.map_or(UNKNOWN_LATE, |usual| usual.mul_f64(times).max(LEAST_LATE))
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
