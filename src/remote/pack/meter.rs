//! Meter of the bytes of a pack that the store has acknowledged, part by part.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sync::MutexExt as _;

/// Least time between two remembered moments.
const MARK_EVERY: Duration = Duration::from_millis(500);
/// Most remembered moments.
const MARKS: usize = 64;

/// Meter of a pack on its way. It never goes back, also when a bot begins from the start what another one
/// could not finish.
#[derive(Debug)]
pub struct SendMeter(Mutex<Metered>);

#[derive(Debug)]
struct Metered {
    bytes: u64,
    /// Moment of the last progress.
    last: Instant,
    /// Bytes at earlier moments, the newest last.
    marks: VecDeque<(Instant, u64)>,
}

impl Default for SendMeter {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Metered {
            bytes: 0,
            last: now,
            marks: VecDeque::from([(now, 0)]),
        }))
    }
}

impl SendMeter {
    fn metered(&self) -> MutexGuard<'_, Metered> {
        self.0.acquire()
    }

    /// Notes that the store has `bytes` bytes of the pack.
    pub fn reach(&self, bytes: u64) {
        let mut metered = self.metered();
        if bytes <= metered.bytes {
            return;
        }
        metered.bytes = bytes;
        let now = Instant::now();
        metered.last = now;
        let is_due = |(at, _): &(Instant, u64)| now.duration_since(*at) >= MARK_EVERY;
        if metered.marks.back().is_none_or(is_due) {
            metered.marks.push_back((now, bytes));
        }
        if metered.marks.len() > MARKS {
            metered.marks.pop_front();
        }
    }

    /// Returns the bytes that the store has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.metered().bytes
    }

    /// Returns the bytes that the store got since a moment, as exactly as moments are remembered.
    #[must_use]
    pub fn since(&self, moment: Instant) -> u64 {
        let metered = self.metered();
        if metered.last <= moment {
            return 0;
        }
        let earlier = metered.marks.iter().rfind(|(at, _)| *at <= moment);
        let before = earlier
            .or(metered.marks.front())
            .map_or(0, |(_, bytes)| *bytes);
        metered.bytes - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_never_goes_back() {
        let (begun, meter) = (Instant::now(), SendMeter::default());
        meter.reach(10);
        meter.reach(4);
        assert_eq!(meter.bytes(), 10);
        assert_eq!(meter.since(begun), 10);
        assert_eq!(meter.since(Instant::now()), 0, "it stands still");
        for bytes in 11..10_000 {
            meter.reach(bytes);
        }
        assert!(meter.metered().marks.len() <= MARKS);
    }
}
