//! When the next manifest may go: a channel takes about 20 messages a minute, and most of them are
//! for packs.

use std::sync::Mutex;
use std::time::Duration;

use crate::sync::MutexExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Changes that come within this time share a manifest.
pub const GATHER: Duration = Duration::from_millis(100);
/// Manifests that may go one right after the other when none went for a while: a film's content
/// does not wait because the directory was made a moment ago, nor its views because of both.
const BURST: u32 = 3;
/// Shortest time between two looks for changes that do not matter much: a look reads a row of each
/// unpublished file.
const LOOK: Duration = Duration::from_secs(1);

/// How much it matters that something is published soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Names and times: at once when nothing was sent for an interval.
    Some,
    /// Bytes that the spool keeps until then: out of the reserve if need be.
    Soon,
    /// Somebody waits for it.
    Now,
}

/// The largest wish that was not heard yet.
#[derive(Debug, Default)]
pub struct Wishes {
    wish: Mutex<Option<Wish>>,
    raised: Notify,
}

impl Wishes {
    pub fn raise(&self, wish: Wish) {
        let mut held = self.wish.acquire();
        *held = (*held).max(Some(wish));
        drop(held);
        self.raised.notify_one();
    }

    fn take(&self, at_least: Wish) -> Option<Wish> {
        let mut held = self.wish.acquire();
        held.take_if(|wish| *wish >= at_least)
    }

    /// Cancel safe: a wish is only taken when it is returned.
    pub async fn next(&self) -> Wish {
        loop {
            if let Some(wish) = self.take(Wish::Some) {
                return wish;
            }
            self.raised.notified().await;
        }
    }

    /// Until something is wanted now. Other wishes stay for [`Self::next`].
    pub async fn now(&self) {
        while self.take(Wish::Now).is_none() {
            self.raised.notified().await;
        }
    }
}

/// One manifest an interval on average.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    last: Option<Instant>,
    looked: Option<Instant>,
    /// When all of the burst may be used again.
    full_at: Instant,
    /// Until when names and times wait for a file's bytes.
    patient_until: Option<Instant>,
}

impl Pace {
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            looked: None,
            full_at: Instant::now(),
            patient_until: None,
        }
    }

    /// When a manifest for `wish` may go.
    #[must_use]
    pub fn due(&self, wish: Wish) -> Instant {
        let now = Instant::now();
        match wish {
            Wish::Now => now,
            Wish::Soon => self
                .full_at
                .checked_sub(self.interval * (BURST - 1))
                .unwrap_or(now),
            Wish::Some => {
                let sent = self.last.map(|last| last + self.interval);
                let looked = self.looked.map(|at| at + LOOK.min(self.interval));
                sent.max(looked).max(self.patient_until).unwrap_or(now)
            }
        }
    }

    /// Whether names and times wait a while, since a file's bytes are on their way: the manifest
    /// that they would take is the one that the file then waits for. An interval at most.
    pub fn is_patient(&mut self) -> bool {
        let now = Instant::now();
        now < *self.patient_until.get_or_insert(now + self.interval)
    }

    pub fn looked(&mut self) {
        self.looked = Some(Instant::now());
    }

    pub fn sent(&mut self) {
        let now = Instant::now();
        self.last = Some(now);
        self.patient_until = None;
        // What went out of turn, a library's first filling for one, is not held against the rest.
        self.full_at = (self.full_at.max(now) + self.interval).min(now + self.interval * BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn the_first_goes_at_once_and_names_then_wait_an_interval() {
        let mut pace = Pace::new(INTERVAL);
        assert!(pace.due(Wish::Some) <= Instant::now());
        pace.sent();
        assert_eq!(pace.due(Wish::Some), Instant::now() + INTERVAL);
        assert!(pace.due(Wish::Soon) <= Instant::now(), "bytes do not wait");
        tokio::time::advance(INTERVAL).await;
        assert!(pace.due(Wish::Some) <= Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn names_wait_an_interval_for_bytes_and_no_longer() {
        let mut pace = Pace::new(INTERVAL);
        assert!(pace.is_patient());
        assert_eq!(pace.due(Wish::Some), Instant::now() + INTERVAL);
        assert!(pace.due(Wish::Soon) <= Instant::now(), "bytes do not wait");
        tokio::time::advance(INTERVAL).await;
        assert!(!pace.is_patient());
        pace.sent();
        assert!(pace.is_patient());
        assert!(!Pace::new(Duration::ZERO).is_patient(), "a near store");
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_takes_four_and_the_burst() {
        let mut pace = Pace::new(INTERVAL);
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < Duration::from_secs(600) {
            tokio::time::sleep_until(pace.due(Wish::Soon)).await;
            pace.sent();
            sent += 1;
        }
        assert!((40..=44).contains(&sent), "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_went_out_of_turn_delays_by_the_burst_at_most() {
        let mut pace = Pace::new(INTERVAL);
        (0..100).for_each(|_| pace.sent());
        assert_eq!(pace.due(Wish::Soon), Instant::now() + INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_heard_once_and_the_largest_wins() {
        let wishes = Wishes::default();
        wishes.raise(Wish::Now);
        wishes.raise(Wish::Soon);
        assert_eq!(wishes.next().await, Wish::Now);
        wishes.raise(Wish::Soon);
        let none = tokio::time::timeout(INTERVAL, wishes.now()).await;
        assert!(none.is_err(), "not now");
        assert_eq!(wishes.next().await, Wish::Soon);
    }
}
