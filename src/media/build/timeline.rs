//! Times of samples and segments. All tracks share one origin: the source's zero lies
//! `origin_seconds` into every track, so that no time is negative and no track needs an edit list
//! (players apply none between renditions). A whole number of seconds is exact in any timescale.

use std::ops::Range;

use super::collect::Collected;
use super::cuts::{self, CutPolicy, PictureGroup};
use crate::media::mp4::fragments::Sample;
use crate::media::mp4::segment_header;

/// The least origin in seconds: more than any usual pre-roll and reordering delay.
const LEAST_ORIGIN: u32 = 10;
/// Ticks a second in ffmpeg's own time base.
const MICROSECONDS: u32 = 1_000_000;
/// Divides a second: the beginning of a track is moved by less than the result.
const STEPS_A_SECOND: u32 = 500;
/// Samples at the end among which the last one shown is looked for.
const REORDER_DEPTH: usize = 32;

/// A track's samples on the common time line.
#[derive(Debug)]
pub struct TrackTimes {
    timescale: u32,
    /// Decoding time of each sample in ticks, and of the end.
    decode: Vec<u64>,
    /// Presentation time at which the last picture ends, in ticks.
    end: u64,
}

/// One segment of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentCut {
    pub samples: Range<usize>,
    /// Decoding time of the first sample in ticks.
    pub decode_time: u64,
    /// Duration in ticks, for EXTINF.
    pub duration: u32,
}

/// Cuts of a video track, and the groups of pictures they were chosen from.
#[derive(Debug)]
pub struct VideoCuts {
    /// First sample of each segment.
    pub starts: Vec<usize>,
    pub groups: Vec<PictureGroup>,
}

/// Returns the start of the first sample on the source's time line, in ticks, by the muxer's edit list.
pub fn start_ticks(track: &Collected, movie_timescale: u32) -> i64 {
    let timescale = i128::from(track.track.timescale);
    let empty = i128::from(track.track.empty_edit) * timescale / i128::from(movie_timescale);
    let start = i128::from(track.first_decode_time) + empty - i128::from(track.track.media_time);
    i64::try_from(start).unwrap_or(0)
}

/// Makes composition offsets positive: with negative ones ffmpeg 5.1 shows the video late. Also moves
/// the beginning to a whole number of microseconds, the unit ffmpeg counts in. ffmpeg rounds half a
/// microsecond in two ways, and then drops the first key frame after each seek.
pub fn normalise(track: &mut Collected, movie_timescale: u32) {
    let least = track.samples.iter().map(|sample| sample.composition).min();
    if let Some(least) = least.filter(|least| *least < 0) {
        decode_earlier(track, least.unsigned_abs());
    }
    // Sound, and pictures without offsets, are presented when they are decoded.
    if track.samples.iter().all(|sample| sample.composition == 0) {
        return;
    }
    let timescale = track.track.timescale;
    let step = timescale / greatest_common_divisor(timescale, MICROSECONDS);
    let beyond = start_ticks(track, movie_timescale).rem_euclid(i64::from(step.max(1)));
    // An odd timescale has a step of many ticks. Such a shift would be visible.
    if step <= timescale / STEPS_A_SECOND {
        decode_earlier(track, u32::try_from(beyond).unwrap_or(0));
    }
}

/// Moves the decoding times of all samples `ticks` earlier. Their presentation times stay.
fn decode_earlier(track: &mut Collected, ticks: u32) {
    for sample in &mut track.samples {
        sample.composition = sample.composition.saturating_add_unsigned(ticks);
    }
    track.track.media_time = track.track.media_time.saturating_add(i64::from(ticks));
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Returns the common origin in seconds of tracks, each given with the timescale of its movie.
#[must_use]
pub fn origin(tracks: &[(u32, &Collected)]) -> u32 {
    let needed = tracks.iter().map(|(movie_timescale, track)| {
        let start = start_ticks(track, *movie_timescale);
        let before = start.min(0).unsigned_abs();
        let seconds = before.div_ceil(u64::from(track.track.timescale));
        u32::try_from(seconds).unwrap_or(u32::MAX)
    });
    needed.max().unwrap_or(0).max(LEAST_ORIGIN)
}

impl TrackTimes {
    #[must_use]
    pub fn new(track: &Collected, movie_timescale: u32, origin_seconds: u32) -> Self {
        let timescale = track.track.timescale;
        let origin = i64::from(origin_seconds) * i64::from(timescale);
        let start = start_ticks(track, movie_timescale).saturating_add(origin);
        let mut at = u64::try_from(start).unwrap_or(0);
        let mut decode = Vec::with_capacity(track.samples.len() + 1);
        for sample in &track.samples {
            decode.push(at);
            at = at.saturating_add(u64::from(sample.duration));
        }
        decode.push(at);
        let first = track.samples.len().saturating_sub(REORDER_DEPTH);
        let end = (first..track.samples.len())
            .map(|index| {
                shown(&decode, &track.samples, index) + u64::from(track.samples[index].duration)
            })
            .max()
            .unwrap_or(at);
        Self {
            timescale,
            decode,
            end,
        }
    }

    fn seconds(&self, ticks: u64) -> f64 {
        // 2^53 ticks are exact: 28 years at 10 MHz.
        ticks as f64 / f64::from(self.timescale)
    }

    /// Returns the seconds that the track lasts, without the origin.
    #[must_use]
    pub fn end_seconds(&self, origin_seconds: u32) -> f64 {
        self.seconds(self.end) - f64::from(origin_seconds)
    }

    /// Returns, for each segment that starts with sample `starts[n]`, the second at which it is first shown.
    #[must_use]
    pub fn bounds(&self, samples: &[Sample], starts: &[usize]) -> Vec<f64> {
        starts
            .iter()
            .map(|&index| self.seconds(shown(&self.decode, samples, index)))
            .collect()
    }

    /// Returns the segments of a video track.
    #[must_use]
    pub fn cut_video(&self, samples: &[Sample], policy: &CutPolicy) -> VideoCuts {
        let mut keys: Vec<usize> = (0..samples.len())
            .filter(|&index| samples[index].is_key())
            .collect();
        // Samples before the first key frame belong to the first segment.
        match keys.first_mut() {
            Some(first) => *first = 0,
            None => keys.push(0),
        }
        let mut groups = Vec::with_capacity(keys.len());
        for (number, &key) in keys.iter().enumerate() {
            let next = keys.get(number + 1).copied();
            let end = next.map_or(self.end, |next| shown(&self.decode, samples, next));
            let start = shown(&self.decode, samples, key);
            groups.push(PictureGroup {
                seconds: self.seconds(end.saturating_sub(start)),
                bytes: segment_bytes(&samples[key..next.unwrap_or(samples.len())]),
            });
        }
        let starts = cuts::choose(&groups, policy).into_iter();
        VideoCuts {
            starts: starts.map(|group| keys[group]).collect(),
            groups,
        }
    }

    /// Returns the first samples of the segments of a track that follows `bounds` (seconds). Each segment
    /// starts with the sample nearest to its bound. Bounds without samples between them share a segment.
    #[must_use]
    pub fn cut_at(&self, samples: &[Sample], bounds: &[f64]) -> Vec<usize> {
        let mut starts = vec![0];
        let mut index = 0;
        for bound in bounds.iter().skip(1) {
            while index < samples.len() {
                let half = self.seconds(u64::from(samples[index].duration)) / 2.0;
                if self.seconds(shown(&self.decode, samples, index)) >= bound - half {
                    break;
                }
                index += 1;
            }
            if index < samples.len() && starts.last().is_some_and(|last| *last < index) {
                starts.push(index);
            }
        }
        starts
    }

    /// Returns the same as [`Self::cut_at`] for a video. Each segment starts with the key frame shown at its
    /// bound, or with the first one behind a bound that lies between two frames. A bound without such a key
    /// frame is skipped.
    #[must_use]
    pub fn cut_at_keys(&self, samples: &[Sample], bounds: &[f64]) -> Vec<usize> {
        let mut starts = vec![0];
        let mut bounds = bounds.iter().skip(1).copied().peekable();
        for index in (1..samples.len()).filter(|&index| samples[index].is_key()) {
            let at = self.seconds(shown(&self.decode, samples, index));
            let frame = self.seconds(u64::from(samples[index].duration));
            while bounds.next_if(|bound| *bound < at - frame).is_some() {}
            if bounds.next_if(|bound| *bound <= at + frame / 2.0).is_some() {
                starts.push(index);
            }
        }
        starts
    }

    /// Returns the first samples of the segments of a leading track that has no key frames.
    #[must_use]
    pub fn cut_evenly(&self, samples: &[Sample], policy: &CutPolicy) -> Vec<usize> {
        let mut starts = vec![0];
        let mut last = self.seconds(shown(&self.decode, samples, 0));
        for index in 1..samples.len() {
            let now = self.seconds(shown(&self.decode, samples, index));
            if now - last >= policy.target_seconds() {
                starts.push(index);
                last = now;
            }
        }
        starts
    }

    /// Returns the segments that start with these samples. Each lasts until the next one is decoded, so that
    /// durations never drift: ffmpeg and Shaka Player hold their sum against decoding times.
    #[must_use]
    pub fn segments(&self, starts: &[usize]) -> Vec<SegmentCut> {
        let decoded = |index: usize| self.decode.get(index).copied().unwrap_or(self.end);
        let mut cuts = Vec::with_capacity(starts.len());
        for (number, &start) in starts.iter().enumerate() {
            let next = starts.get(number + 1).copied();
            let until = next.map_or(self.end, decoded);
            let duration = u32::try_from(until.saturating_sub(decoded(start))).unwrap_or(u32::MAX);
            cuts.push(SegmentCut {
                samples: start..next.unwrap_or(self.decode.len() - 1),
                decode_time: decoded(start),
                duration: duration.max(1),
            });
        }
        cuts
    }

    /// Returns the same as [`Self::segments`], with a first one that counts from `begin` seconds.
    #[must_use]
    pub fn segments_from(&self, starts: &[usize], begin: f64) -> Vec<SegmentCut> {
        let mut cuts = self.segments(starts);
        if let Some(first) = cuts.first_mut() {
            let begin = (begin * f64::from(self.timescale)).round() as u64;
            let until = first.decode_time + u64::from(first.duration);
            let duration = u32::try_from(until.saturating_sub(begin)).unwrap_or(u32::MAX);
            first.duration = duration.max(1);
        }
        cuts
    }
}

/// Returns the bytes of a segment of these samples alone.
fn segment_bytes(samples: &[Sample]) -> u64 {
    let data: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    segment_header::size(samples) + data
}

/// Returns the presentation time of a sample in ticks. Composition offsets are not negative here.
fn shown(decode: &[u64], samples: &[Sample], index: usize) -> u64 {
    let at = decode.get(index).copied().unwrap_or(0);
    let offset = samples
        .get(index)
        .map_or(0, |sample| i64::from(sample.composition));
    at.saturating_add_signed(offset)
}
