//! Posts a minute. The service takes about 20 a minute in one channel and answers the next with a
//! flood wait; who stays below is never told to wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::remote::telegram::Pace;
use crate::sync::MutexExt as _;

/// Posts that are known to be tolerated in one channel in a minute, and at once.
const PER_MINUTE: f64 = 20.0;
/// Of these, posts that packs leave to the log: a library whose log waits for its films would lose
/// more when its disk dies.
const LOG_RESERVE: f64 = 4.0;

/// Whose post it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Manifests, snapshots, what belongs to them.
    Log,
    Pack,
}

impl Turn {
    /// Posts that must be left for others after this one.
    const fn leaves(self) -> f64 {
        match self {
            Self::Log => 0.0,
            Self::Pack => LOG_RESERVE,
        }
    }
}

/// A token bucket a channel.
#[derive(Debug)]
pub struct Paces {
    /// Posts a second and at once; `None`: as fast as it goes.
    limit: Option<(f64, f64)>,
    buckets: Mutex<HashMap<i64, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Below zero: promised to those who wait.
    tokens: f64,
    at: Instant,
}

impl Paces {
    pub fn new(pace: Pace) -> Self {
        let part = match pace {
            Pace::Gentle => Some(0.5),
            Pace::Normal => Some(1.0),
            Pace::Fast => None,
        };
        Self {
            limit: part.map(|part| (PER_MINUTE * part / 60.0, PER_MINUTE * part)),
            buckets: Mutex::default(),
        }
    }

    /// Waits for a turn to post in `channel`. A turn that was given and not used is lost, which costs
    /// some seconds.
    pub async fn turn(&self, channel: i64, turn: Turn) {
        loop {
            match self.take(channel, turn, Instant::now()) {
                Ok(()) => return,
                Err(at) => sleep_until(at).await,
            }
        }
    }

    /// Takes a token, or says when it may be worth to ask again.
    fn take(&self, channel: i64, turn: Turn, now: Instant) -> Result<(), Instant> {
        let Some((rate, burst)) = self.limit else {
            return Ok(());
        };
        let mut buckets = self.buckets();
        let bucket = buckets.entry(channel).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        let gained = (now - bucket.at).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + gained).min(burst);
        bucket.at = now;
        let needed = 1.0 + turn.leaves() * burst / PER_MINUTE;
        if bucket.tokens >= needed {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((needed - bucket.tokens) / rate))
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<i64, Bucket>> {
        self.buckets.acquire()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twenty_at_once_then_one_each_three_seconds_with_some_kept_for_the_log() {
        let paces = Paces::new(Pace::Normal);
        let begun = Instant::now();
        for _ in 0..16 {
            paces.turn(1, Turn::Pack).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..4 {
            paces.turn(1, Turn::Log).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        paces.turn(1, Turn::Log).await;
        assert!(begun.elapsed() >= Duration::from_millis(2900));
        // The reserve has to fill up again before a pack goes.
        paces.turn(1, Turn::Pack).await;
        assert!(begun.elapsed() >= Duration::from_secs(17));
        // Another channel has a bucket of its own.
        let before = Instant::now();
        paces.turn(2, Turn::Pack).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn in_the_long_run_it_is_twenty_a_minute() {
        let paces = Paces::new(Pace::Normal);
        let begun = Instant::now();
        for _ in 0..116 {
            paces.turn(1, Turn::Pack).await;
        }
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        assert!((4.9..5.1).contains(&minutes), "{minutes}");
    }
}
