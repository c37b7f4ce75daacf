//! Connections of one bot to one data centre for one purpose. Their number is between one and eight.
//!
//! The number follows its effect, as in Telegram's own clients. It doubles while the bytes a second grow
//! with it, and falls when calls time out or the service asks to wait. The next run begins with the number
//! of this one, so a film that is opened then has all connections from its first second.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::reconnecting::{ConnectionTarget, ReconnectingConnection};
use crate::model::KeyStore;
use crate::sync::MutexExt as _;
use crate::sync::RwLockExt as _;

/// Most connections. Official clients open this many to a data centre; with 32 the service closes some.
pub const MAX_CONNECTIONS: usize = 8;
/// Calls of 512 KiB in flight on one connection: 2 MiB. This is TDLib's budget for a connection, and
/// enough for 40 MB/s at 50 ms.
pub const WINDOW: usize = 4;
/// Number of these calls that nobody waits for.
const AHEAD_WINDOW: usize = WINDOW - 1;
/// Time for which a number of connections is tried before it is judged.
const EPOCH: Duration = Duration::from_millis(200);
/// Time that new connections take to connect and to fill their windows. They are tried after it.
const SETTLING: Duration = Duration::from_millis(400);
/// Least calls in an epoch from which a rate follows.
const EPOCH_CALLS: u32 = 6;
/// Factor by which a doubled number must raise the rate. Otherwise it is taken back.
const WORTH: f64 = 1.15;
/// Time after that until more connections are tried again.
const CONTENT_FOR: Duration = Duration::from_secs(20);
/// Calls whose times are remembered.
const REMEMBERED: usize = 64;

/// Purpose of a call. Pools, and the waits that the service asks for, are kept apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallPurpose {
    /// Small calls, which must not queue behind megabytes.
    Control,
    /// Small calls that post or change messages. They use the connections of `Control`, and have waits of
    /// their own.
    Post,
    /// Reads that somebody waits for.
    Read,
    /// Reads that nobody waits for yet. They use the connections of `Read`, and leave some room there.
    Ahead,
    /// Parts of uploads.
    Write,
}

impl CallPurpose {
    /// Returns the purpose whose waits hold for this one.
    pub const fn health(self) -> Self {
        match self {
            Self::Ahead => Self::Read,
            Self::Control | Self::Post | Self::Read | Self::Write => self,
        }
    }

    /// Returns the purpose whose connections serve this one.
    pub const fn pool_purpose(self) -> Self {
        match self {
            Self::Control | Self::Post => Self::Control,
            Self::Read | Self::Ahead => Self::Read,
            Self::Write => Self::Write,
        }
    }
}

/// Row that keeps the number of connections from one run to the next.
#[derive(Debug)]
pub struct PoolSizeMemory {
    /// Store of the row.
    pub keys: Arc<dyn KeyStore>,
    /// Name of the row.
    pub row: String,
}

impl PoolSizeMemory {
    fn recall(&self) -> usize {
        let row = self.keys.get(self.row.as_bytes()).ok().flatten();
        let count = row.and_then(|bytes| bytes.first().copied());
        count.map_or(1, usize::from).clamp(1, MAX_CONNECTIONS)
    }

    fn keep(&self, count: usize) {
        let count = u8::try_from(count).unwrap_or(u8::MAX);
        if let Err(error) = self.keys.put(self.row.as_bytes(), &[count]) {
            // The next run begins with one connection then.
            tracing::debug!(%error, "the number of connections cannot be kept");
        }
    }
}

/// Pool of connections that grows and shrinks.
#[derive(Debug)]
pub struct ConnectionPool {
    target: ConnectionTarget,
    purpose: CallPurpose,
    /// Row of the number of connections; `None` for a pool that begins with one connection.
    memory: Option<PoolSizeMemory>,
    connections: RwLock<Vec<Arc<ReconnectingConnection>>>,
    /// One permit for each call that fits into the windows.
    room: Semaphore,
    /// One permit for each call that nobody waits for. There are fewer, so that a call that somebody
    /// waits for finds room at once.
    ahead_room: Semaphore,
    growth: Mutex<PoolGrowth>,
    times: Mutex<CallTimes>,
}

#[derive(Debug)]
struct PoolGrowth {
    since: Instant,
    calls: u32,
    bytes: u64,
    /// True if a call had to wait for room in this epoch; otherwise more connections change nothing.
    crowded: bool,
    /// Number of connections, and bytes a second, before the last growth.
    before: Option<(usize, f64)>,
    content_until: Option<Instant>,
    /// Permits to take back from calls that end.
    surplus: usize,
}

#[derive(Debug, Default)]
struct CallTimes {
    recent: Vec<Duration>,
    next: usize,
}

impl ConnectionPool {
    pub fn new(
        target: ConnectionTarget,
        purpose: CallPurpose,
        memory: Option<PoolSizeMemory>,
    ) -> Self {
        let count = memory.as_ref().map_or(1, PoolSizeMemory::recall);
        let connection = || Arc::new(ReconnectingConnection::new(target.clone()));
        Self {
            connections: RwLock::new((0..count).map(|_| connection()).collect()),
            target,
            purpose,
            memory,
            room: Semaphore::new(count * WINDOW),
            ahead_room: Semaphore::new(count * AHEAD_WINDOW),
            growth: Mutex::new(PoolGrowth {
                since: Instant::now(),
                calls: 0,
                bytes: 0,
                crowded: false,
                before: None,
                content_until: None,
                surplus: 0,
            }),
            times: Mutex::default(),
        }
    }

    /// Returns the key that the connections use.
    pub const fn key(&self) -> &AuthKeyBytes {
        &self.target.key
    }
    /// Returns the number of connections.
    pub fn count(&self) -> usize {
        self.connections.acquire_read().len()
    }
    /// Returns the longest time that `part` (0 to 1) of the recent calls took; `None` before the first.
    pub fn usual(&self, part: f64) -> Option<Duration> {
        let mut sorted = self.times().recent.clone();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_unstable();
        let at = (sorted.len() - 1) as f64 * part.clamp(0.0, 1.0);
        sorted.get(at.round() as usize).copied()
    }

    /// Makes one call on the connection with the fewest calls. `bytes` is the amount that it moves, in or
    /// out.
    ///
    /// # Errors
    /// See [`ReconnectingConnection::call`].
    pub async fn call(
        &self,
        purpose: CallPurpose,
        body: Bytes,
        bytes: u64,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let closed = || CallError::Disconnected("the connections are closed".into());
        let _spare = match purpose {
            CallPurpose::Ahead => match self.ahead_room.try_acquire() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    self.growth().crowded = true;
                    Some(self.ahead_room.acquire().await.map_err(|_| closed())?)
                }
            },
            CallPurpose::Control | CallPurpose::Post | CallPurpose::Read | CallPurpose::Write => {
                None
            }
        };
        let permit = match self.room.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                self.growth().crowded = true;
                self.room.acquire().await.map_err(|_| closed())?
            }
        };
        let Some(connection) = self.least_busy() else {
            return Err(CallError::Disconnected("there is no connection".into()));
        };
        let started = Instant::now();
        let outcome = connection.call(body, limit).await;
        match &outcome {
            Ok(_) => {
                self.times().remember(started.elapsed());
                self.judge(bytes);
            }
            Err(error) if error.wait().is_some() || matches!(error, CallError::TimedOut(_)) => {
                self.shrink();
            }
            Err(_) => {}
        }
        let mut growth = self.growth();
        if growth.surplus > 0 {
            growth.surplus -= 1;
            permit.forget();
        }
        drop(growth);
        outcome
    }

    /// Returns whether a call of `purpose` would start at once. If not, notes that more connections may
    /// help.
    pub fn has_room(&self, purpose: CallPurpose) -> bool {
        let free = match purpose {
            CallPurpose::Ahead => self.ahead_room.available_permits() > 0,
            CallPurpose::Control | CallPurpose::Post | CallPurpose::Read | CallPurpose::Write => {
                true
            }
        };
        let free = free && self.room.available_permits() > 0;
        if !free {
            self.growth().crowded = true;
        }
        free
    }

    fn least_busy(&self) -> Option<Arc<ReconnectingConnection>> {
        let connections = self.connections.acquire_read();
        connections
            .iter()
            .min_by_key(|connection| connection.in_flight())
            .cloned()
    }
    fn growth(&self) -> MutexGuard<'_, PoolGrowth> {
        self.growth.acquire()
    }
    fn times(&self) -> MutexGuard<'_, CallTimes> {
        self.times.acquire()
    }

    /// Counts a call. At the end of an epoch, decides on the number of connections.
    fn judge(&self, bytes: u64) {
        if self.purpose == CallPurpose::Control {
            return;
        }
        let now = Instant::now();
        let wanted = {
            let mut growth = self.growth();
            if now < growth.since {
                return;
            }
            growth.calls += 1;
            growth.bytes += bytes;
            let elapsed = now - growth.since;
            if elapsed < EPOCH || growth.calls < EPOCH_CALLS {
                return;
            }
            let rate = growth.bytes as f64 / elapsed.as_secs_f64();
            let wanted = growth.decide(self.count(), rate, now);
            // A reader takes its bytes in bursts, and waits for one bot while another one is idle. The
            // rate of a moment says more about the reader than about the connections. Therefore only calls
            // that time out take connections back.
            if self.purpose == CallPurpose::Read {
                growth.before = None;
            }
            wanted
        };
        self.resize(wanted);
    }

    fn shrink(&self) {
        let mut growth = self.growth();
        let now = Instant::now();
        // One reason counts once, regardless of the number of calls that it affected.
        if growth
            .content_until
            .is_some_and(|until| until > now + CONTENT_FOR / 2)
        {
            return;
        }
        growth.content_until = Some(now + CONTENT_FOR);
        growth.before = None;
        growth.restart(now);
        drop(growth);
        self.resize((self.count() / 2).max(1));
    }

    fn resize(&self, wanted: usize) {
        let mut connections = self.connections.acquire_write();
        let wanted = wanted.clamp(1, MAX_CONNECTIONS);
        if wanted == connections.len() {
            return;
        }
        while connections.len() < wanted {
            connections.push(Arc::new(ReconnectingConnection::new(self.target.clone())));
            self.room.add_permits(WINDOW);
            self.ahead_room.add_permits(AHEAD_WINDOW);
        }
        // Calls on a connection that is removed keep it until they end.
        let surplus = connections.len() - wanted;
        connections.truncate(wanted);
        drop(connections);
        if let Some(memory) = &self.memory {
            memory.keep(wanted);
        }
        if surplus > 0 {
            // Permits in use come back as too many, but `room` bounds the calls.
            self.ahead_room.forget_permits(surplus * AHEAD_WINDOW);
            let mut growth = self.growth();
            growth.surplus += surplus * WINDOW;
            growth.surplus -= self.room.forget_permits(growth.surplus);
        }
    }
}

impl PoolGrowth {
    fn restart(&mut self, now: Instant) {
        self.since = now;
        self.calls = 0;
        self.bytes = 0;
        self.crowded = false;
    }

    /// Returns the number of connections to use, now that `connections` moved `rate` bytes a second.
    fn decide(&mut self, connections: usize, rate: f64, now: Instant) -> usize {
        let crowded = self.crowded;
        self.restart(now);
        if let Some((fewer, before)) = self.before.take()
            && connections > fewer
            && rate < before * WORTH
        {
            self.content_until = Some(now + CONTENT_FOR);
            return fewer;
        }
        let content = self.content_until.is_some_and(|until| now < until);
        if content || !crowded || connections >= MAX_CONNECTIONS {
            return connections;
        }
        self.before = Some((connections, rate));
        self.since = now + SETTLING;
        (connections * 2).min(MAX_CONNECTIONS)
    }
}

impl CallTimes {
    fn remember(&mut self, time: Duration) {
        if self.recent.len() < REMEMBERED {
            self.recent.push(time);
        } else if let Some(oldest) = self.recent.get_mut(self.next) {
            *oldest = time;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth() -> PoolGrowth {
        PoolGrowth {
            since: Instant::now(),
            calls: 0,
            bytes: 0,
            crowded: false,
            before: None,
            content_until: None,
            surplus: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_double_while_they_help_and_fall_back_when_they_do_not() {
        let mut growth = growth();
        let mut connections = 1;
        // The rate is eight megabytes a second for each of up to four connections.
        let rate = |connections: usize| connections.min(4) as f64 * 8e6;
        let mut seen = Vec::new();
        for _ in 0..5 {
            growth.crowded = true;
            connections = growth.decide(connections, rate(connections), Instant::now());
            seen.push(connections);
        }
        assert_eq!(seen, [2, 4, 8, 4, 4]);
        tokio::time::advance(CONTENT_FOR).await;
        growth.crowded = true;
        assert_eq!(growth.decide(4, rate(4), Instant::now()), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_crowd_there_is_no_growth() {
        let mut growth = growth();
        assert_eq!(growth.decide(1, 8e6, Instant::now()), 1);
    }
}
