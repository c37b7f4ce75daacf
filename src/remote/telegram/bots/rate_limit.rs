//! Posts a minute. The service takes about 20 a minute in one channel and answers the next with a
//! flood wait; who stays below is never told to wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::model::RateLimit;
use crate::sync::MutexExt as _;

/// Posts that are known to be tolerated in one channel in a minute, and at once.
const PER_MINUTE: f64 = 20.0;
/// Of these, posts that packs leave to the log: a library whose log waits for its films would lose
/// more when its disk dies.
const LOG_RESERVE: f64 = 4.0;

/// Whose post it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostPriority {
    /// Manifests, snapshots, what belongs to them.
    Log,
    Pack,
}

impl PostPriority {
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
pub struct RateLimiter {
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

impl RateLimiter {
    pub fn new(rate_limit: RateLimit) -> Self {
        let part = match rate_limit {
            RateLimit::Gentle => Some(0.5),
            RateLimit::Normal => Some(1.0),
            RateLimit::Fast => None,
        };
        Self {
            limit: part.map(|part| (PER_MINUTE * part / 60.0, PER_MINUTE * part)),
            buckets: Mutex::default(),
        }
    }

    /// Waits for a turn to post in `channel`. A turn that was given and not used is lost, which costs
    /// some seconds.
    pub async fn turn(&self, channel: i64, turn: PostPriority) {
        loop {
            match self.take(channel, turn, Instant::now()) {
                Ok(()) => return,
                Err(at) => sleep_until(at).await,
            }
        }
    }

    /// Takes a token, or says when it may be worth to ask again.
    fn take(&self, channel: i64, turn: PostPriority, now: Instant) -> Result<(), Instant> {
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
        let rate_limiter = RateLimiter::new(RateLimit::Normal);
        let begun = Instant::now();
        for _ in 0..16 {
            rate_limiter.turn(1, PostPriority::Pack).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..4 {
            rate_limiter.turn(1, PostPriority::Log).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        rate_limiter.turn(1, PostPriority::Log).await;
        assert!(begun.elapsed() >= Duration::from_millis(2900));
        // The reserve has to fill up again before a pack goes.
        rate_limiter.turn(1, PostPriority::Pack).await;
        assert!(begun.elapsed() >= Duration::from_secs(17));
        // Another channel has a bucket of its own.
        let before = Instant::now();
        rate_limiter.turn(2, PostPriority::Pack).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn in_the_long_run_it_is_twenty_a_minute() {
        let rate_limiter = RateLimiter::new(RateLimit::Normal);
        let begun = Instant::now();
        for _ in 0..116 {
            rate_limiter.turn(1, PostPriority::Pack).await;
        }
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        assert!((4.9..5.1).contains(&minutes), "{minutes}");
    }
}
