//! Second tries of late calls: their budget, and the times at which they are due.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Number of calls for which one second try is allowed. A slow service is therefore not asked twice for
/// everything.
const CALLS_A_HEDGE: i64 = 8;
/// Second tries that may be saved up.
const SAVED_HEDGES: i64 = 16;
/// Time without an answer after which a call is lost rather than slow. It is tried elsewhere without a
/// saved try, and again after twice as long.
const LOST: Duration = Duration::from_secs(1);
/// Most further tries of one call. Its time limit is near then.
const MOST_HEDGES: u32 = 4;

/// Calls under way at each bot, and the budget of second tries. A bot is identified by its place.
#[derive(Debug)]
pub struct ReaderLoad {
    busy: Vec<AtomicUsize>,
    /// Second tries allowed, times [`CALLS_A_HEDGE`].
    allowance: AtomicI64,
    next: AtomicUsize,
    /// Notified of each call that ends.
    freed: Notify,
}

impl ReaderLoad {
    /// Makes a load without calls, and with a full budget, for this many bots.
    pub fn new(bots: usize) -> Self {
        Self {
            busy: (0..bots).map(|_| AtomicUsize::new(0)).collect(),
            allowance: AtomicI64::new(SAVED_HEDGES * CALLS_A_HEDGE),
            next: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Adds one call to the budget.
    pub fn earn(&self) {
        let most = SAVED_HEDGES * CALLS_A_HEDGE;
        if self.allowance.fetch_add(1, Ordering::Relaxed) >= most {
            self.allowance.store(most, Ordering::Relaxed);
        }
    }

    /// Takes a second try from the budget. Returns whether there was one.
    pub fn spend(&self) -> bool {
        let before = self.allowance.fetch_sub(CALLS_A_HEDGE, Ordering::Relaxed);
        if before < CALLS_A_HEDGE {
            self.allowance.fetch_add(CALLS_A_HEDGE, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Returns a number that rises with each call. Equal bots take turns by it.
    pub fn next_turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the calls under way at a bot.
    pub fn busy(&self, place: usize) -> usize {
        self.busy
            .get(place)
            .map_or(0, |busy| busy.load(Ordering::Relaxed))
    }

    /// Returns a future of the next call that ends.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Counts a call at a bot until the guard is dropped.
    pub fn begin(&self, place: usize) -> ReaderCall<'_> {
        if let Some(count) = self.busy.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        ReaderCall { load: self, place }
    }
}

/// Call under way at a bot.
#[derive(Debug)]
pub struct ReaderCall<'a> {
    load: &'a ReaderLoad,
    place: usize,
}

impl Drop for ReaderCall<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.load.busy.get(self.place) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.load.freed.notify_one();
    }
}

/// Further tries of one call.
#[derive(Debug, Default)]
pub struct Hedges {
    count: u32,
}

impl Hedges {
    /// Counts a further try, and returns when the one after it is due.
    pub fn next(&mut self, now: Instant) -> Option<Instant> {
        self.count += 1;
        (self.count < MOST_HEDGES).then(|| now + LOST * 2_u32.pow(self.count - 1))
    }

    /// Returns whether the try needs no budget, because the call counts as lost.
    pub const fn are_free(&self) -> bool {
        self.count > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_tries_are_saved_up_and_one_in_eight_calls() {
        let load = ReaderLoad::new(1);
        let saved = (0..100).filter(|_| load.spend()).count();
        assert_eq!(saved as i64, SAVED_HEDGES);
        for _ in 0..7 {
            load.earn();
        }
        assert!(!load.spend());
        load.earn();
        assert!(load.spend());
        assert!(!load.spend());
    }

    #[test]
    fn a_call_is_counted_until_it_ends() {
        let load = ReaderLoad::new(2);
        let call = load.begin(1);
        assert_eq!((load.busy(0), load.busy(1)), (0, 1));
        drop(call);
        assert_eq!(load.busy(1), 0);
    }
}
