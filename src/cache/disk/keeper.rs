//! The thread of a [`super::DiskStore`]: looks at what is there, writes, makes room, removes.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::ledger::taken;
use super::place::{Look, now};
use super::{Eviction, Offer, Order, Shared, count, lock};
use crate::disk::DirectoryLock;

/// Between two looks at the free space, while nothing is written.
const WATCH: Duration = Duration::from_secs(2);
/// The same where it comes near the floor: a fast copy writes 200 MB meanwhile.
const NEAR_WATCH: Duration = Duration::from_millis(200);
const NEAR_BYTES: u64 = 4 << 30;
/// How long a disk that failed is left alone.
const PAUSE: Duration = Duration::from_secs(30);

/// What the thread remembers of the disk.
#[derive(Default)]
struct Trouble {
    /// It was told; the next good write ends it.
    is_told: bool,
    until: Option<Instant>,
}

impl Trouble {
    /// Once, until something is written again.
    fn tell(&mut self, tell: impl FnOnce()) {
        if !std::mem::replace(&mut self.is_told, true) {
            tell();
        }
    }
}

/// Why a file stays out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoom {
    InTheBudget,
    OnTheDisk,
}

pub fn run(shared: &Shared, orders: &Receiver<Order>, held: DirectoryLock) {
    shared.scan();
    let mut trouble = Trouble::default();
    loop {
        let order = orders.recv_timeout(shared.watch());
        shared.remove_doomed();
        match order {
            Ok(Order::Keep(offer)) => shared.keep(&offer, &mut trouble),
            Ok(Order::Wake) => {}
            Ok(Order::Stop(done)) => {
                drop(held);
                // Whoever asked may not wait any more.
                let _ = done.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {
                // What is there and cannot go is nobody's trouble until something is to be written.
                let _ = shared.make_room(0);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Shared {
    /// Takes in what the last run left.
    fn scan(&self) {
        let begun = Instant::now();
        let mut files = 0_u64;
        let scanned = self.place.scan(&mut |item, len, used| {
            let scan = lock(&self.scan);
            if scan
                .dropped
                .iter()
                .any(|selection| selection.takes(item, used))
            {
                lock(&self.doomed).push(item);
                return Look::On;
            }
            if self.is_stopping.load(Ordering::Relaxed) && scan.dropped.is_empty() {
                return Look::Enough;
            }
            files += 1;
            lock(&self.ledger).insert(item, len, used);
            Look::On
        });
        let directory = self.place.root().display();
        if let Err(error) = scanned {
            tracing::warn!(%directory, %error, "cached files cannot be looked at; some are of no use");
        }
        tracing::debug!(%directory, files, time = ?begun.elapsed(), "looked at the cached files");
        {
            let mut scan = lock(&self.scan);
            scan.is_over = true;
            scan.dropped.clear();
        }
        // Also where the limits are lower than in the last run.
        let _ = self.make_room(0);
        self.scanned.notify_all();
    }

    fn watch(&self) -> Duration {
        let near = self.limits.floor.saturating_add(NEAR_BYTES);
        let is_near = self.place.free() < near && lock(&self.ledger).bytes() > 0;
        if is_near { NEAR_WATCH } else { WATCH }
    }

    fn remove_doomed(&self) {
        let doomed = std::mem::take(&mut *lock(&self.doomed));
        for item in doomed {
            if let Err(error) = self.place.remove(item) {
                tracing::debug!(?item, %error, "a cached file cannot be removed");
            }
        }
    }

    fn keep(&self, offer: &Offer, trouble: &mut Trouble) {
        let Offer { item, bytes, era } = offer;
        let item = *item;
        let is_wanted = || self.era.load(Ordering::Acquire) == *era;
        if !is_wanted() || lock(&self.ledger).contains(item) {
            return;
        }
        if trouble.until.is_some_and(|until| Instant::now() < until) {
            return count(&self.counters.unwritten, 1);
        }
        if let Err(reason) = self.make_room(taken(bytes.len() as u64)) {
            count(&self.counters.unwritten, 1);
            return trouble.tell(|| self.tell_no_room(reason));
        }
        let now = now();
        match self.place.write(item, bytes) {
            Ok(()) => {
                let mut ledger = lock(&self.ledger);
                if !is_wanted() {
                    return lock(&self.doomed).push(item);
                }
                ledger.insert(item, bytes.len() as u64, now);
                drop(ledger);
                count(&self.counters.written_bytes, bytes.len() as u64);
                *trouble = Trouble::default();
            }
            Err(error) => {
                count(&self.counters.unwritten, 1);
                trouble.until = Some(Instant::now() + PAUSE);
                trouble.tell(|| {
                    let directory = self.place.root().display();
                    tracing::warn!(%directory, %error, "nothing can be cached there for now");
                });
            }
        }
    }

    fn tell_no_room(&self, reason: NoRoom) {
        let directory = self.place.root().display();
        match reason {
            NoRoom::OnTheDisk => {
                tracing::warn!(%directory, "the disk is nearly full: nothing is cached there");
            }
            NoRoom::InTheBudget => {
                let bytes = self.limits.budget;
                tracing::info!(%directory, bytes, "the room for blocks is used up; others stay out");
            }
        }
    }

    /// Removes files until `incoming` more bytes are within budget and floor.
    fn make_room(&self, incoming: u64) -> Result<(), NoRoom> {
        let limits = &self.limits;
        let free = self.place.free();
        // The free space is asked for once: some file systems tell of removed files late.
        let mut too_many = limits.floor.saturating_add(incoming).saturating_sub(free);
        loop {
            let (over, oldest) = {
                let ledger = lock(&self.ledger);
                let over = (ledger.bytes() + incoming).saturating_sub(limits.budget);
                (over, ledger.oldest())
            };
            if over == 0 && too_many == 0 {
                return Ok(());
            }
            let reason = match too_many {
                0 => NoRoom::InTheBudget,
                _ => NoRoom::OnTheDisk,
            };
            let (used, item) = oldest.ok_or(reason)?;
            // The floor is for others, who need it more.
            let may_go = match limits.eviction {
                Eviction::Oldest => true,
                Eviction::Unused(time) => {
                    too_many > 0 || u128::from(now().saturating_sub(used)) >= time.as_millis()
                }
            };
            if !may_go {
                return Err(reason);
            }
            let bytes = lock(&self.ledger).remove(item).unwrap_or_default();
            too_many = too_many.saturating_sub(bytes);
            count(&self.counters.evictions, 1);
            if let Err(error) = self.place.remove(item) {
                tracing::debug!(?item, %error, "a cached file cannot be removed");
            }
        }
    }
}
