//! Readahead: fetches the blocks that readers will probably want next into the block cache, within one
//! budget for all readers.
//!
//! A [`Follower`] belongs to a handle and ends with it. When another handle continues its stream (a
//! player requests one segment after the other), the stream is parked for a while and taken up again.

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

/// Bytes of one of PRELOAD_SEGMENTS. They are 10 s of a film of 6 Mbit/s, and more than a connection
/// carries in a second.
const SEGMENT_BYTES: u64 = 8 << 20;
/// One part in this many of the cache may be fetched ahead, for all readers together.
const CACHE_PART: u64 = 4;

/// The limits of readahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadLimits {
    /// Segments ahead of one reader (PRELOAD_SEGMENTS); 0 for nothing.
    pub segments: u64,
    /// Most readers with readahead at the same time (MAX_CONCURRENT_PRELOADS).
    pub readers: usize,
}

/// Permission for another handle to continue the stream of a closed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Forbidden. The blocks that were fetched ahead are released with the handle.
    Ends,
    /// Allowed. The stream waits for the next handle.
    Waits,
}

/// One read, as a follower sees it.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The blob that positions are in. Streams of the same blob may continue each other.
    pub of: Option<BlobId>,
    pub range: ByteRange,
    /// Reach of the read.
    pub reach: ReadReach,
}

/// End of a read, compared with the end of the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadReach {
    /// It ends before the end of the handle.
    Within,
    /// It reaches the end of the handle.
    End,
}

/// The readahead of all readers.
#[derive(Debug)]
pub struct Ahead {
    cache: Arc<BlockCache>,
    spool: Arc<Spool>,
    /// Most bytes ahead of one reader, and of all readers together.
    window: u64,
    budget: u64,
    /// One permit for each block of the budget.
    room: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    most_readers: usize,
    health: RemoteHealth,
    parked: ParkedStreams,
    /// The handles that have a place among the readers, and some that had one.
    placed: Mutex<Vec<Weak<Followed>>>,
}

/// The follower of the reads of one handle.
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
    /// Makes a follower that pins nothing.
    #[must_use]
    pub const fn new(leaving: Leaving) -> Self {
        Self::with(leaving, ProbeReads::none())
    }

    /// Makes a follower of a film of `len` bytes, whose stream ends with the handle. The blocks that it
    /// reads are pinned if they are few.
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
    /// Makes the readahead of a cache.
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

    /// Records a read that is about to be answered, and starts to fetch the blocks that follow it. Never
    /// waits.
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
                    // A scanner stays within the pinned blocks, and gets no readahead.
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

    /// Returns the most bytes ahead of each reader. The current readers share the budget.
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
            // The reader reports the bytes that cannot be found.
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
        // Everything ahead is in the cache, so another reader may have the place.
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

    /// Takes a place among the readers with readahead. Parked and idle streams give up theirs.
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
            // A locked stream is being read, or is the one that asks.
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
