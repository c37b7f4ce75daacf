//! Pace of manifests. A channel takes about 20 messages a minute, and most of them are for packs.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::MutexExt as _;

/// Time within which changes share a manifest.
pub const GATHER: Duration = Duration::from_millis(100);
/// Manifests that may go in a row when none went for a while. A film's content must not wait because its
/// directory was made a moment ago, and its views must not wait because of both.
const BURST: u32 = 3;
/// Shortest time between two looks for changes that are not urgent. Each look reads a row of every
/// unpublished file.
const LOOK: Duration = Duration::from_secs(1);

/// Urgency of changes that wait to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublishUrgency {
    /// Names and times. They go at once if nothing was sent for an interval, and otherwise after it.
    Low,
    /// Bytes that the spool keeps until they are published. The burst may be used.
    Soon,
    /// Changes that somebody waits for.
    Now,
}

/// Signal to the publisher, which holds the highest urgency that it has not received yet.
#[derive(Debug, Default)]
pub struct UrgencySignal {
    urgency: Mutex<Option<PublishUrgency>>,
    raised: Notify,
}

impl UrgencySignal {
    /// Reports an urgency to the publisher. The highest one stays.
    pub fn raise(&self, urgency: PublishUrgency) {
        let mut held = self.urgency.acquire();
        *held = (*held).max(Some(urgency));
        drop(held);
        self.raised.notify_one();
    }

    fn take(&self, at_least: PublishUrgency) -> Option<PublishUrgency> {
        let mut held = self.urgency.acquire();
        held.take_if(|urgency| *urgency >= at_least)
    }

    /// Waits for an urgency and takes it. Cancel safe: the urgency is only taken when it is returned.
    pub async fn next(&self) -> PublishUrgency {
        loop {
            if let Some(urgency) = self.take(PublishUrgency::Low) {
                return urgency;
            }
            self.raised.notified().await;
        }
    }

    /// Waits until something is urgent now. A lower urgency stays for [`Self::next`].
    pub async fn now(&self) {
        while self.take(PublishUrgency::Now).is_none() {
            self.raised.notified().await;
        }
    }
}

/// Pace of manifests: one for each interval on average.
#[derive(Debug)]
pub struct ManifestPace {
    interval: Duration,
    last: Option<Instant>,
    looked: Option<Instant>,
    /// Time from which the whole burst may be used again.
    full_at: Instant,
    /// Time until which names and times wait for a file's bytes.
    patient_until: Option<Instant>,
}

impl ManifestPace {
    /// Starts with the whole burst.
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

    /// Returns the time from which a manifest of this urgency may go.
    #[must_use]
    pub fn due(&self, urgency: PublishUrgency) -> Instant {
        let now = Instant::now();
        match urgency {
            PublishUrgency::Now => now,
            PublishUrgency::Soon => self
                .full_at
                .checked_sub(self.interval * (BURST - 1))
                .unwrap_or(now),
            PublishUrgency::Low => {
                let sent = self.last.map(|last| last + self.interval);
                let looked = self.looked.map(|at| at + LOOK.min(self.interval));
                sent.max(looked).max(self.patient_until).unwrap_or(now)
            }
        }
    }

    /// Returns true if names and times wait while a file's bytes are on their way, at most an interval. If
    /// they took a manifest now, the file would wait for one later.
    pub fn is_patient(&mut self) -> bool {
        let now = Instant::now();
        now < *self.patient_until.get_or_insert(now + self.interval)
    }

    /// Notes a look for changes.
    pub fn looked(&mut self) {
        self.looked = Some(Instant::now());
    }

    /// Notes that a manifest went.
    pub fn sent(&mut self) {
        let now = Instant::now();
        self.last = Some(now);
        self.patient_until = None;
        // Manifests that went out of turn, as in a library's first filling, delay later ones by at most
        // the burst.
        self.full_at = (self.full_at.max(now) + self.interval).min(now + self.interval * BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn the_first_goes_at_once_and_names_then_wait_an_interval() {
        let mut pace = ManifestPace::new(INTERVAL);
        assert!(pace.due(PublishUrgency::Low) <= Instant::now());
        pace.sent();
        assert_eq!(pace.due(PublishUrgency::Low), Instant::now() + INTERVAL);
        assert!(
            pace.due(PublishUrgency::Soon) <= Instant::now(),
            "bytes do not wait"
        );
        tokio::time::advance(INTERVAL).await;
        assert!(pace.due(PublishUrgency::Low) <= Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn names_wait_an_interval_for_bytes_and_no_longer() {
        let mut pace = ManifestPace::new(INTERVAL);
        assert!(pace.is_patient());
        assert_eq!(pace.due(PublishUrgency::Low), Instant::now() + INTERVAL);
        assert!(
            pace.due(PublishUrgency::Soon) <= Instant::now(),
            "bytes do not wait"
        );
        tokio::time::advance(INTERVAL).await;
        assert!(!pace.is_patient());
        pace.sent();
        assert!(pace.is_patient());
        assert!(
            !ManifestPace::new(Duration::ZERO).is_patient(),
            "a near store"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_takes_four_and_the_burst() {
        let mut pace = ManifestPace::new(INTERVAL);
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < Duration::from_secs(600) {
            tokio::time::sleep_until(pace.due(PublishUrgency::Soon)).await;
            pace.sent();
            sent += 1;
        }
        assert!((40..=44).contains(&sent), "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn manifests_out_of_turn_delay_by_the_burst_at_most() {
        let mut pace = ManifestPace::new(INTERVAL);
        (0..100).for_each(|_| pace.sent());
        assert_eq!(pace.due(PublishUrgency::Soon), Instant::now() + INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgency_is_heard_once_and_the_highest_wins() {
        let signal = UrgencySignal::default();
        signal.raise(PublishUrgency::Now);
        signal.raise(PublishUrgency::Soon);
        assert_eq!(signal.next().await, PublishUrgency::Now);
        signal.raise(PublishUrgency::Soon);
        let none = tokio::time::timeout(INTERVAL, signal.now()).await;
        assert!(none.is_err(), "not now");
        assert_eq!(signal.next().await, PublishUrgency::Soon);
    }
}
