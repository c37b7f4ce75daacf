//! Bytes of packs in: each call goes to the bot that is likely to answer first, and is asked again
//! of another one when it is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::get_file::{calls_for, file_bytes};
use crate::model::{ByteRange, TelegramAddress};
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::Member;
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{CallPurpose, WINDOW};
use crate::remote::{RemoteError, RemoteErrorKind, Urgency};

/// For one call, from the moment it has room on a connection.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Calls of one read side by side; a read is a block, so this is about tables and log objects.
const SIDE_BY_SIDE: usize = 16;
/// A call that takes this many times as long as most others is asked again elsewhere...
const LATE_FACTOR: f64 = 1.5;
/// ...where nobody waits for it yet, this many...
const LATE_AHEAD: f64 = 3.0;
/// ...but not before this: what is quick anyway needs no help.
const LEAST_LATE: Duration = Duration::from_millis(60);
/// As long as nothing is known about how long calls take.
const UNKNOWN_LATE: Duration = Duration::from_millis(1500);
/// One second try in this many calls, so that a slow service is not asked twice for everything.
const CALLS_A_HEDGE: i64 = 8;
/// Second tries that may be saved up.
const SAVED_HEDGES: i64 = 16;
/// A call without an answer for this long is tried elsewhere whatever is saved up, and again after
/// twice as long: it is lost rather than slow.
const LOST: Duration = Duration::from_secs(1);
/// How often; by then [`CALL_LIMIT`] is near.
const MOST_HEDGES: u32 = 4;
/// How often a call that found no bot with room looks again without being told of any.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Assumed where a bot has no calls behind it yet: less than a real one takes, so that it is tried.
const UNTRIED: Duration = Duration::from_millis(20);

/// What reading keeps between calls.
#[derive(Debug)]
pub struct Readers {
    /// Calls under way a bot, by its place in the bots.
    busy: Vec<AtomicUsize>,
    /// Second tries allowed, times [`CALLS_A_HEDGE`].
    allowance: AtomicI64,
    next: AtomicUsize,
    /// Told of each call that ends.
    freed: Notify,
}

impl Readers {
    pub fn new(bots: usize) -> Self {
        Self {
            busy: (0..bots).map(|_| AtomicUsize::new(0)).collect(),
            allowance: AtomicI64::new(SAVED_HEDGES * CALLS_A_HEDGE),
            next: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }
    fn earn(&self) {
        let most = SAVED_HEDGES * CALLS_A_HEDGE;
        if self.allowance.fetch_add(1, Ordering::Relaxed) >= most {
            self.allowance.store(most, Ordering::Relaxed);
        }
    }
    fn spend(&self) -> bool {
        let before = self.allowance.fetch_sub(CALLS_A_HEDGE, Ordering::Relaxed);
        if before < CALLS_A_HEDGE {
            self.allowance.fetch_add(CALLS_A_HEDGE, Ordering::Relaxed);
            return false;
        }
        true
    }
}

/// A call under way at a bot.
struct ReaderCall<'a> {
    readers: &'a Readers,
    place: usize,
}

impl<'a> ReaderCall<'a> {
    fn begin(readers: &'a Readers, place: usize) -> Self {
        if let Some(count) = readers.busy.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self { readers, place }
    }
}

impl Drop for ReaderCall<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.readers.busy.get(self.place) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.readers.freed.notify_one();
    }
}

/// The further tries of one call.
#[derive(Debug, Default)]
struct Hedges {
    count: u32,
}

impl Hedges {
    /// When the one after this is due.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        self.count += 1;
        (self.count < MOST_HEDGES).then(|| now + LOST * 2_u32.pow(self.count - 1))
    }

    const fn are_free(&self) -> bool {
        self.count > 1
    }
}

/// A document in a channel.
#[derive(Debug, Clone, Copy)]
pub struct StoredDocument {
    pub address: TelegramAddress,
    /// Bytes.
    pub len: u64,
}

/// The call that reads from it.
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

impl Shared {
    /// Exactly the bytes of `range`, or an error.
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

    /// One call, with others elsewhere when it is late. The first answer counts.
    async fn read_call(&self, op: &str, wanted: FileRead, len: u64) -> Result<Bytes, RemoteError> {
        self.readers.earn();
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
                late_at = member.map(|member| Instant::now() + self.late(&member.bot, wanted));
                under_way.push(self.read_from(place, wanted));
            }
            tokio::select! {
                Some((place, outcome)) = under_way.next() => match outcome {
                    Ok(bytes) => return self.checked(op, wanted, len, bytes),
                    Err(error) => errors.note(self.bots.members().get(place), error),
                },
                () = sleep_until(late_at) => {
                    late_at = hedges.next(Instant::now());
                    // The same bot again where it is the only one: another connection may be quicker.
                    let place = order.next().or_else(|| self.only_reader(wanted.address));
                    if let Some(place) = place && (hedges.are_free() || self.readers.spend()) {
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
        let _busy = ReaderCall::begin(&self.readers, place);
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
        loop {
            let found = self
                .locations
                .find(&self.bots, bot, channel, message)
                .await?;
            let document = found
                .filter(|document| document.id == wanted.address.document)
                .ok_or_else(|| CallError::rpc(400, "MESSAGE_ID_INVALID"))?;
            let body = document.request(wanted.offset, wanted.limit).into();
            let purpose = wanted.purpose();
            let sent = bot.send(Some(dc), purpose, body, wanted.limit, CALL_LIMIT);
            match sent.await {
                Ok(answer) => return file_bytes(answer),
                Err(error) if error.is_stale_reference() && !renewed => {
                    renewed = true;
                    self.locations.keep(bot.id, channel, message, None);
                }
                Err(error) => match error.migrate() {
                    Some(other) if other != dc => dc = other,
                    _ => return Err(error),
                },
            }
        }
    }

    /// The bots by promise, once the first of them has room. Until then a call belongs to nobody: one
    /// that stood in a queue would wait for its bot while another one has nothing to do.
    async fn readers_with_room(&self, wanted: FileRead) -> Vec<usize> {
        loop {
            let freed = self.readers.freed.notified();
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
            // New connections tell nobody; looking again costs less than it would gain.
            let _ = tokio::time::timeout(LOOK_AGAIN, freed).await;
        }
    }

    /// Whether nothing speaks against asking a bot now.
    fn is_able(&self, place: usize, channel: i64) -> bool {
        self.bots.members().get(place).is_some_and(|member| {
            member.bot.aside(CallPurpose::Read).is_none()
                && self.bots.may_enter(&member.bot, channel)
        })
    }

    fn has_room(&self, place: usize, wanted: FileRead) -> bool {
        let member = self.bots.members().get(place);
        let connections = member.and_then(|member| {
            let dc = wanted.address.dc;
            member.bot.known_pool(dc, CallPurpose::Read)
        });
        // Without connections yet, making them is the first call's.
        connections.is_none_or(|connections| connections.has_room(wanted.purpose()))
    }

    /// The bots in the order in which they are likely to answer; those that must wait come last.
    fn readers_by_promise(&self, address: TelegramAddress) -> Vec<usize> {
        let members = self.bots.members();
        let writer = self.locations.writer(address.channel, address.message);
        let turn = self.readers.next.fetch_add(1, Ordering::Relaxed);
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
                let busy = self
                    .readers
                    .busy
                    .get(place)
                    .map_or(0, |busy| busy.load(Ordering::Relaxed));
                let usual = usual.unwrap_or(UNTRIED).as_micros();
                let mut cost = usual * (room + busy) as u128 / room as u128;
                if let Some(wait) = bot.aside(CallPurpose::Read) {
                    cost += wait.as_micros() + Duration::from_secs(60).as_micros();
                }
                // What one bot wrote another one reads, so that nothing rests on one bot's word.
                if writer == Some(bot.id) {
                    cost += Duration::from_secs(1).as_micros();
                }
                if !self.bots.may_enter(bot, address.channel) {
                    cost += Duration::from_secs(3600).as_micros();
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

    /// After how long a call counts as late.
    fn late(&self, bot: &BotClient, wanted: FileRead) -> Duration {
        let usual = bot
            .known_pool(wanted.address.dc, CallPurpose::Read)
            .and_then(|connections| connections.usual(0.8));
        let times = match wanted.urgency {
            Urgency::Waited => LATE_FACTOR,
            Urgency::Ahead => LATE_AHEAD,
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

/// Of several bots' errors, the one to tell.
#[derive(Default)]
struct ReadErrors {
    passing: Option<(u32, CallError)>,
    missing: Option<(u32, CallError)>,
    lasting: Option<(u32, CallError)>,
}

impl ReadErrors {
    fn note(&mut self, member: Option<&Arc<Member>>, error: CallError) {
        let slot = if error.is("MESSAGE_ID_INVALID") {
            &mut self.missing
        } else if error.is_passing() || error.wait().is_some() {
            &mut self.passing
        } else {
            &mut self.lasting
        };
        let number = member.map_or(0, |member| member.bot.number);
        slot.get_or_insert((number, error));
    }

    fn most_useful(self, op: &str) -> RemoteError {
        // One bot that sees that it is gone is enough; that others did not answer changes nothing.
        if self.missing.is_some() {
            let message = "the post that holds it is gone from the channel";
            return RemoteError::new(RemoteErrorKind::NotFound, op, message);
        }
        match self.passing.or(self.lasting) {
            Some((number, error)) => error.into_remote(format!("{op} with bot {number}")),
            None => RemoteError::new(RemoteErrorKind::Denied, op, "no bot may read the channel"),
        }
    }
}
