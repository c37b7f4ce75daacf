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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::inspect::probe::ProbedStream;
    use crate::media::mp4::boxes;
    use crate::media::mp4::fragments::{Movie, MovieTrack};
    use crate::media::mp4::init::Description;

    const KEY: u32 = 0x0200_0000;
    const DELTA: u32 = 0x0101_0000;

    /// Returns a track that is decoded from `begin` on, of samples with these durations, composition offsets and
    /// flags.
    fn track(
        handler: [u8; 4],
        timescale: u32,
        begin: u64,
        samples: &[(u32, i32, u32)],
    ) -> MadeTrack {
        let sample = |&(duration, composition, flags): &(u32, i32, u32)| Sample {
            size: 7,
            duration,
            composition,
            flags,
        };
        MadeTrack {
            movie: Movie {
                timescale: 1000,
                mvhd: Vec::new(),
                tracks: Vec::new(),
            },
            collected: Collected {
                track: MovieTrack {
                    id: 1,
                    timescale,
                    handler,
                    trak: stereo(),
                    trex: Vec::new(),
                    empty_edit: 0,
                    media_time: 0,
                },
                description: Description {
                    codec: String::new(),
                    width: 0,
                    height: 0,
                    channels: 2,
                    sample_rate: 0,
                    nal_length: 4,
                },
                samples: samples.iter().map(sample).collect(),
                places: (0..samples.len() as u64)
                    .map(SamplePlace::Content)
                    .collect(),
                first_decode_time: begin,
                dependent_keys: Vec::new(),
                brings_sets: false,
                captions: Vec::new(),
            },
            stream: ProbedStream::default(),
            encoded: Vec::new(),
        }
    }

    /// Returns the `trak` of AAC LC in stereo at 48 kHz.
    fn stereo() -> Vec<u8> {
        #[rustfmt::skip]
        let esds = [0, 0, 0, 0, 3, 22, 0, 1, 0, 4, 17, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2, 0x11, 0x90];
        let esds = boxes::write(b"esds", &[&esds]);
        let entry = boxes::write(b"mp4a", &[&[0; 28], &esds]);
        let stsd = boxes::write(b"stsd", &[&[0; 8], &entry]);
        let outer = [b"stbl", b"minf", b"mdia", b"trak"];
        outer
            .iter()
            .fold(stsd, |inner, kind| boxes::write(kind, &[&inner]))
    }

    fn sound(begin: u64) -> MadeTrack {
        track(*b"soun", 48_000, begin, &[(1024, 0, KEY); 3])
    }

    /// Returns four pictures at 25 a second, one of them shown before the one that is decoded before it.
    fn picture(begin: u64) -> MadeTrack {
        let samples = [
            (40, 40, KEY),
            (40, 120, DELTA),
            (40, 0, DELTA),
            (40, 0, DELTA),
        ];
        track(*b"vide", 1000, begin, &samples)
    }

    /// Aligns the tracks, and returns the start and the number of bytes that were made.
    fn aligned(tracks: &mut [MadeTrack]) -> (CommonStart, u64) {
        let directory = tempfile::tempdir().unwrap();
        let mut derived = DerivedWriter::create(&directory.path().join("derived")).unwrap();
        let policy = CutPolicy::default();
        let mut fill = Fill {
            derived: &mut derived,
            policy: &policy,
        };
        let start = align(tracks, &mut fill).unwrap();
        (start, derived.len())
    }

    /// Returns the seconds at which each sample is shown.
    fn times(made: &MadeTrack) -> Vec<f64> {
        let mut decode = timeline::start_ticks(&made.collected, made.movie.timescale);
        let samples = made.collected.samples.iter().map(|sample| {
            let at = decode + i64::from(sample.composition);
            decode += i64::from(sample.duration);
            at as f64 / f64::from(made.collected.track.timescale)
        });
        samples.collect()
    }

    #[test]
    fn tracks_that_start_together_stay_as_they_are() {
        // The first picture is shown 40 ms behind its decoding, with the first sound.
        let mut tracks = [picture(0), sound(1920)];
        let (start, made) = aligned(&mut tracks);
        assert!((start.seconds() - 0.04).abs() < 1e-9 && made == 0);
        assert_eq!(tracks[0].collected.samples, picture(0).collected.samples);
        assert_eq!(tracks[1].collected.samples, sound(0).collected.samples);
    }

    #[test]
    fn late_sound_gets_silence_in_front_and_keeps_its_time() {
        let mut tracks = [picture(0), sound(1920 + 72_100)];
        let (_, made) = aligned(&mut tracks);
        let sound = &tracks[1].collected;
        let times = times(&tracks[1]);
        assert_eq!(sound.samples.len(), 70 + 3);
        assert_eq!(sound.places.len(), sound.samples.len());
        assert!((times[0] - 0.04).abs() < 1e-9, "{times:?}");
        assert!((times[70] - 74_020.0 / 48_000.0).abs() < 1e-9, "{times:?}");
        // Each silent frame lies in the derived blob, and the film's own frames follow.
        let silent = sound.samples[0].size;
        assert_eq!(made, 70 * u64::from(silent));
        assert_eq!(
            sound.places[69],
            SamplePlace::Derived(69 * u64::from(silent))
        );
        assert_eq!(sound.places[70], SamplePlace::Content(0));
        // A decoder takes a frame of half to one and a half the usual length.
        assert!((512..1536).contains(&sound.samples[0].duration));
    }

    #[test]
    fn less_than_half_a_frame_is_not_filled() {
        let mut tracks = [picture(0), sound(1920 + 500)];
        assert_eq!(aligned(&mut tracks).1, 0);
        assert_eq!(tracks[1].collected.samples.len(), 3);
    }

    #[test]
    fn a_late_picture_is_held_and_keeps_its_time() {
        let mut late = picture(1210);
        late.encoded = vec![0..1, 1..3];
        let mut tracks = [late, sound(0)];
        let (start, made) = aligned(&mut tracks);
        assert_eq!((start.seconds(), made), (0.0, 0));
        let times = times(&tracks[0]);
        let [picture, _] = &tracks;
        let count = times.len() - 4;
        assert_eq!((count, times[0], times[1]), (3, 0.0, 0.5));
        assert_eq!(times[count..], [1.25, 1.37, 1.29, 1.33]);
        let held = &picture.collected.samples[..=count];
        assert!(held.iter().all(Sample::is_key));
        let places = &picture.collected.places[..=count];
        assert!(places.iter().all(|place| *place == SamplePlace::Content(0)));
        // What the film brings is counted behind the copies.
        assert_eq!(picture.encoded, [count..1 + count, 1 + count..3 + count]);
    }

    /// A copy of a key frame that needs others would show nothing, or a broken picture.
    #[test]
    fn only_a_key_frame_that_needs_no_other_is_held() {
        let mut open = picture(1000);
        open.collected.dependent_keys = vec![0];
        let mut without_key = picture(1000);
        without_key.collected.samples[0].flags = DELTA;
        for late in [open, without_key] {
            let mut tracks = [late, sound(0)];
            aligned(&mut tracks);
            assert_eq!(tracks[0].collected.samples.len(), 4);
        }
    }

    #[test]
    fn a_wait_that_no_film_has_is_not_filled() {
        let mut tracks = [picture(1000 * 1_000_000_000), sound(0)];
        aligned(&mut tracks);
        assert_eq!(tracks[0].collected.samples.len(), 4);
    }

    #[test]
    fn another_track_joins_at_the_start_of_the_film() {
        let directory = tempfile::tempdir().unwrap();
        let mut derived = DerivedWriter::create(&directory.path().join("derived")).unwrap();
        let policy = CutPolicy::default();
        let mut fill = Fill {
            derived: &mut derived,
            policy: &policy,
        };
        let start = align(&mut [sound(48_000)], &mut fill).unwrap();
        let mut rendition = picture(1960);
        align_to(start, &mut rendition, &mut fill).unwrap();
        let times = times(&rendition);
        assert_eq!((times[0], times[times.len() - 4]), (1.0, 2.0));
    }
}
