//! A decorator with the latency and bandwidth of Telegram. Each bot sends one pack at a time. Each
//! connection answers one call after the other, after a round trip.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::super::{
    ForeignFiles, ForeignLayer, Locality, LogKind, LogLayer, LogObject, LogStore, PackLayer,
    PackStore, Remote, RemoteError, Removal, SealedPack, Urgency, WriteHints,
};
use crate::model::{ByteRange, PackAddress, PackRef};
use crate::sync::MutexExt as _;

/// Calls under way on one connection. The next is sent while the answer to the last arrives.
const LANE_CALLS: usize = 2;

/// The latency and bandwidth of a remote.
#[derive(Debug, Clone, Copy)]
pub struct Distance {
    /// Time of each call, besides that of its bytes.
    pub latency: Duration,
    /// Number of connections, which answer in parallel.
    pub lanes: usize,
    /// Bandwidth of each connection.
    pub lane_bytes_per_second: u64,
    /// Number of packs that are sent in parallel.
    pub bots: usize,
    /// Bandwidth of each bot.
    pub bot_bytes_per_second: u64,
}

/// Counts of the calls so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packs and objects of the log that were stored.
    pub posts: u64,
    pub packs: u64,
    pub packs_at_once: usize,
    pub largest_pack: u64,
    pub gets: u64,
    pub got_bytes: u64,
    /// Gets with [`Urgency::Ahead`], contained in `gets`.
    pub gets_ahead: u64,
}

/// A remote behind a simulated network.
#[derive(Debug)]
pub struct DistantRemote {
    inner: Arc<dyn Remote>,
    distance: Distance,
    write_hints: WriteHints,
    bots: Semaphore,
    /// Permits for calls with [`Urgency::Ahead`].
    room: Semaphore,
    /// Times at which the connections have answered all their calls.
    lanes: Mutex<Vec<Instant>>,
    given: AtomicUsize,
    traffic: Mutex<Traffic>,
}

impl DistantRemote {
    /// Puts `inner` behind the network.
    #[must_use]
    pub fn new(inner: Arc<dyn Remote>, distance: Distance, write_hints: WriteHints) -> Arc<Self> {
        Arc::new(Self {
            inner,
            distance,
            write_hints,
            bots: Semaphore::new(distance.bots.max(1)),
            room: Semaphore::new(distance.lanes.max(1) * LANE_CALLS),
            lanes: Mutex::new(vec![Instant::now(); distance.lanes.max(1)]),
            given: AtomicUsize::new(0),
            traffic: Mutex::default(),
        })
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        *self.count()
    }

    fn count(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.acquire()
    }

    /// Returns when the connection that is free first has answered with `len` more bytes.
    fn answer_at(&self, len: u64) -> Instant {
        let mut lanes = self.lanes.acquire();
        let now = Instant::now();
        let takes = taking(len, self.distance.lane_bytes_per_second);
        match lanes.iter_mut().min() {
            Some(lane) => {
                *lane = (*lane).max(now) + takes;
                *lane + self.distance.latency
            }
            None => now,
        }
    }
}

fn taking(bytes: u64, bytes_per_second: u64) -> Duration {
    let micros = bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
    Duration::from_micros(micros)
}

#[async_trait::async_trait]
impl PackLayer for DistantRemote {
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.inner
    }
    fn locality(&self) -> Locality {
        Locality::Far
    }
    fn locality_of(&self, _pack: &PackRef) -> Locality {
        Locality::Far
    }
    fn write_hints(&self) -> WriteHints {
        self.write_hints
    }
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        let given = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut count = self.count();
            count.posts += 1;
            count.packs += 1;
            count.packs_at_once = count.packs_at_once.max(given);
            count.largest_pack = count.largest_pack.max(pack.data_len());
        }
        let bot = self.bots.acquire().await;
        let takes = taking(pack.len(), self.distance.bot_bytes_per_second);
        tokio::time::sleep(takes + self.distance.latency).await;
        let put = self.inner.put(pack).await;
        drop(bot);
        self.given.fetch_sub(1, Ordering::Relaxed);
        put
    }
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        // Readahead waits in line. A call that is cancelled there costs nothing.
        let _room = match urgency {
            Urgency::Waited => None,
            Urgency::Ahead => self.room.acquire().await.ok(),
        };
        {
            let mut count = self.count();
            count.gets += 1;
            count.got_bytes += range.len;
            if urgency == Urgency::Ahead {
                count.gets_ahead += 1;
            }
        }
        let at = self.answer_at(range.len);
        let answer = self.inner.get(pack, range, urgency).await;
        // An error takes as long as an answer.
        tokio::time::sleep_until(at).await;
        answer
    }
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        tokio::time::sleep(self.distance.latency).await;
        self.inner.size(pack).await
    }
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        tokio::time::sleep(self.distance.latency).await;
        self.inner.delete(pack).await
    }
}

#[async_trait::async_trait]
impl LogLayer for DistantRemote {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.inner
    }
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.count().posts += 1;
        tokio::time::sleep(self.distance.latency).await;
        self.inner.append_log(object, bytes).await
    }
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        tokio::time::sleep(self.distance.latency).await;
        self.inner.list_log(kind, after).await
    }
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        tokio::time::sleep(self.distance.latency).await;
        self.inner.read_log(object).await
    }
}

impl ForeignLayer for DistantRemote {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.inner
    }
}
