//! Fetching what a reader will probably want next: into the block cache, behind the scenes, and
//! within one budget for all readers.
//!
//! A [`Follower`] belongs to a handle and ends with it. Where a stream goes on in another handle (a
//! player asks for one segment after the other) it is parked for a while and taken up again.

mod health;
mod parked;
mod stream;

use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::locate::{ExtentLookup, ReadLocation, locate};
use super::probe_reads::ProbeReads;
use super::window::WindowStep;
use crate::cache::{BlockCache, BlockKey};
use crate::model::{BLOCK_BYTES, BlobId, BlockIndex, ByteRange, PackRef};
use crate::spool::Spool;
use crate::sync::MutexExt as _;
use health::RemoteHealth;
use parked::{PARKED_FOR, ParkedStreams};
use stream::{ReadStream, ReadaheadFetch};

/// What one of PRELOAD_SEGMENTS counts for where there are no segments: 10 s of a film of
/// 6 Mbit/s, and more than a lane carries in a second.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The part of the cache that may be fetched ahead of all readers together.
const CACHE_PART: u64 = 4;
/// How much is fetched ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadLimits {
    /// Segments ahead of one reader (PRELOAD_SEGMENTS); 0 for nothing.
    pub segments: u64,
    /// Readers that are fetched ahead for at the same time (MAX_CONCURRENT_PRELOADS).
    pub readers: usize,
}

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
    pub reach: ReadReach,
}

/// How far a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadReach {
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
    health: RemoteHealth,
    parked: ParkedStreams,
    /// Those that have a place, and some that had one.
    placed: Mutex<Vec<Weak<Followed>>>,
}

/// What follows the reads of one handle.
#[derive(Debug)]
pub struct Follower {
    leaving: Leaving,
    followed: OnceLock<Arc<Followed>>,
    probe_reads: ProbeReads,
}

#[derive(Debug)]
struct Followed {
    ahead: Arc<Ahead>,
    stream: Mutex<ReadStream>,
}

impl Follower {
    #[must_use]
    pub const fn new(leaving: Leaving) -> Self {
        Self::with(leaving, ProbeReads::none())
    }

    /// As one that ends with its handle, on a film of so many bytes: what is read of it is pinned,
    /// if that is little.
    #[must_use]
    pub fn of_film(len: u64) -> Self {
        Self::with(Leaving::Ends, ProbeReads::of(len))
    }

    const fn with(leaving: Leaving, probe_reads: ProbeReads) -> Self {
        Self {
            leaving,
            followed: OnceLock::new(),
            probe_reads,
        }
    }

    pub(super) const fn probe_reads(&self) -> &ProbeReads {
        &self.probe_reads
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.leaving == Leaving::Waits
            && let Some(followed) = self.followed.take()
        {
            let stream = std::mem::take(&mut *followed.stream.acquire());
            followed.ahead.parked.park(stream);
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
            health: RemoteHealth::default(),
            parked: ParkedStreams::default(),
            placed: Mutex::default(),
        })
    }

    /// Takes a read that is about to be answered, and begins to fetch what follows it. Never waits.
    pub fn follow(
        self: &Arc<Self>,
        follower: &Follower,
        reading: Reading,
        source: ExtentLookup<'_>,
    ) {
        if self.window < BLOCK_BYTES {
            return;
        }
        let followed = follower.followed.get_or_init(|| {
            Arc::new(Followed {
                ahead: Arc::clone(self),
                stream: Mutex::new(
                    self.parked
                        .take(reading.of, reading.range)
                        .unwrap_or_default(),
                ),
            })
        });
        let mut stream = followed.stream.acquire();
        let had_place = stream.place.is_some();
        stream.of = reading.of;
        stream.read_at = Some(Instant::now());
        stream.at_end = reading.reach == ReadReach::End;
        match stream.window.read(reading.range, self.most()) {
            WindowStep::Apart => stream.let_go(),
            WindowStep::Follows(want) => {
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
            let mut placed = self.placed.acquire();
            placed.retain(|placed| placed.strong_count() > 0);
            placed.push(Arc::downgrade(followed));
        }
    }

    fn is_pinned(&self, range: ByteRange, source: ExtentLookup<'_>) -> bool {
        if !self.cache.has_pins() {
            return false;
        }
        let located = source(range)
            .and_then(|(extents, blobs)| locate(&extents, &blobs, |id| self.spool.get(id)).ok());
        let is_pinned = |place: &ReadLocation| match place {
            ReadLocation::Pack { pack, offset, .. } => u32::try_from(offset / BLOCK_BYTES)
                .is_ok_and(|number| self.cache.is_pinned(BlockKey::of(pack, BlockIndex(number)))),
            ReadLocation::Zeros(_) | ReadLocation::Spool { .. } => false,
        };
        located.is_some_and(|places| !places.is_empty() && places.iter().all(is_pinned))
    }

    /// Bytes ahead of each reader: the budget is shared by those that there are.
    fn most(&self) -> u64 {
        let readers = self.most_readers - self.readers.available_permits().min(self.most_readers);
        self.window.min(self.budget / readers.max(1) as u64)
    }

    fn fetch(self: &Arc<Self>, stream: &mut ReadStream, want: ByteRange, source: ExtentLookup<'_>) {
        if self.health.is_pausing() {
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
            if let ReadLocation::Pack { pack, offset, .. } = place
                && let Ok(number) = u32::try_from(offset / BLOCK_BYTES)
            {
                let key = BlockKey::of(&pack, BlockIndex(number));
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
        key: BlockKey,
        end: u64,
        room: OwnedSemaphorePermit,
    ) -> ReadaheadFetch {
        let block = Arc::new(self.cache.hold(key));
        let (ahead, wanted) = (Arc::clone(self), Arc::clone(&block));
        let task = tokio::spawn(async move {
            let fetched = ahead.cache.fetch_ahead(&pack, &wanted).await;
            match fetched {
                Ok(()) => ahead.health.succeeded(),
                Err(_) => ahead.health.failed(),
            }
        });
        ReadaheadFetch {
            key,
            end,
            task: task.abort_handle(),
            _block: block,
            _room: room,
        }
    }

    /// A place among the readers that are fetched ahead for; who only waits makes room.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let free = || Arc::clone(&self.readers).try_acquire_owned().ok();
        free()
            .or_else(|| {
                self.parked.drop_oldest_placed();
                free()
            })
            .or_else(|| {
                self.drop_idle();
                free()
            })
    }

    fn drop_idle(&self) {
        for followed in self.placed.acquire().iter().filter_map(Weak::upgrade) {
            // One that is locked is being read, the one that asks included.
            if let Ok(mut stream) = followed.stream.try_lock()
                && stream.read_at.is_some_and(|at| at.elapsed() >= PARKED_FOR)
            {
                stream.let_go();
            }
        }
    }
}

#[cfg(test)]
mod tests;
