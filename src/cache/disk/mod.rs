//! Blocks and tables in files, below the memory cache: within a budget and a floor of free space,
//! written behind the readers by one thread, found again after a restart.
//!
//! What lies here is what the store holds, so an encrypted library is encrypted here too. Whoever
//! reads a file checks it as if it came from the store.

mod keeper;
mod ledger;
mod place;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::disk::{DirectoryLock, LockError, make_private_directory};
use crate::model::{PackId, TierStats};
use crate::sync::MutexExt as _;
use ledger::Ledger;
pub use place::Item;
use place::{Millis, Place, now};

/// Files that wait to be written, 16 MiB of blocks; further ones are let go.
const MAX_WAITING: usize = 32;
/// A use is noted on the disk, for the order after a restart, when the last note is so old.
const NOTED_EVERY: Duration = Duration::from_secs(600);

/// What has to go when there is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// What was used longest ago.
    Oldest,
    /// Only what was not used for so long; else what is new stays out.
    Unused(Duration),
}

/// Where files lie, and how much they may take.
#[derive(Debug, Clone)]
pub struct DiskLimits {
    pub directory: PathBuf,
    /// Bytes on the disk.
    pub budget: u64,
    /// Free bytes that are left to others.
    pub floor: u64,
    pub eviction: Eviction,
}

/// A set of files to be dropped.
#[derive(Debug, Clone)]
pub enum Selection {
    All,
    Packs(HashSet<PackId>),
    UnusedSince(Millis),
}

impl Selection {
    /// What was not used for so long.
    pub fn unused_for(time: Duration) -> Self {
        let ago = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self::UnusedSince(now().saturating_sub(ago))
    }

    fn takes(&self, item: Item, used: Millis) -> bool {
        match self {
            Self::All => true,
            Self::Packs(packs) => packs.contains(&item.pack()),
            Self::UnusedSince(time) => used <= *time,
        }
    }
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    pub blocks: u64,
    pub bytes: u64,
}

impl std::ops::Add for Dropped {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            bytes: self.bytes + other.bytes,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    hit_bytes: AtomicU64,
    written_bytes: AtomicU64,
    evictions: AtomicU64,
    damaged: AtomicU64,
    /// Not written: the queue or the disk was full, or the disk failed.
    unwritten: AtomicU64,
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[derive(Debug)]
struct Shared {
    place: Place,
    limits: DiskLimits,
    ledger: Mutex<Ledger>,
    /// Taken out of the ledger, and still on the disk.
    doomed: Mutex<Vec<Item>>,
    scan: Mutex<Scan>,
    scanned: Condvar,
    is_stopping: AtomicBool,
    /// Changes with each drop: what was offered before it is not written after it.
    era: AtomicU64,
    counters: Counters,
}

/// How far the look at what the last run left has come.
#[derive(Debug, Default)]
struct Scan {
    is_over: bool,
    /// What was dropped before it was found.
    dropped: Vec<Selection>,
}

struct Offer {
    item: Item,
    bytes: Bytes,
    era: u64,
}

enum Order {
    Keep(Offer),
    /// Something is doomed.
    Wake,
    /// Everything before is done; the thread ends.
    Stop(std::sync::mpsc::Sender<()>),
}

/// The files of one directory, and the thread that writes them.
#[derive(Debug)]
pub struct DiskStore {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.acquire()
}

impl DiskStore {
    /// Makes the directory and begins to look at what lies in it, in a thread of its own.
    ///
    /// # Errors
    /// When the directory cannot be made, is not ours, or another process uses it.
    pub fn open(limits: DiskLimits) -> io::Result<Self> {
        let directory = &limits.directory;
        make_private_directory(directory)?;
        let held = DirectoryLock::take(directory).map_err(|error| match error {
            LockError::Io(error) => error,
            held @ LockError::Held(_) => io::Error::other(held),
        })?;
        let shared = Arc::new(Shared {
            place: Place::new(directory.clone()),
            limits,
            ledger: Mutex::default(),
            doomed: Mutex::default(),
            scan: Mutex::default(),
            scanned: Condvar::new(),
            is_stopping: AtomicBool::new(false),
            era: AtomicU64::new(0),
            counters: Counters::default(),
        });
        let (orders, received): (_, Receiver<Order>) = sync_channel(MAX_WAITING);
        let keeping = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("disk-cache".to_owned())
            .spawn(move || keeper::run(&keeping, &received, held))?;
        Ok(Self { shared, orders })
    }

    /// Whether it is worth to look for a file.
    pub fn may_hold(&self, item: Item) -> bool {
        // One lock at a time; where both are held, that of the scan comes first.
        let is_over = lock(&self.shared.scan).is_over;
        !is_over || self.holds(item)
    }

    pub fn holds(&self, item: Item) -> bool {
        lock(&self.shared.ledger).contains(item)
    }

    /// The bytes of a file, not checked. Blocking.
    pub fn read(&self, item: Item) -> Option<Bytes> {
        let found = self.shared.place.read(item).unwrap_or_else(|error| {
            tracing::debug!(?item, %error, "a cached file cannot be read");
            None
        });
        match found {
            None => {
                // Somebody else removed it.
                lock(&self.shared.ledger).remove(item);
            }
            Some(_) => self.used(item),
        }
        found
    }

    /// A block keeps its table: one is of no use without the other.
    fn used(&self, item: Item) {
        let now = now();
        for item in [item, Item::Table(item.pack())] {
            let before = lock(&self.shared.ledger).touch(item, now);
            let is_due = before.is_some_and(|ago| u128::from(ago) >= NOTED_EVERY.as_millis());
            if is_due && let Err(error) = self.shared.place.touch(item, now) {
                tracing::debug!(?item, %error, "the use of a cached file is not noted");
            }
        }
    }

    /// Says that what was read is what it should be.
    pub fn count_hit(&self, len: u64) {
        count(&self.shared.counters.hits, 1);
        count(&self.shared.counters.hit_bytes, len);
    }

    /// Removes a file that is not what it should be. Blocking.
    pub fn remove_damaged(&self, item: Item) {
        count(&self.shared.counters.damaged, 1);
        tracing::warn!(
            directory = %self.shared.place.root().display(),
            ?item,
            "a cached file is damaged and was dropped; is the disk well?"
        );
        // At once: what comes in its place is offered next.
        if let Err(error) = self.shared.place.remove(item) {
            tracing::debug!(?item, %error, "a cached file cannot be removed");
        }
        lock(&self.shared.ledger).remove(item);
    }

    /// Takes a file to be written soon; never waits, and lets it go where too many wait.
    pub fn offer(&self, item: Item, bytes: Bytes) {
        if self.holds(item) {
            return;
        }
        let era = self.shared.era.load(Ordering::Acquire);
        match self
            .orders
            .try_send(Order::Keep(Offer { item, bytes, era }))
        {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                count(&self.shared.counters.unwritten, 1);
            }
        }
    }

    /// As [`Self::offer`], and waits where too many wait. Blocking.
    pub fn put(&self, item: Item, bytes: Bytes) {
        if self.holds(item) {
            return;
        }
        let era = self.shared.era.load(Ordering::Acquire);
        let order = Order::Keep(Offer { item, bytes, era });
        if self.orders.send(order).is_err() {
            count(&self.shared.counters.unwritten, 1);
        }
    }

    /// Drops files: nobody finds them from here on, and the thread removes them.
    pub fn drop_files(&self, selection: &Selection) -> Dropped {
        if !matches!(selection, Selection::UnusedSince(_)) {
            self.shared.era.fetch_add(1, Ordering::AcqRel);
        }
        let mut scan = lock(&self.shared.scan);
        let mut ledger = lock(&self.shared.ledger);
        let before = (ledger.blocks(), ledger.bytes());
        let doomed = ledger.take(|item, used| selection.takes(item, used));
        let dropped = Dropped {
            blocks: before.0 - ledger.blocks(),
            bytes: before.1 - ledger.bytes(),
        };
        drop(ledger);
        if !scan.is_over {
            scan.dropped.push(selection.clone());
        }
        drop(scan);
        self.doom(doomed);
        dropped
    }

    fn doom(&self, items: Vec<Item>) {
        lock(&self.shared.doomed).extend(items);
        // A full queue wakes the thread as well.
        let _ = self.orders.try_send(Order::Wake);
    }

    /// Packs of which something lies here.
    pub fn packs(&self) -> HashSet<PackId> {
        lock(&self.shared.ledger).packs().collect()
    }

    /// Waits until all that the last run left is known. Blocking.
    pub fn wait_for_scan(&self) {
        let mut scan = lock(&self.shared.scan);
        while !scan.is_over {
            scan = self
                .shared
                .scanned
                .wait(scan)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes what waits, and lets go of the directory. Blocking.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        let (done, ended) = channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            // An error says that it ended without an answer.
            let _ = ended.recv();
        }
    }

    /// Bytes that all files take.
    pub fn bytes(&self) -> u64 {
        lock(&self.shared.ledger).bytes()
    }

    pub fn stats(&self) -> TierStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        let ledger = lock(&self.shared.ledger);
        TierStats {
            capacity_bytes: self.shared.limits.budget,
            bytes: ledger.bytes(),
            entries: ledger.blocks(),
            hits: load(&counters.hits),
            hit_bytes: load(&counters.hit_bytes),
            written_bytes: load(&counters.written_bytes),
            evictions: load(&counters.evictions),
            damaged: load(&counters.damaged),
            unwritten: load(&counters.unwritten),
        }
    }
}
