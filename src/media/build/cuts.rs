//! Choice of the places where a film is cut, at key frames only. It is dynamic programming over the
//! groups of pictures, because a greedy rule leaves short remains behind long groups.

use serde::{Deserialize, Serialize};

use crate::model::Oversize;

/// Settings of the cuts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CutPolicy {
    /// Lower bound of the target duration, in seconds.
    pub min_seconds: f64,
    /// Longest segment in seconds. Only a single group that is longer exceeds it.
    pub max_seconds: f64,
    /// Largest segment in bytes. Only a single group that is larger should exceed it.
    pub max_chunk_bytes: u64,
    pub oversize: Oversize,
}

impl Default for CutPolicy {
    fn default() -> Self {
        Self {
            min_seconds: 2.0,
            max_seconds: 12.0,
            max_chunk_bytes: 15 << 20,
            oversize: Oversize::Keep,
        }
    }
}

impl CutPolicy {
    /// Duration that Apple's authoring specification asks for.
    const TARGET_SECONDS: f64 = 6.0;

    /// Returns the seconds that a segment should last.
    #[must_use]
    pub fn target_seconds(&self) -> f64 {
        Self::TARGET_SECONDS
            .max(self.min_seconds)
            .min(self.max_seconds)
            .max(0.5)
    }
}

/// A group of pictures: a key frame and the frames up to the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureGroup {
    pub seconds: f64,
    pub bytes: u64,
}

/// Durations that the older system tried, in its order, in seconds.
const TEN_DURATIONS: [f64; 10] = [30.0, 25.0, 20.0, 15.0, 10.0, 8.0, 6.0, 5.0, 3.0, 2.0];

/// Result that the older system would have had for a film. It cut the whole film at ten durations, one
/// full copy after the other, kept the copy with the fewest pieces above the cap, and encoded those
/// pieces again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TenPasses {
    /// The duration that it would have kept, in seconds.
    pub seconds: f64,
    pub segments: u64,
    /// Segments above the cap.
    pub oversize: u64,
    /// Seconds of the film in segments above the cap.
    pub oversize_seconds: f64,
}

/// Applies the older system's rule to the same groups, without copying anything. `beside` is the bytes a
/// second of the other tracks, which lie in the same pieces. Returns `None` without a cap.
#[must_use]
pub fn ten_passes(groups: &[PictureGroup], beside: f64, policy: &CutPolicy) -> Option<TenPasses> {
    if policy.max_chunk_bytes == 0 || groups.is_empty() {
        return None;
    }
    let tries =
        TEN_DURATIONS.map(|seconds| one_pass(groups, beside, policy.max_chunk_bytes, seconds));
    // The first of equal results is kept.
    tries.into_iter().min_by_key(|tried| tried.oversize)
}

/// Cuts as ffmpeg's segment muxer does: piece n ends at the first key frame from n durations on.
fn one_pass(groups: &[PictureGroup], beside: f64, cap: u64, seconds: f64) -> TenPasses {
    let mut tried = TenPasses {
        seconds,
        segments: 0,
        oversize: 0,
        oversize_seconds: 0.0,
    };
    let (mut at, mut piece) = (
        0.0,
        PictureGroup {
            seconds: 0.0,
            bytes: 0,
        },
    );
    for (number, group) in groups.iter().enumerate() {
        at += group.seconds;
        piece.seconds += group.seconds;
        piece.bytes += group.bytes;
        let is_last = number + 1 == groups.len();
        if is_last || at >= seconds * (tried.segments + 1) as f64 {
            tried.segments += 1;
            if piece.bytes as f64 + beside * piece.seconds > cap as f64 {
                tried.oversize += 1;
                tried.oversize_seconds += piece.seconds;
            }
            piece = PictureGroup {
                seconds: 0.0,
                bytes: 0,
            };
        }
    }
    tried
}

/// Cost of each full cap that an oversize segment holds: far above the cost of any bad duration.
const OVERSIZE_COST: f64 = 1000.0;
/// Cost of a segment below the minimum, added to the cost of its duration.
const SHORT_COST: f64 = 10.0;

/// Returns the first group of each segment, ascending, starting with 0. Empty for no groups.
#[must_use]
pub fn choose(groups: &[PictureGroup], policy: &CutPolicy) -> Vec<usize> {
    let count = groups.len();
    // best[n] is the least cost of the first n groups, and the group where their last segment starts.
    let mut best = vec![(f64::INFINITY, 0); count + 1];
    best[0] = (0.0, 0);
    for end in 1..=count {
        let (mut seconds, mut bytes) = (0.0, 0_u64);
        for start in (0..end).rev() {
            seconds += groups[start].seconds;
            bytes = bytes.saturating_add(groups[start].bytes);
            let single = start + 1 == end;
            if !single && seconds > policy.max_seconds {
                break;
            }
            let cost = best[start].0 + segment_cost(seconds, bytes, policy);
            if cost < best[end].0 {
                best[end] = (cost, start);
            }
        }
    }
    let mut starts = Vec::new();
    let mut end = count;
    while end > 0 {
        end = best[end].1;
        starts.push(end);
    }
    starts.reverse();
    starts
}

fn segment_cost(seconds: f64, bytes: u64, policy: &CutPolicy) -> f64 {
    let target = policy.target_seconds();
    let mut cost = ((seconds - target) / target).powi(2);
    if seconds < policy.min_seconds {
        cost += SHORT_COST;
    }
    if policy.max_chunk_bytes > 0 && bytes > policy.max_chunk_bytes {
        let caps = bytes / policy.max_chunk_bytes;
        cost += OVERSIZE_COST * f64::from(u32::try_from(caps).unwrap_or(u32::MAX));
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(list: &[(f64, u64)]) -> Vec<PictureGroup> {
        list.iter()
            .map(|&(seconds, bytes)| PictureGroup { seconds, bytes })
            .collect()
    }

    #[test]
    fn segments_come_near_the_target() {
        let plan = choose(&groups(&[(2.0, 100); 30]), &CutPolicy::default());
        assert_eq!(plan, (0..30).step_by(3).collect::<Vec<_>>());
    }

    /// Uses a film as measured with the rule itself: 79 groups of about 7.6 s at 14 MB.
    #[test]
    fn the_ten_pass_rule_takes_what_has_the_fewest_large_pieces() {
        let list = groups(&[(7.6, 14_000_000); 79]);
        let policy = CutPolicy::default();
        let rule = ten_passes(&list, 0.0, &policy).unwrap();
        assert_eq!((rule.seconds, rule.segments, rule.oversize), (6.0, 79, 0));
        let large = ten_passes(&list, 300_000.0, &policy).unwrap();
        assert_eq!(
            (large.seconds, large.segments, large.oversize),
            (30.0, 20, 20)
        );
        assert!((large.oversize_seconds - 79.0 * 7.6).abs() < 0.001);
        assert_eq!(
            ten_passes(
                &list,
                0.0,
                &CutPolicy {
                    max_chunk_bytes: 0,
                    ..policy
                }
            ),
            None
        );
    }

    #[test]
    fn a_long_or_large_group_stands_alone() {
        let list = groups(&[
            (60.0, 1),
            (2.0, 1),
            (2.0, 1),
            (2.0, 1),
            (5.0, 40 << 20),
            (5.0, 1),
        ]);
        assert_eq!(choose(&list, &CutPolicy::default()), [0, 1, 4, 5]);
    }

    #[test]
    fn no_segment_passes_the_maximum_unless_one_group_does() {
        let list = groups(&[(5.0, 1), (7.5, 1), (4.0, 1), (11.0, 1), (13.0, 1), (1.0, 1)]);
        let policy = CutPolicy::default();
        let plan = choose(&list, &policy);
        let ends = plan.iter().skip(1).copied().chain([list.len()]);
        for (start, end) in plan.iter().copied().zip(ends) {
            let seconds: f64 = list[start..end].iter().map(|group| group.seconds).sum();
            assert!(end == start + 1 || seconds <= policy.max_seconds);
        }
        assert_eq!(choose(&[], &policy), Vec::<usize>::new());
    }
}
