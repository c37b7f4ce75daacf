//! Limit on posts a minute. The service takes about 20 posts a minute in one channel and answers the next
//! one with a flood wait. Bots that stay below the limit are never told to wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::model::{ChannelId, RateLimit};
use crate::sync::MutexExt as _;

/// Posts that are known to be tolerated in one channel in a minute, and at once.
const PER_MINUTE: f64 = 20.0;
/// Number of these posts that packs leave to the log. A library whose log waits behind its films would
/// lose more when the disk dies.
const LOG_RESERVE: f64 = 4.0;

/// Priority of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostPriority {
    /// Manifests, snapshots, marks and probes.
    Log,
    /// Packs, which leave some posts to the log.
    Pack,
}

impl PostPriority {
    /// Returns the posts that must be left for others after this one.
    const fn leaves(self) -> f64 {
        match self {
            Self::Log => 0.0,
            Self::Pack => LOG_RESERVE,
        }
    }
}

/// Token buckets, one for each channel.
#[derive(Debug)]
pub struct RateLimiter {
    /// Rate in posts a second, and number of posts at once; `None` for no limit.
    limit: Option<(f64, f64)>,
    buckets: Mutex<HashMap<ChannelId, PostBucket>>,
}

#[derive(Debug, Clone, Copy)]
struct PostBucket {
    /// Posts that may go now.
    tokens: f64,
    at: Instant,
}

impl RateLimiter {
    /// Makes full buckets for every channel.
    pub fn new(limit: RateLimit) -> Self {
        let part = match limit {
            RateLimit::Gentle => Some(0.5),
            RateLimit::Normal => Some(1.0),
            RateLimit::Fast => None,
        };
        Self {
            limit: part.map(|part| (PER_MINUTE * part / 60.0, PER_MINUTE * part)),
            buckets: Mutex::default(),
        }
    }

    /// Waits until a post may go to `channel`. A permission that is not used is lost, which costs some
    /// seconds.
    pub async fn wait(&self, channel: ChannelId, priority: PostPriority) {
        loop {
            match self.take(channel, priority, Instant::now()) {
                Ok(()) => return,
                Err(at) => sleep_until(at).await,
            }
        }
    }

    /// Takes a token, or returns when to try again.
    fn take(
        &self,
        channel: ChannelId,
        priority: PostPriority,
        now: Instant,
    ) -> Result<(), Instant> {
        let Some((rate, burst)) = self.limit else {
            return Ok(());
        };
        let mut buckets = self.buckets();
        let bucket = buckets.entry(channel).or_insert(PostBucket {
            tokens: burst,
            at: now,
        });
        let gained = (now - bucket.at).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + gained).min(burst);
        bucket.at = now;
        let needed = 1.0 + priority.leaves() * burst / PER_MINUTE;
        if bucket.tokens >= needed {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((needed - bucket.tokens) / rate))
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<ChannelId, PostBucket>> {
        self.buckets.acquire()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twenty_at_once_then_one_each_three_seconds_with_some_kept_for_the_log() {
        let limiter = RateLimiter::new(RateLimit::Normal);
        let begun = Instant::now();
        for _ in 0..16 {
            limiter.wait(ChannelId::new(1), PostPriority::Pack).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..4 {
            limiter.wait(ChannelId::new(1), PostPriority::Log).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        limiter.wait(ChannelId::new(1), PostPriority::Log).await;
        assert!(begun.elapsed() >= Duration::from_millis(2900));
        // The reserve has to fill up again before a pack may go.
        limiter.wait(ChannelId::new(1), PostPriority::Pack).await;
        assert!(begun.elapsed() >= Duration::from_secs(17));
        // Another channel has a bucket of its own.
        let before = Instant::now();
        limiter.wait(ChannelId::new(2), PostPriority::Pack).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn in_the_long_run_it_is_twenty_a_minute() {
        let limiter = RateLimiter::new(RateLimit::Normal);
        let begun = Instant::now();
        for _ in 0..116 {
            limiter.wait(ChannelId::new(1), PostPriority::Pack).await;
        }
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        assert!((4.9..5.1).contains(&minutes), "{minutes}");
    }
}
