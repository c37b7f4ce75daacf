//! Cuts a film whose tracks are all collected into segments, and writes its map and [`Views`].

use std::io;

use crate::model::{Blob, BlobId, ByteRange, Digest, SegmentInfo, Track, TrackKind, Views};

use super::collect::{Collected, DerivedWriter};
use super::cuts::{self, CutPolicy, TenPasses};
use super::made_track::MadeTrack;
use super::start::{self, CommonStart, Fill};
use super::timeline::{self, SegmentCut, TrackTimes};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::hls::tags;
use crate::media::inspect::language;
use crate::media::inspect::probe::ProbedStream;
use crate::media::inspect::role;
use crate::media::map::{self, SegmentSource};
use crate::media::mp4::dolby_vision::DolbyVision;
use crate::media::mp4::fragments;
use crate::media::mp4::{init, picture, segment_header};
use crate::media::transport;

/// Layout of generated headers and of the map.
pub const LAYOUT: u16 = 1;
/// Seconds by which a film may end before its announced end without a note.
const MISSING_SECONDS: f64 = 2.0;

/// Note of a film whose picture would be shown wrong from MPEG-TS.
const NO_TRANSPORT: &str =
    "it has no MPEG-TS form: only its container says how the picture is turned or stretched";

/// Note of a film whose sound would be missing in MPEG-TS.
const NO_SOUND: &str = "it has no MPEG-TS form: MPEG-TS carries none of its sound";

/// Film whose tracks are cut into segments.
pub struct Film {
    start: CommonStart,
    origin_seconds: u32,
    tracks: Vec<(MadeTrack, Vec<SegmentCut>)>,
    /// Duration in seconds.
    duration: f64,
    /// Seconds on the tracks' time line where each segment of the leading track starts.
    bounds: Vec<f64>,
}

/// Returns the cuts that the older system would have made of the tracks as the source has them.
pub fn ten_passes_of(made: &[MadeTrack], policy: &CutPolicy) -> Option<TenPasses> {
    let (lead, others) = made.split_first()?;
    if &lead.collected.track.handler != b"vide" {
        return None;
    }
    let origin = timeline::origin(&[(lead.movie.timescale, &lead.collected)]);
    let times = TrackTimes::new(&lead.collected, lead.movie.timescale, origin);
    let groups = times.cut_video(&lead.collected.samples, policy).groups;
    let seconds = times.end_seconds(origin).max(1.0);
    let beside: u64 = others.iter().map(bytes_of).sum();
    cuts::ten_passes(&groups, beside as f64 / seconds, policy)
}

impl Film {
    /// Cuts tracks that all begin at `start`.
    pub fn new(made: Vec<MadeTrack>, start: CommonStart, policy: &CutPolicy) -> Self {
        let pairs: Vec<(u32, &Collected)> = made
            .iter()
            .map(|track| (track.movie.timescale, &track.collected))
            .collect();
        let origin_seconds = timeline::origin(&pairs);
        let mut bounds = Vec::new();
        let mut duration: f64 = 0.0;
        let mut tracks = Vec::new();
        for track in made {
            let times = TrackTimes::new(&track.collected, track.movie.timescale, origin_seconds);
            let samples = &track.collected.samples;
            let starts = if !bounds.is_empty() {
                times.cut_at(samples, &bounds)
            } else if &track.collected.track.handler == b"vide" {
                times.cut_video(samples, policy).starts
            } else {
                times.cut_evenly(samples, policy)
            };
            if bounds.is_empty() {
                bounds = times.bounds(samples, &starts);
            }
            let cuts = times.segments(&starts);
            duration = duration.max(times.end_seconds(origin_seconds));
            tracks.push((track, cuts));
        }
        Self {
            start,
            origin_seconds,
            tracks,
            duration,
            bounds,
        }
    }

    /// Returns the numbers, from 0, of the leading track's segments with frames that were encoded again.
    pub fn encoded_segments(&self) -> Vec<usize> {
        let Some((made, cuts)) = self.tracks.first() else {
            return Vec::new();
        };
        let overlaps = |cut: &SegmentCut| {
            let mut ranges = made.encoded.iter();
            ranges.any(|range| range.start < cut.samples.end && cut.samples.start < range.end)
        };
        let numbered = cuts.iter().enumerate();
        numbered
            .filter(|(_, cut)| overlaps(cut))
            .map(|(number, _)| number)
            .collect()
    }

    /// Returns the codec of the leading track, if that is video.
    pub fn video_codec(&self) -> Option<&str> {
        let (made, _) = self.tracks.first()?;
        let is_video = &made.collected.track.handler == b"vide";
        is_video.then_some(made.collected.description.codec.as_str())
    }

    /// Returns the ticks a second of the leading track.
    pub fn timescale(&self) -> u32 {
        let first = self.tracks.first();
        first.map_or(1000, |(made, _)| made.collected.track.timescale)
    }

    /// Returns the starts of the leading track's segments, in seconds with the origin.
    pub fn borders(&self) -> &[f64] {
        &self.bounds
    }

    /// Adds another video of the same pictures. It is cut where the leading one is, at its own key frames.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn add_video(&mut self, mut made: MadeTrack, mut fill: Fill<'_>) -> io::Result<()> {
        if self.tracks.is_empty() {
            self.start = start::align(std::slice::from_mut(&mut made), &mut fill)?;
        } else {
            start::align_to(self.start, &mut made, &mut fill)?;
        }
        let times = TrackTimes::new(&made.collected, made.movie.timescale, self.origin_seconds);
        let samples = &made.collected.samples;
        let starts = if self.bounds.is_empty() {
            times.cut_video(samples, fill.policy).starts
        } else {
            times.cut_at_keys(samples, &self.bounds)
        };
        if self.bounds.is_empty() {
            self.bounds = times.bounds(samples, &starts);
        }
        self.duration = self.duration.max(times.end_seconds(self.origin_seconds));
        let cuts = times.segments(&starts);
        self.tracks.push((made, cuts));
        Ok(())
    }

    /// Returns the video track, with the times of its samples.
    pub fn video(&self) -> Option<(&MadeTrack, TrackTimes)> {
        let mut tracks = self.tracks.iter().map(|(made, _)| made);
        let made = tracks.find(|made| &made.collected.track.handler == b"vide")?;
        let (collected, timescale) = (&made.collected, made.movie.timescale);
        Some((
            made,
            TrackTimes::new(collected, timescale, self.origin_seconds),
        ))
    }

    /// Returns the duration in seconds.
    pub const fn duration(&self) -> f64 {
        self.duration
    }
    /// Returns the first moment that is played, in seconds on the source's time line.
    pub fn first_moment(&self) -> f64 {
        self.start.seconds()
    }
    /// Returns the seconds before the film's zero at which the time lines of its tracks start.
    #[must_use]
    pub const fn origin_seconds(&self) -> u32 {
        self.origin_seconds
    }
    /// Returns the starts of the leading track's segments and its end, in seconds with the origin.
    pub fn bounds(&self) -> Vec<f64> {
        let end = self.duration + f64::from(self.origin_seconds);
        self.bounds.iter().copied().chain([end]).collect()
    }

    /// Notes how far a film plays that is cut off, given the announced end of its tracks.
    pub fn note_missing_end(&self, announced: Option<f64>, notes: &mut Vec<String>) {
        let played = self.duration;
        match announced {
            Some(announced) if played + MISSING_SECONDS < announced => notes.push(format!(
                "the file is damaged: {played:.0} of {announced:.0} seconds can be played"
            )),
            Some(_) => {}
            None => notes.push(format!(
                "the file is damaged: it is cut off behind {played:.0} seconds"
            )),
        }
    }

    fn is_independent(&self) -> bool {
        self.tracks.iter().all(|(track, cuts)| {
            let dependent = &track.collected.dependent_keys;
            let samples = &track.collected.samples;
            let video = &track.collected.track.handler == b"vide";
            cuts.iter().all(|cut| {
                let first = cut.samples.start;
                dependent.binary_search(&first).is_err()
                    && (!video || samples.get(first).is_some_and(fragments::Sample::is_key))
            })
        })
    }

    /// Writes the map and completes the derived file.
    pub fn write(
        &self,
        mut derived: DerivedWriter,
        mut notes: Vec<String>,
    ) -> Result<Views, MediaError> {
        let mut map = map::MAP_MAGIC.to_vec();
        let mut tracks = Vec::new();
        for (made, cuts) in &self.tracks {
            let track = describe_track(made, cuts, &mut map)?;
            let is_carried = transport::size(&track.init, track.timescale, &[]).is_some();
            if is_carried && !is_shown_from_transport(made, &track.init) {
                notes.push(NO_TRANSPORT.to_owned());
            }
            tracks.push(track);
        }
        if would_be_silent(&tracks) {
            notes.push(NO_SOUND.to_owned());
        }
        let target = playlist_target(&tracks);
        for track in &mut tracks {
            (track.peak_bits, track.average_bits) =
                tags::rates(&track.segments, track.timescale, target);
        }
        let offset = derived.append(&map)?;
        let len = derived.finish()?;
        Ok(Views {
            derived: Blob {
                id: BlobId::random(),
                len,
                digest: None,
                slices: Vec::new(),
            },
            map: ByteRange::new(offset, map.len() as u64),
            map_digest: Digest::of(&map),
            layout: LAYOUT,
            origin_seconds: self.origin_seconds,
            duration_ms: (self.duration.max(0.0) * 1000.0).round() as u64,
            independent_segments: self.is_independent(),
            tracks,
            subtitles: Vec::new(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            files: Vec::new(),
            chapters: Vec::new(),
            in_place: None,
        })
    }
}

/// Returns the duration of the longest segment in seconds.
pub fn playlist_target(tracks: &[Track]) -> f64 {
    tracks
        .iter()
        .flat_map(|track| {
            let timescale = f64::from(track.timescale.max(1));
            track
                .segments
                .iter()
                .map(move |segment| f64::from(segment.duration) / timescale)
        })
        .fold(1.0, f64::max)
}

fn bytes_of(made: &MadeTrack) -> u64 {
    let samples = made.collected.samples.iter();
    samples.map(|sample| u64::from(sample.size)).sum()
}

/// Describes a track, and appends its records to the map.
///
/// # Errors
/// When the muxer's header cannot be read.
pub fn describe_track(
    made: &MadeTrack,
    cuts: &[SegmentCut],
    map: &mut Vec<u8>,
) -> Result<Track, MediaError> {
    let collected = &made.collected;
    let mut segments = Vec::with_capacity(cuts.len());
    let mut frames = Vec::new();
    for group in cuts.chunks(map::SEGMENTS_PER_FRAME) {
        let sources: Vec<SegmentSource<'_>> = group
            .iter()
            .map(|cut| SegmentSource {
                decode_time: cut.decode_time,
                samples: &collected.samples[cut.samples.clone()],
                places: &collected.places[cut.samples.clone()],
            })
            .collect();
        let frame = map::encode_frame(&sources)?;
        let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
        frames.push((ByteRange::new(map.len() as u64, frame.len() as u64), count));
        map.extend(frame);
        segments.extend(group.iter().zip(&sources).map(|(cut, source)| {
            SegmentInfo {
                duration: cut.duration,
                size: segment_header::size(source.samples)
                    + source
                        .samples
                        .iter()
                        .map(|sample| u64::from(sample.size))
                        .sum::<u64>(),
            }
        }));
    }
    let first_decode = cuts.first().map_or(0, |cut| cut.decode_time);
    let init = init::write(&made.movie, &collected.track, first_decode).ok_or_else(|| {
        MediaError::new(
            MediaErrorKind::Protocol,
            "ffmpeg wrote a movie header that cannot be read",
        )
    })?;
    let kind = track_kind(made, &init);
    let timescale = collected.track.timescale;
    Ok(Track {
        transport_sizes: transport_sizes(made, cuts, &init),
        first_pictures: first_pictures(made, cuts, &kind),
        role: role::of(&made.stream),
        captions: collected.captions.clone(),
        kind,
        codec: collected.description.codec.clone(),
        timescale,
        init,
        language: language::bcp47(made.stream.language_tag()),
        title: language::clean_title(made.stream.tag("title")),
        default: made.stream.has("default"),
        peak_bits: 0,
        average_bits: 0,
        segments,
        frames,
    })
}

/// Returns the bytes of each segment as MPEG-TS, or none where MPEG-TS cannot carry the track as it is shown.
fn transport_sizes(made: &MadeTrack, cuts: &[SegmentCut], init: &[u8]) -> Vec<u64> {
    if !is_shown_from_transport(made, init) {
        return Vec::new();
    }
    let timescale = made.collected.track.timescale;
    let sizes = cuts.iter().map(|cut| {
        let samples = &made.collected.samples[cut.samples.clone()];
        transport::size(init, timescale, samples)
    });
    sizes.collect::<Option<_>>().unwrap_or_default()
}

/// Returns true if MPEG-TS carries the pictures of a film, but none of its sound.
fn would_be_silent(tracks: &[Track]) -> bool {
    let is_carried = |track: &&Track| !track.transport_sizes.is_empty();
    let is_sound = |track: &Track| matches!(track.kind, TrackKind::Audio { .. });
    let (sounds, pictures): (Vec<&Track>, Vec<&Track>) =
        tracks.iter().partition(|track| is_sound(track));
    pictures.iter().any(is_carried) && !sounds.is_empty() && !sounds.iter().any(is_carried)
}

/// Returns true if a player shows the pictures of the track from MPEG-TS as it shows those of the file.
/// Pictures that bring parameter sets of their own are shown as these say.
fn is_shown_from_transport(made: &MadeTrack, init: &[u8]) -> bool {
    let collected = &made.collected;
    if &collected.track.handler != b"vide" {
        return true;
    }
    let is_changed = picture::with_agreeing_sets(&collected.track.trak).is_some();
    picture::is_in_the_stream(init) && !(is_changed && collected.brings_sets)
}

/// Returns the bytes of each segment up to the end of its first picture. There are none for audio, or
/// where a segment does not start with a key frame.
fn first_pictures(made: &MadeTrack, cuts: &[SegmentCut], kind: &TrackKind) -> Vec<u64> {
    if matches!(kind, TrackKind::Audio { .. }) {
        return Vec::new();
    }
    let heads = cuts.iter().map(|cut| {
        let samples = &made.collected.samples[cut.samples.clone()];
        let first = samples.first().filter(|sample| sample.is_key())?;
        Some(segment_header::size(samples) + u64::from(first.size))
    });
    heads.collect::<Option<_>>().unwrap_or_default()
}

/// Returns the value of VIDEO-RANGE for a stream.
pub fn range(video: &ProbedStream) -> &'static str {
    match video.color_transfer.as_str() {
        "smpte2084" => "PQ",
        "arib-std-b67" => "HLG",
        _ => "SDR",
    }
}

fn track_kind(made: &MadeTrack, init: &[u8]) -> TrackKind {
    let description = &made.collected.description;
    if &made.collected.track.handler == b"vide" {
        let vision = DolbyVision::of_init(init).and_then(DolbyVision::video_range);
        TrackKind::Video {
            width: description.width,
            height: description.height,
            millihertz: made.stream.millihertz(),
            range: vision.unwrap_or(range(&made.stream)).to_owned(),
        }
    } else {
        TrackKind::Audio {
            channels: made.stream.channels.max(1),
            sample_rate: description.sample_rate,
        }
    }
}
