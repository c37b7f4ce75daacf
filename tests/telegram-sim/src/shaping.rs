//! Bandwidth: buckets that delay bytes, of one connection and of all connections of a bot.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::controls::Controls;
use crate::lock::locked;
use crate::options::Bot;

/// Bytes that pass at a time while there is a limit: small, so that the connections of a bot take
/// turns and a short call waits behind few bytes of the others.
const TURN_BYTES: usize = 32 * 1024;

/// Time that a bucket makes up for after a timer fired late.
const SLACK: Duration = Duration::from_millis(20);

/// The instant at which the last byte that was let through has passed.
pub(crate) struct Bucket(Mutex<Instant>);

impl Bucket {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Books `bytes` behind all others, and tells when they have passed.
    fn book(&self, bytes: usize, bytes_per_s: u64) -> Instant {
        let mut passed = locked(&self.0);
        let start = Instant::now()
            .checked_sub(SLACK)
            .map_or(*passed, |earliest| earliest.max(*passed));
        *passed = start + Duration::from_secs_f64(bytes as f64 / bytes_per_s.max(1) as f64);
        *passed
    }
}

/// The buckets of the two directions.
pub(crate) struct Pair {
    up: Bucket,
    down: Bucket,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            up: Bucket::new(),
            down: Bucket::new(),
        }
    }

    fn of(&self, direction: Direction) -> &Bucket {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// One connection's share of the network.
pub(crate) struct Lane {
    own: Pair,
    /// 0 until the connection's key is signed in.
    bot: AtomicU32,
}

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            own: Pair::new(),
            bot: AtomicU32::new(0),
        }
    }

    pub(crate) fn belongs_to(&self, bot: Bot) {
        self.bot.store(bot.0, Ordering::Relaxed);
    }

    /// How many of `wanted` bytes may move before `pass` is asked again.
    pub(crate) fn turn(&self, controls: &Controls, wanted: usize) -> usize {
        let shape = controls.shape();
        if shape.lane_bytes_per_s.is_none() && shape.bot_bytes_per_s.is_none() {
            wanted
        } else {
            wanted.min(TURN_BYTES)
        }
    }

    /// Waits until `bytes` have passed every limit.
    pub(crate) async fn pass(&self, controls: &Controls, direction: Direction, bytes: usize) {
        let shape = controls.shape();
        let own = shape
            .lane_bytes_per_s
            .map(|limit| self.own.of(direction).book(bytes, limit));
        let shared = shape.bot_bytes_per_s.and_then(|limit| {
            let pair = controls.bot_lanes(Bot(self.bot.load(Ordering::Relaxed)))?;
            Some(pair.of(direction).book(bytes, limit))
        });
        if let Some(passed) = own.max(shared) {
            sleep_until(passed).await;
        }
    }
}
