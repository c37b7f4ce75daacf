//! Groups of pictures within a track: their borders, their size as a segment, and the record of one
//! that was encoded again.

use std::ops::Range;

use crate::media::mp4::fragments::Sample;
use crate::media::mp4::segment_header;

/// A group that was encoded again.
#[derive(Debug, Clone, PartialEq)]
pub struct Reencoded {
    /// Numbers of its samples in the track.
    pub samples: Range<usize>,
    /// Start in the film, in seconds.
    pub start: f64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Bytes of the original.
    pub before: u64,
    /// Bytes of the new encoding.
    pub after: u64,
    /// Similarity to the original, as SSIM of the brightness: 1 is identical.
    pub likeness: Option<f64>,
}

/// Returns the groups of a track, from key frame to key frame. Samples before the first key frame
/// belong to the first group.
pub fn groups(samples: &[Sample]) -> Vec<Range<usize>> {
    let keys = (1..samples.len()).filter(|&index| samples[index].is_key());
    let first_key = samples.iter().position(Sample::is_key).unwrap_or(0);
    let starts: Vec<usize> = [0]
        .into_iter()
        .chain(keys.filter(|key| *key > first_key))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([samples.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

/// Returns the bytes of a segment of these samples.
pub fn bytes_of(samples: &[Sample]) -> u64 {
    let data: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    segment_header::size(samples) + data
}

/// Returns the duration of samples in ticks.
pub fn ticks_of(samples: &[Sample]) -> u64 {
    samples
        .iter()
        .map(|sample| u64::from(sample.duration))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::mp4::fragments;

    const DELTA: u32 = fragments::NON_SYNC;

    fn samples(list: &[(u32, i32, u32)]) -> Vec<Sample> {
        let make = |&(duration, composition, flags)| Sample {
            size: 10,
            duration,
            composition,
            flags,
        };
        list.iter().map(make).collect()
    }

    #[test]
    fn groups_begin_with_key_frames() {
        let list = samples(&[
            (1, 0, DELTA),
            (1, 0, 0),
            (1, 0, DELTA),
            (1, 0, 0),
            (1, 0, 0),
        ]);
        assert_eq!(groups(&list), [0..3, 3..4, 4..5]);
        assert_eq!(groups(&list[1..]), [0..2, 2..3, 3..4]);
    }
}
