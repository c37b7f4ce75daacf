//! Times of newly encoded samples, which take those of the samples that they replace.

use crate::media::mp4::fragments::Sample;

/// Returns the new samples, decoded and shown when the old ones were. Returns `None` when there are
/// more or fewer of them, or their times differ.
pub fn with_times_of(old: &[Sample], new: &[Sample]) -> Option<Vec<Sample>> {
    if old.len() != new.len() || !new.first().is_some_and(Sample::is_key) {
        return None;
    }
    let (old_shown, new_shown) = (shown(old), shown(new));
    let (first_old, first_new) = (*old_shown.iter().min()?, *new_shown.iter().min()?);
    let (mut sorted_old, mut sorted_new) = (old_shown, new_shown.clone());
    sorted_old.sort_unstable();
    sorted_new.sort_unstable();
    let same = sorted_old
        .iter()
        .zip(&sorted_new)
        .all(|(old, new)| old - first_old == new - first_new);
    if !same {
        return None;
    }
    let mut decode = 0_i64;
    old.iter()
        .zip(new.iter().zip(new_shown))
        .map(|(old, (new, shown))| {
            let composition = i32::try_from(shown - first_new + first_old - decode).ok()?;
            decode += i64::from(old.duration);
            Some(Sample {
                duration: old.duration,
                composition,
                ..*new
            })
        })
        .collect()
}

/// Returns the presentation time of each sample, in ticks from the decoding of the first.
fn shown(samples: &[Sample]) -> Vec<i64> {
    let mut decode = 0;
    let times = samples.iter().map(|sample| {
        let at = decode + i64::from(sample.composition);
        decode += i64::from(sample.duration);
        at
    });
    times.collect()
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
    fn new_frames_are_shown_when_the_old_ones_were() {
        // Shown at 2, 5, 3, 4 and at 1, 4, 2, 3: the same from the first one on.
        let old = samples(&[(1, 2, 0), (1, 4, DELTA), (1, 1, DELTA), (1, 1, DELTA)]);
        let new = samples(&[(1, 1, 0), (1, 0, DELTA), (1, 1, DELTA), (1, 1, DELTA)]);
        // The new samples are shown at 1, 1, 3, 4.
        assert_eq!(with_times_of(&old, &new), None);
        let new = samples(&[(1, 1, 0), (1, 1, DELTA), (1, 1, 0), (1, 1, DELTA)]);
        let found = with_times_of(&old, &new).unwrap();
        assert_eq!(shown(&found), [2, 3, 4, 5]);
        assert!(found[2].is_key());
        assert_eq!(with_times_of(&old, &new[..3]), None);
    }
}
