//! Sizes, positions and times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Bytes of a block, the unit of fetching, caching and checking: one `upload.getFile` call. Telegram
/// allows 1 MiB, on which the client library panics.
pub const BLOCK_BYTES: u64 = 512 * 1024;

/// Number of a block in its pack, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockIndex(pub u32);

/// A range of `len` bytes from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    pub offset: u64,
    pub len: u64,
}

impl ByteRange {
    #[must_use]
    pub const fn new(offset: u64, len: u64) -> Self {
        Self { offset, len }
    }
    /// Returns the first position after the range. It saturates, so that a hostile record cannot wrap
    /// around.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// A time of a file: seconds since 1970, negative before, and nanoseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanos: u32,
}

/// Seconds from 1970 to some 30,000 years before and after it.
const MAX_SECONDS: i64 = 1 << 40;
const MAX_NANOS: u32 = 999_999_999;

impl Timestamp {
    /// Returns this time, or the nearest one that all conversions can express.
    pub(in crate::model) fn bounded(self) -> Self {
        Self {
            seconds: self.seconds.clamp(-MAX_SECONDS, MAX_SECONDS),
            nanos: self.nanos.min(MAX_NANOS),
        }
    }

    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanos: after.subsec_nanos(),
            },
            Err(error) => {
                let before = error.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self {
                        seconds: -seconds,
                        nanos: 0,
                    },
                    nanos => Self {
                        seconds: -seconds - 1,
                        nanos: 1_000_000_000 - nanos,
                    },
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let time = time.bounded();
        let nanos = Duration::from_nanos(u64::from(time.nanos));
        if time.seconds >= 0 {
            UNIX_EPOCH + Duration::from_secs(time.seconds.unsigned_abs()) + nanos
        } else {
            UNIX_EPOCH - Duration::from_secs(time.seconds.unsigned_abs()) + nanos
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever may write to a store writes any time.
    #[test]
    fn impossible_times_become_possible_ones() {
        for seconds in [i64::MIN, i64::MAX] {
            let nanos = u32::MAX;
            let bounded = Timestamp { seconds, nanos }.bounded();
            assert_eq!(bounded.seconds.signum(), seconds.signum());
            assert_eq!(bounded.nanos, MAX_NANOS);
            assert_eq!(Timestamp::from(SystemTime::from(bounded)), bounded);
            let _ = SystemTime::from(Timestamp { seconds, nanos });
        }
    }

    #[test]
    fn times_before_1970_survive() {
        for time in [
            Timestamp {
                seconds: -1,
                nanos: 999_999_999,
            },
            Timestamp {
                seconds: -5,
                nanos: 0,
            },
            Timestamp {
                seconds: 1_700_000_000,
                nanos: 17,
            },
        ] {
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
    }
}
