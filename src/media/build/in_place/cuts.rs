//! A scanned transport stream, cut into segments that are ranges of it.

use crate::media::build::cuts::{self, CutPolicy, PictureGroup};
use crate::media::in_place::pictures::Start;
use crate::media::in_place::scan::{KeyFrame, TransportScan};
use crate::model::{SegmentInfo, TS_PACKET};

/// Ticks of time stamps in a second.
pub const CLOCK: u32 = 90_000;
/// Number of values of a time stamp.
pub const CLOCK_ROUND: i64 = 1 << 33;

/// The segments of a scanned film.
pub struct InPlaceCuts<'a> {
    found: &'a TransportScan,
    /// Groups of pictures, one per key frame.
    groups: Vec<PictureGroup>,
    /// Numbers of the key frames that start a segment.
    starts: Vec<usize>,
}

/// The film's time line, in seconds from its zero.
pub struct FilmLine {
    /// The film's zero on the video's own line, in ticks.
    zero: i64,
    /// Start of each segment. The first one starts at the time that ffmpeg counts from.
    pub starts: Vec<f64>,
}

impl FilmLine {
    /// Converts ticks of the video's own line.
    #[must_use]
    pub fn seconds(&self, ticks: i64) -> f64 {
        // 2^53 ticks are exact.
        (ticks - self.zero) as f64 / f64::from(CLOCK)
    }
}

impl<'a> InPlaceCuts<'a> {
    /// Chooses the segments.
    #[must_use]
    pub fn new(found: &'a TransportScan, policy: &CutPolicy) -> Self {
        let groups = groups(found);
        let starts = cuts::choose(&groups, policy);
        Self {
            found,
            groups,
            starts,
        }
    }

    /// Returns the groups of pictures.
    #[must_use]
    pub fn groups(&self) -> &[PictureGroup] {
        &self.groups
    }

    /// Returns the key frame that starts segment `number`.
    fn key(&self, number: usize) -> Option<KeyFrame> {
        let key = *self.starts.get(number)?;
        self.found.keys.get(key).copied()
    }

    /// Returns the time line. `zero` is the time stamp of the film's zero.
    #[must_use]
    pub fn line(&self, zero: i64) -> FilmLine {
        let base = i64::try_from(self.found.base).unwrap_or(0);
        // The zero lies near the first picture, so the shorter way round is right.
        let behind = (zero - base).rem_euclid(CLOCK_ROUND);
        let zero = if behind > CLOCK_ROUND / 2 {
            behind - CLOCK_ROUND
        } else {
            behind
        };
        let mut line = FilmLine {
            zero,
            starts: Vec::new(),
        };
        for number in 0..self.starts.len() {
            let start = match self.key(number) {
                Some(key) if number > 0 => key.show,
                _ => self.found.first,
            };
            line.starts.push(line.seconds(start));
        }
        line
    }

    /// Returns the segments, each with `tables` bytes of tables. ffmpeg before 8 adds up EXTINF to
    /// find a segment, from the decoding time of the first packet, and drops a key frame that is
    /// decoded before the sum. So segments last from one decoding time to the next.
    #[must_use]
    pub fn segments(&self, tables: u64) -> Vec<SegmentInfo> {
        let found = self.found;
        let stride = u64::from(found.stride);
        let mut from = (0, found.first);
        (1..=self.starts.len())
            .map(|next| {
                let until = self
                    .key(next)
                    .map_or((found.end, found.shown_until), |key| {
                        (key.offset, key.decode)
                    });
                let packets = until.0.saturating_sub(from.0) / stride;
                let duration = u32::try_from((until.1 - from.1).max(1)).unwrap_or(u32::MAX);
                from = (until.0, until.1.max(from.1));
                SegmentInfo {
                    duration,
                    size: tables + packets * TS_PACKET,
                }
            })
            .collect()
    }

    /// Returns the continuity counters of each segment's tables, which have `tables` bytes. The
    /// tables of a plain film continue to count within its segments: a segment's copies repeat the
    /// last tables before it, as a packet that is sent twice may (§2.4.3.3). In other films only our
    /// tables are left.
    #[must_use]
    pub fn counters(&self, tables: usize) -> Vec<u8> {
        let of_program = tables / TS_PACKET as usize - 1;
        (0..self.starts.len())
            .map(|number| match (&self.found.sections, self.key(number)) {
                (Some(_), Some(key)) => key.counters.0 & 15 | key.counters.1 << 4,
                _ => ((number & 15) | ((number * of_program) & 15) << 4) as u8,
            })
            .collect()
    }

    /// Returns whether each segment can be decoded without any other.
    #[must_use]
    pub fn is_independent(&self) -> bool {
        let keys = &self.found.keys;
        let mut starting = self.starts.iter().filter_map(|start| keys.get(*start));
        let starts_with_one = keys.first().is_some_and(|first| first.decode == 0);
        starts_with_one && starting.all(|key| key.start == Start::Independent)
    }
}

/// Returns the groups between key frames. The first begins where the film does.
fn groups(found: &TransportScan) -> Vec<PictureGroup> {
    let keys = &found.keys;
    let stride = u64::from(found.stride);
    (0..keys.len())
        .map(|number| {
            let from = if number == 0 { 0 } else { keys[number].offset };
            let (until, end) = keys
                .get(number + 1)
                .map_or((found.end, found.shown_until), |next| {
                    (next.offset, next.show)
                });
            PictureGroup {
                seconds: (end - keys[number].show).max(0) as f64 / f64::from(CLOCK),
                bytes: until.saturating_sub(from) / stride * TS_PACKET,
            }
        })
        .collect()
}
