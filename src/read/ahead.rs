//! Fetching what a reader will probably want next: into the block cache, behind the scenes, and
//! within one budget for all readers.
//!
//! A [`Follower`] belongs to a handle and ends with it. Where a stream goes on in another handle (a
//! player asks for one segment after the other) it is parked for a while and taken up again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::glimpse::Glimpse;
use super::locate::{Place, locate};
use super::window::{FURTHEST_BACK, Step, Window};
use crate::cache::{BlockCache, Held, Key};
use crate::model::{BLOCK_BYTES, Blob, BlobId, BlockIndex, ByteRange, Extent, PackRef};
use crate::spool::Spool;
use crate::sync::MutexExt as _;

/// What one of PRELOAD_SEGMENTS counts for where there are no segments: 10 s of a film of
/// 6 Mbit/s, and more than a lane carries in a second.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The part of the cache that may be fetched ahead of all readers together.
const CACHE_PART: u64 = 4;
/// How long a stream waits for the handle that goes on with it, longer than a segment plays. One
/// that stood still for as long (a player on pause) makes room for others.
const PARKED_FOR: Duration = Duration::from_secs(60);
/// Streams that wait.
const MAX_PARKED: usize = 64;
/// Waits after a fetch that failed, doubling: a remote that is down is left alone.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How much is fetched ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadLimits {
    /// Segments ahead of one reader (PRELOAD_SEGMENTS); 0 for nothing.
    pub segments: u64,
    /// Readers that are fetched ahead for at the same time (MAX_CONCURRENT_PRELOADS).
    pub readers: usize,
}

/// Where the bytes behind a read are: extents and the blobs they name. `None` ends it.
pub type Source<'a> = &'a dyn Fn(ByteRange) -> Option<(Vec<Extent>, Vec<Blob>)>;

/// Whether a handle's stream may go on in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// What was fetched ahead is let go with the handle.
    Ends,
    /// The next handle may take the stream up.
    Waits,
}

/// One read, as a follower sees it.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// What the positions are in: streams of one blob may go on in each other.
    pub of: Option<BlobId>,
    pub range: ByteRange,
    /// Whether the handle has nothing behind it.
    pub reach: Reach,
}

/// How far a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Within,
    /// To the end of what the handle is open on.
    End,
}

/// What all readers share.
#[derive(Debug)]
pub struct Ahead {
    cache: Arc<BlockCache>,
    spool: Arc<Spool>,
    /// Bytes ahead of one reader, and of all.
    window: u64,
    budget: u64,
    /// One permit a block of the budget.
    room: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    most_readers: usize,
    health: Mutex<Health>,
    parked: Mutex<VecDeque<Parked>>,
    /// Those that have a place, and some that had one.
    placed: Mutex<Vec<Weak<Followed>>>,
}

/// Whether it makes sense to ask the remote at all.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    until: Option<Instant>,
}

#[derive(Debug)]
struct Parked {
    of: BlobId,
    since: Instant,
    stream: Stream,
}

/// A sequence of reads and what is fetched ahead of it.
#[derive(Debug, Default)]
struct Stream {
    of: Option<BlobId>,
    window: Window,
    fetches: VecDeque<Fetch>,
    /// One of the readers that are fetched ahead for.
    place: Option<OwnedSemaphorePermit>,
    at_end: bool,
    read_at: Option<Instant>,
}

/// A block that is fetched or kept for a reader.
#[derive(Debug)]
struct Fetch {
    key: Key,
    /// Where the reader is when it is through with it.
    end: u64,
    task: AbortHandle,
    _held: Arc<Held>,
    _room: OwnedSemaphorePermit,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // What came stays in the cache; what did not come yet is taken back.
        self.task.abort();
    }
}

/// What follows the reads of one handle.
#[derive(Debug)]
pub struct Follower {
    leaving: Leaving,
    followed: OnceLock<Arc<Followed>>,
    glimpse: Glimpse,
}

#[derive(Debug)]
struct Followed {
    ahead: Arc<Ahead>,
    stream: Mutex<Stream>,
}

impl Follower {
    #[must_use]
    pub const fn new(leaving: Leaving) -> Self {
        Self::with(leaving, Glimpse::none())
    }

    /// As one that ends with its handle, on a film of so many bytes: what is read of it is pinned,
    /// if that is little.
    #[must_use]
    pub fn of_film(len: u64) -> Self {
        Self::with(Leaving::Ends, Glimpse::of(len))
    }

    const fn with(leaving: Leaving, glimpse: Glimpse) -> Self {
        Self {
            leaving,
            followed: OnceLock::new(),
            glimpse,
        }
    }

    pub(super) const fn glimpse(&self) -> &Glimpse {
        &self.glimpse
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.leaving == Leaving::Waits
            && let Some(followed) = self.followed.take()
        {
            let stream = std::mem::take(&mut *lock(&followed.stream));
            followed.ahead.park(stream);
        }
    }
}

impl Ahead {
    #[must_use]
    pub fn new(cache: Arc<BlockCache>, spool: Arc<Spool>, limits: AheadLimits) -> Arc<Self> {
        let budget = cache.capacity() / CACHE_PART;
        let blocks = usize::try_from(budget / BLOCK_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            cache,
            spool,
            window: limits.segments.saturating_mul(SEGMENT_BYTES).min(budget),
            budget,
            room: Arc::new(Semaphore::new(blocks.min(Semaphore::MAX_PERMITS))),
            readers: Arc::new(Semaphore::new(limits.readers)),
            most_readers: limits.readers,
            health: Mutex::default(),
            parked: Mutex::default(),
            placed: Mutex::default(),
        })
    }

    /// Takes a read that is about to be answered, and begins to fetch what follows it. Never waits.
    pub fn follow(self: &Arc<Self>, follower: &Follower, reading: Reading, source: Source<'_>) {
        if self.window < BLOCK_BYTES {
            return;
        }
        let followed = follower.followed.get_or_init(|| {
            Arc::new(Followed {
                ahead: Arc::clone(self),
                stream: Mutex::new(self.take_up(reading)),
            })
        });
        let mut stream = lock(&followed.stream);
        let had_place = stream.place.is_some();
        stream.of = reading.of;
        stream.read_at = Some(Instant::now());
        stream.at_end = reading.reach == Reach::End;
        match stream.window.read(reading.range, self.most()) {
            Step::Apart => stream.let_go(),
            Step::Follows(want) => {
                stream.drop_passed(reading.range.offset);
                match want {
                    // Who only looks at a film stays within what is pinned of it.
                    Some(want) if self.is_pinned(reading.range, source) => {
                        stream.window.give_back(want.offset);
                        stream.window.shrink();
                    }
                    Some(want) => self.fetch(&mut stream, want, source),
                    None => {}
                }
            }
        }
        if stream.place.is_some() && !had_place {
            let mut placed = lock(&self.placed);
            placed.retain(|placed| placed.strong_count() > 0);
            placed.push(Arc::downgrade(followed));
        }
    }

    fn is_pinned(&self, range: ByteRange, source: Source<'_>) -> bool {
        if !self.cache.has_pins() {
            return false;
        }
        let located = source(range)
            .and_then(|(extents, blobs)| locate(&extents, &blobs, |id| self.spool.get(id)).ok());
        let is_pinned = |place: &Place| match place {
            Place::Pack { pack, offset, .. } => u32::try_from(offset / BLOCK_BYTES)
                .is_ok_and(|number| self.cache.is_pinned((pack.id, BlockIndex(number)))),
            Place::Zeros(_) | Place::Spool { .. } => false,
        };
        located.is_some_and(|places| !places.is_empty() && places.iter().all(is_pinned))
    }

    /// Bytes ahead of each reader: the budget is shared by those that there are.
    fn most(&self) -> u64 {
        let readers = self.most_readers - self.readers.available_permits().min(self.most_readers);
        self.window.min(self.budget / readers.max(1) as u64)
    }

    fn fetch(self: &Arc<Self>, stream: &mut Stream, want: ByteRange, source: Source<'_>) {
        if self.is_pausing() {
            stream.fetches.clear();
            stream.window.shrink();
            return;
        }
        let located = source(want).and_then(|(extents, blobs)| {
            // What cannot be found is for the reader to say.
            locate(&extents, &blobs, |id| self.spool.get(id)).ok()
        });
        let mut at = want.offset;
        for place in located.unwrap_or_default() {
            let end = at + place.len();
            if let Place::Pack { pack, offset, .. } = place
                && let Ok(number) = u32::try_from(offset / BLOCK_BYTES)
            {
                let key = (pack.id, BlockIndex(number));
                if let Some(known) = stream.fetches.iter_mut().rev().find(|f| f.key == key) {
                    known.end = known.end.max(end);
                } else if !self.cache.has(key) {
                    if stream.place.is_none() {
                        stream.place = self.place();
                    }
                    let room = Arc::clone(&self.room).try_acquire_owned().ok();
                    let Some(room) = room.filter(|_| stream.place.is_some()) else {
                        return stream.window.give_back(at);
                    };
                    let fetch = self.begin(pack, key, end, room);
                    stream.fetches.push_back(fetch);
                }
            }
            at = end;
        }
        // All that lies ahead is here: somebody else may have the place.
        if stream.fetches.is_empty() {
            stream.place = None;
        }
    }

    fn begin(
        self: &Arc<Self>,
        pack: PackRef,
        key: Key,
        end: u64,
        room: OwnedSemaphorePermit,
    ) -> Fetch {
        let held = Arc::new(self.cache.hold(key));
        let (ahead, wanted) = (Arc::clone(self), Arc::clone(&held));
        let task = tokio::spawn(async move {
            let fetched = ahead.cache.fetch_ahead(&pack, &wanted).await;
            ahead.note(fetched.is_ok());
        });
        Fetch {
            key,
            end,
            task: task.abort_handle(),
            _held: held,
            _room: room,
        }
    }

    fn is_pausing(&self) -> bool {
        let until = lock(&self.health).until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, is_well: bool) {
        let mut health = lock(&self.health);
        if is_well {
            *health = Health::default();
            return;
        }
        let now = Instant::now();
        // Those that were under way together fail together, and count once.
        if health.until.is_none_or(|until| until <= now) {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(health.failures.min(8));
            health.failures += 1;
            health.until = Some(now + pause.min(LONGEST_PAUSE));
        }
    }

    /// A place among the readers that are fetched ahead for; who only waits makes room.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let free = || Arc::clone(&self.readers).try_acquire_owned().ok();
        free()
            .or_else(|| {
                self.drop_parked();
                free()
            })
            .or_else(|| {
                self.drop_idle();
                free()
            })
    }

    fn drop_parked(&self) {
        let mut parked = lock(&self.parked);
        let oldest = parked
            .iter()
            .position(|parked| parked.stream.place.is_some());
        drop(oldest.and_then(|at| parked.remove(at)));
    }

    fn drop_idle(&self) {
        for followed in lock(&self.placed).iter().filter_map(Weak::upgrade) {
            // One that is locked is being read, the one that asks included.
            if let Ok(mut stream) = followed.stream.try_lock()
                && stream.read_at.is_some_and(|at| at.elapsed() >= PARKED_FOR)
            {
                stream.let_go();
            }
        }
    }

    fn park(&self, mut stream: Stream) {
        let Some(of) = stream.of else { return };
        if !stream.at_end {
            // The client went away in the middle: it may come back near here, or not at all.
            stream.let_go();
        }
        let mut parked = lock(&self.parked);
        drop_old(&mut parked);
        if parked.len() >= MAX_PARKED {
            parked.pop_front();
        }
        parked.push_back(Parked {
            of,
            since: Instant::now(),
            stream,
        });
    }

    /// The stream that a read goes on with, or a new one.
    fn take_up(&self, reading: Reading) -> Stream {
        let mut parked = lock(&self.parked);
        drop_old(&mut parked);
        let found = parked.iter().rposition(|parked| {
            reading.of == Some(parked.of) && parked.stream.window.is_near(reading.range)
        });
        let found = found.and_then(|at| parked.remove(at));
        found.map(|parked| parked.stream).unwrap_or_default()
    }
}

impl Stream {
    /// Takes back and lets go of all that was fetched ahead.
    fn let_go(&mut self) {
        self.fetches.clear();
        self.place = None;
        self.window.give_back(0);
    }

    /// Lets go of what lies behind all reads that can still come.
    fn drop_passed(&mut self, offset: u64) {
        while let Some(first) = self.fetches.front()
            && first.end.saturating_add(FURTHEST_BACK) <= offset
        {
            self.fetches.pop_front();
        }
    }
}

fn drop_old(parked: &mut VecDeque<Parked>) {
    while let Some(first) = parked.front()
        && first.since.elapsed() >= PARKED_FOR
    {
        parked.pop_front();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.acquire()
}

#[cfg(test)]
mod tests;
