//! One start for all tracks of a film.
//!
//! Players in browsers show nothing where a track has nothing. So every track has samples from the earliest one's
//! first moment on: sound that comes later gets silence in front, and for pictures that come later the first one is
//! held.

use std::io;

use super::collect::{Collected, DerivedWriter};
use super::cuts::CutPolicy;
use super::made_track::MadeTrack;
use super::timeline;
use crate::media::map::SamplePlace;
use crate::media::mp4::fragments::Sample;
use crate::media::mp4::silence::Silence;

/// Divides a second: pictures that come later than the result are preceded by the first of them.
const HOLDS_A_SECOND: u32 = 10;
/// Copies of a held picture in a second. Decoders show a picture only when up to 16 more have come, and Shaka
/// Player fetches 10 s ahead.
const COPIES_A_SECOND: u32 = 2;
/// Most copies of a picture or of silence. A longer wait is no film.
const MAX_COPIES: i64 = 1 << 20;
/// Samples among which the usual duration is looked for.
const LOOKED_AT: usize = 64;

/// First moment of a film on the source's time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonStart {
    ticks: i64,
    timescale: u32,
}

impl Default for CommonStart {
    fn default() -> Self {
        Self {
            ticks: 0,
            timescale: 1,
        }
    }
}

impl CommonStart {
    fn of(track: &MadeTrack) -> Self {
        Self {
            ticks: first_shown(track),
            timescale: track.collected.track.timescale.max(1),
        }
    }

    /// Returns the moment in ticks of `timescale`.
    fn ticks(self, timescale: u32) -> i64 {
        let own = i128::from(self.timescale);
        let scaled = i128::from(self.ticks) * i128::from(timescale) * 2 + own;
        i64::try_from(scaled.div_euclid(own * 2)).unwrap_or(0)
    }

    /// Returns the moment in seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale)
    }
}

/// Where made samples go, and the settings of the cuts.
pub struct Fill<'a> {
    pub derived: &'a mut DerivedWriter,
    pub policy: &'a CutPolicy,
}

/// Lets all tracks start at the first moment of the earliest one, and returns it.
///
/// # Errors
/// When the disk refuses.
pub fn align(tracks: &mut [MadeTrack], fill: &mut Fill<'_>) -> io::Result<CommonStart> {
    for track in tracks.iter_mut() {
        timeline::normalise(&mut track.collected, track.movie.timescale);
    }
    let starts = tracks.iter().map(CommonStart::of);
    let start = starts
        .min_by(|one, other| one.seconds().total_cmp(&other.seconds()))
        .unwrap_or_default();
    for track in tracks {
        begin_at(start, track, fill)?;
    }
    Ok(start)
}

/// Lets another track start at the film's first moment.
///
/// # Errors
/// When the disk refuses.
pub fn align_to(start: CommonStart, track: &mut MadeTrack, fill: &mut Fill<'_>) -> io::Result<()> {
    timeline::normalise(&mut track.collected, track.movie.timescale);
    begin_at(start, track, fill)
}

fn begin_at(start: CommonStart, track: &mut MadeTrack, fill: &mut Fill<'_>) -> io::Result<()> {
    let timescale = track.collected.track.timescale;
    let late = first_shown(track).saturating_sub(start.ticks(timescale));
    if track.collected.samples.is_empty() {
        return Ok(());
    }
    if &track.collected.track.handler == b"vide" {
        hold_first_picture(track, late);
        return Ok(());
    }
    precede_with_silence(&mut track.collected, late, fill.derived)
}

/// Returns the time in ticks at which the track's first sample is shown.
fn first_shown(track: &MadeTrack) -> i64 {
    let start = timeline::start_ticks(&track.collected, track.movie.timescale);
    let mut decode = start;
    let shown = track
        .collected
        .samples
        .iter()
        .take(LOOKED_AT)
        .map(|sample| {
            let at = decode + i64::from(sample.composition);
            decode += i64::from(sample.duration);
            at
        });
    shown.min().unwrap_or(start)
}

/// Puts copies of the first picture in front of a video that comes `late` ticks late. Only an independent key
/// frame can be copied.
fn hold_first_picture(made: &mut MadeTrack, late: i64) {
    let track = &mut made.collected;
    let timescale = track.track.timescale;
    let depends = track.dependent_keys.first() == Some(&0);
    if late <= i64::from(timescale / HOLDS_A_SECOND) || depends || !track.samples[0].is_key() {
        return;
    }
    let step = i64::from(timescale / COPIES_A_SECOND).max(1);
    let copies = late / step + i64::from(late % step != 0);
    if copies > MAX_COPIES {
        return;
    }
    let first = track.samples[0];
    let copied = (0..copies).map(|number| Sample {
        duration: u32::try_from((late - number * step).min(step)).unwrap_or(1),
        ..first
    });
    let copied: Vec<Sample> = copied.collect();
    let count = copied.len();
    track.places.splice(0..0, vec![track.places[0]; count]);
    track.samples.splice(0..0, copied);
    track.track.media_time = track.track.media_time.saturating_add(late);
    track
        .dependent_keys
        .iter_mut()
        .for_each(|key| *key += count);
    for range in &mut made.encoded {
        *range = range.start + count..range.end + count;
    }
}

/// Puts silence in front of sound that comes `late` ticks late.
fn precede_with_silence(
    track: &mut Collected,
    late: i64,
    derived: &mut DerivedWriter,
) -> io::Result<()> {
    let Some(silence) = Silence::of(&track.track, usual_duration(&track.samples)) else {
        return Ok(());
    };
    let frame = i64::from(silence.duration);
    let copies = (late + frame / 2) / frame;
    if !(1..=MAX_COPIES).contains(&copies) {
        return Ok(());
    }
    let size = silence.data.len() as u64;
    let (mut samples, mut places) = (Vec::new(), Vec::new());
    for number in 0..copies {
        // The first one takes what is left of the wait.
        let duration = if number == 0 {
            late - (copies - 1) * frame
        } else {
            frame
        };
        let at = derived.append(silence.data)?;
        places.push(SamplePlace::Derived(at));
        samples.push(Sample {
            size: u32::try_from(size).unwrap_or(0),
            duration: u32::try_from(duration).unwrap_or(0),
            composition: 0,
            flags: track.samples[0].flags,
        });
    }
    track.samples.splice(0..0, samples);
    track.places.splice(0..0, places);
    track.track.media_time = track.track.media_time.saturating_add(late);
    Ok(())
}

/// Returns the median duration of the first samples.
fn usual_duration(samples: &[Sample]) -> u32 {
    let first = samples.iter().take(LOOKED_AT);
    let mut durations: Vec<u32> = first.map(|sample| sample.duration).collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied().unwrap_or(0)
}
