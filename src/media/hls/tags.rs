//! Tags that several playlists share, and the values in them (RFC 8216; section numbers are its own).
//! Playlists are written by hand: their bytes are part of the views' promised sizes.

use std::fmt::Write as _;

use super::labels;
use crate::media::inspect::language;
use crate::media::inspect::unique::UniqueTexts;
use crate::media::mp4::dolby_vision::DolbyVision;
use crate::media::mp4::picture;
use crate::model::{AudioRole, EntryId, Name, SegmentInfo, Subtitle, Track, TrackKind, Views};

/// Text before and after the name of each media playlist in a multivariant one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterUris {
    /// E.g. `https://host/playlist/public/<id>/`; empty for the mount.
    pub prefix: String,
    /// E.g. `?v=<digest>`.
    pub suffix: String,
}

impl MasterUris {
    /// Returns the URI of the media playlist called `name`.
    pub(super) fn of(&self, name: &str) -> String {
        format!("{}{name}.m3u8{}", self.prefix, self.suffix)
    }
}

/// Format of media segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentFormat {
    /// Fragmented MP4.
    Fmp4,
    /// MPEG-TS, below `ts/`. Its playlists refer to the subtitles of the other format.
    MpegTs,
}

impl SegmentFormat {
    /// Returns whether the film has a playlist of this format, which has pictures and sound if the film has.
    #[must_use]
    pub fn is_offered(self, views: &Views) -> bool {
        let carries = |picture: bool| {
            let kind = (0..views.tracks.len()).filter(|&at| is_video(&views.tracks[at]) == picture);
            kind.map(|at| self.has(views, at)).max() != Some(false)
        };
        views.in_place.is_some() || !views.tracks.is_empty() && carries(true) && carries(false)
    }

    /// Returns whether a track has segments of this format.
    #[must_use]
    pub fn has(self, views: &Views, track: usize) -> bool {
        if let Some(film) = &views.in_place {
            let is_beside = track >= film.inside as usize && self == Self::Fmp4;
            return track == 0 || is_beside;
        }
        match self {
            Self::Fmp4 => true,
            Self::MpegTs => !views.transport_sizes(track).is_empty(),
        }
    }

    /// Returns the format of the segments behind playlists of this one. A film that is a transport
    /// stream has MPEG-TS segments only.
    #[must_use]
    pub const fn of_segments(self, views: &Views) -> Self {
        match views.in_place {
            Some(_) => Self::MpegTs,
            None => self,
        }
    }

    /// Returns the relative path from a playlist's directory to the subtitles' playlists.
    pub(super) const fn to_film(self) -> &'static str {
        match self {
            Self::Fmp4 => "",
            Self::MpegTs => "../",
        }
    }

    /// Returns the protocol version that playlists of this format need (§7).
    pub(super) const fn version(self) -> u32 {
        match self {
            Self::Fmp4 => 7,
            Self::MpegTs => 4,
        }
    }

    /// Returns the peak and the average rate of a track in bits per second.
    #[must_use]
    pub fn rates(self, views: &Views, index: usize) -> (u64, u64) {
        let track = &views.tracks[index];
        match self {
            Self::Fmp4 => (track.peak_bits, track.average_bits),
            Self::MpegTs => {
                let sizes = views.transport_sizes(index).iter();
                let segments: Vec<SegmentInfo> = track
                    .segments
                    .iter()
                    .zip(sizes)
                    .map(|(segment, &size)| SegmentInfo { size, ..*segment })
                    .collect();
                rates(&segments, track.timescale, target_duration(views) as f64)
            }
        }
    }
}

pub(super) const fn is_video(track: &Track) -> bool {
    matches!(track.kind, TrackKind::Video { .. })
}

pub(super) const fn is_audio(track: &Track) -> bool {
    matches!(track.kind, TrackKind::Audio { .. })
}

pub(super) fn has_video(views: &Views) -> bool {
    views.tracks.iter().any(is_video)
}

/// Returns the name of a track's playlist and directory: `video`, `video-2`, `audio-1`, …
#[must_use]
pub fn track_name(views: &Views, index: usize) -> String {
    let count = |tracks: &[Track]| tracks.iter().filter(|track| is_audio(track)).count();
    if views.tracks.get(index).is_some_and(is_audio) {
        return format!("audio-{}", count(&views.tracks[..=index]));
    }
    let before = views.tracks.iter().take(index);
    match before.filter(|track| !is_audio(track)).count() {
        0 => "video".to_owned(),
        others => format!("video-{}", others + 1),
    }
}

/// Returns the name of a subtitle's playlist and directory; `index` counts from 0.
#[must_use]
pub fn subtitle_name(index: usize) -> String {
    format!("sub-{}", index + 1)
}

/// A user's subtitle file that is shown with the film beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSubtitle {
    pub file: EntryId,
    pub file_name: Name,
    /// Description and texts. Its ranges are of the blob that was derived from the file.
    pub subtitle: Subtitle,
    /// Name of its playlist and directory. It identifies the texts for ever: a URI with it never
    /// refers to other bytes, whatever files are added, removed or replaced.
    pub name: String,
}

/// Source of a subtitle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SubtitleOrigin {
    Film,
    User,
}

/// A subtitle with the name of its playlist.
pub struct SubtitleRendition<'a> {
    origin: SubtitleOrigin,
    name: String,
    subtitle: &'a Subtitle,
}

impl<'a> SubtitleRendition<'a> {
    /// Returns the subtitles of the film, then those of the user.
    pub(super) fn all(views: &'a Views, external: &'a [ExternalSubtitle]) -> Vec<Self> {
        let own = views.subtitles.iter().enumerate();
        let own = own.map(|(index, subtitle)| Self {
            origin: SubtitleOrigin::Film,
            name: subtitle_name(index),
            subtitle,
        });
        let external = external.iter().map(|one| Self {
            origin: SubtitleOrigin::User,
            name: one.name.clone(),
            subtitle: &one.subtitle,
        });
        own.chain(external).collect()
    }
}

/// An audio rendition in EXT-X-MEDIA.
pub struct AudioMedia<'a> {
    /// GROUP-ID.
    pub group: &'a str,
    /// NAME, unique in the group.
    pub name: &'a str,
    /// DEFAULT; true for exactly one rendition of a group.
    pub default: bool,
    pub track: &'a Track,
}

impl AudioMedia<'_> {
    /// Appends the tag (§4.3.4.1) up to its URI, which the caller adds with the end of the line. A player
    /// never chooses a commentary by itself.
    pub(super) fn write(&self, text: &mut String) {
        let role = self.track.role;
        let _infallible = write!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\",NAME=\"{}\"{},DEFAULT={},AUTOSELECT={}",
            self.group,
            self.name,
            language_attribute(&self.track.language),
            yes_or_no(self.default),
            yes_or_no(self.default || role != AudioRole::Commentary),
        );
        let characteristic = match role {
            AudioRole::Main | AudioRole::Commentary => None,
            AudioRole::Description => Some("describes-video"),
            AudioRole::ClearSpeech => Some("enhances-speech-intelligibility"),
        };
        if let Some(name) = characteristic {
            let _infallible = write!(text, ",CHARACTERISTICS=\"public.accessibility.{name}\"");
        }
        if let TrackKind::Audio { channels, .. } = self.track.kind {
            let _infallible = write!(text, ",CHANNELS=\"{channels}\"");
        }
    }
}

/// Returns the LANGUAGE attribute; empty where the language is not known.
fn language_attribute(tag: &str) -> String {
    match tag {
        language::UNDETERMINED => String::new(),
        known => format!(",LANGUAGE=\"{known}\""),
    }
}

/// Returns the default of a group: the track with the flag, or else the first that is the film's own sound.
pub(super) fn default_of<'a>(tracks: impl Iterator<Item = &'a Track> + Clone) -> usize {
    let is_main = |track: &Track| track.role == AudioRole::Main;
    let flagged = tracks.clone().position(|track| track.default);
    flagged
        .or_else(|| tracks.clone().position(is_main))
        .unwrap_or(0)
}

/// Returns the attribute of EXT-X-STREAM-INF that refers to the subtitles; empty without any.
pub(super) const fn subtitle_group(subtitles: &[SubtitleRendition]) -> &'static str {
    if subtitles.is_empty() {
        ""
    } else {
        ",SUBTITLES=\"subtitles\""
    }
}

/// Appends an EXT-X-MEDIA tag for each subtitle. At most one is the default, and a user's file takes
/// precedence over the film's own streams.
pub(super) fn subtitle_media(
    text: &mut String,
    subtitles: &[SubtitleRendition],
    format: SegmentFormat,
    uris: &MasterUris,
) {
    let default_of = |origin| {
        let is_default = |one: &SubtitleRendition| {
            one.origin == origin && one.subtitle.default && !one.subtitle.forced
        };
        subtitles.iter().position(is_default)
    };
    let default = default_of(SubtitleOrigin::User).or(default_of(SubtitleOrigin::Film));
    let mut names = UniqueNames::default();
    for (index, rendition) in subtitles.iter().enumerate() {
        let subtitle = rendition.subtitle;
        let name = names.unique(&subtitle.title, &labels::of_subtitle(subtitle), index);
        let _infallible = write!(
            text,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"{name}\"{},DEFAULT={},AUTOSELECT=YES,FORCED={}",
            language_attribute(&subtitle.language),
            yes_or_no(default == Some(index)),
            yes_or_no(subtitle.forced),
        );
        if subtitle.hearing_impaired {
            text.push_str(",CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound\"");
        }
        let uri = uris.of(&format!("{}{}", format.to_film(), rendition.name));
        let _infallible = writeln!(text, ",URI=\"{uri}\"");
    }
}

const fn yes_or_no(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

/// Appends EXT-X-STREAM-INF (§4.3.4.2) up to the attributes that refer to groups. Rates are the peak
/// and the average in bits per second.
pub(super) fn stream_inf(
    text: &mut String,
    track: &Track,
    (peak, average): (u64, u64),
    codecs: &str,
) {
    let _infallible = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\"",
        peak.max(1),
        average.max(1),
    );
    if let TrackKind::Video { millihertz, .. } = &track.kind {
        picture_attributes(text, track);
        if *millihertz > 0 {
            let _infallible = write!(
                text,
                ",FRAME-RATE={}.{:03}",
                millihertz / 1000,
                millihertz % 1000
            );
        }
    }
}

/// Appends the attributes about pictures that variants and I-frame variants have. RESOLUTION is the size as
/// shown: turned, and with square pixels. SUPPLEMENTAL-CODECS is RFC 8216bis §4.4.6.2.
pub(super) fn picture_attributes(text: &mut String, track: &Track) {
    let TrackKind::Video {
        width,
        height,
        range,
        ..
    } = &track.kind
    else {
        return;
    };
    let vision = DolbyVision::of_init(&track.init).and_then(DolbyVision::supplemental_codecs);
    if let Some(codecs) = vision {
        let _infallible = write!(text, ",SUPPLEMENTAL-CODECS=\"{codecs}\"");
    }
    let (width, height) = picture::shown_size(&track.init).unwrap_or((*width, *height));
    if width > 0 && height > 0 {
        let _infallible = write!(text, ",RESOLUTION={width}x{height}");
    }
    let _infallible = write!(text, ",VIDEO-RANGE={range}");
}

/// Assigns each rendition of a group its own NAME.
#[derive(Default)]
pub(super) struct UniqueNames(UniqueTexts);

impl UniqueNames {
    /// Returns `title`, or `otherwise` if that is empty, or `Track <n>`; with a number behind it when
    /// the name is taken.
    pub(super) fn unique(&mut self, title: &str, otherwise: &str, index: usize) -> String {
        let base = [title, otherwise]
            .into_iter()
            .find(|text| !text.is_empty())
            .map_or_else(|| format!("Track {}", index + 1), str::to_owned);
        self.0
            .take(&base, |base, number| format!("{base} ({number})"))
    }
}

/// Returns EXT-X-TARGETDURATION in seconds. Every EXTINF, rounded to the nearest second, is at most
/// this (§4.3.3.1), and all playlists of a film have the same value (§6.2.4).
#[must_use]
pub fn target_duration(views: &Views) -> u64 {
    let longest = |track: &Track| {
        let longest = track
            .segments
            .iter()
            .map(|segment| u64::from(segment.duration))
            .max();
        let timescale = u64::from(track.timescale.max(1));
        (longest.unwrap_or(0) * 2 + timescale) / (timescale * 2)
    };
    views.tracks.iter().map(longest).max().unwrap_or(0).max(1)
}

/// Returns the first tags of a media playlist.
pub(super) fn head(views: &Views, format: SegmentFormat) -> String {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n",
        format.version(),
        target_duration(views)
    )
}

/// Appends EXTINF with the segment's exact duration.
pub(super) fn extinf(text: &mut String, segment: SegmentInfo, timescale: u32) {
    let seconds = f64::from(segment.duration) / f64::from(timescale.max(1));
    let _infallible = writeln!(text, "#EXTINF:{seconds:.6},");
}

/// Writes EXTINF so that the sum of durations never exceeds the time at which a segment starts.
/// ffmpeg seeks by that sum and drops a key frame that is decoded before it.
#[derive(Default)]
pub(super) struct EarlyExtinf {
    /// End of the last segment, in the track's timescale.
    ticks: u64,
    /// Sum of the durations written so far, in microseconds.
    written: u64,
}

impl EarlyExtinf {
    /// Microseconds by which the sums stay behind. Segments last from picture to picture, and
    /// Matroska's rounding shifts the decoding time of a picture by up to a millisecond.
    const LEAD: u64 = 2000;

    pub(super) fn write(&mut self, text: &mut String, segment: SegmentInfo, timescale: u32) {
        self.ticks = self.ticks.saturating_add(u64::from(segment.duration));
        let until = u128::from(self.ticks) * 1_000_000 / u128::from(timescale.max(1));
        let until = u64::try_from(until)
            .unwrap_or(u64::MAX)
            .saturating_sub(Self::LEAD);
        let duration = until.saturating_sub(self.written);
        self.written = until.max(self.written);
        let _infallible = writeln!(
            text,
            "#EXTINF:{}.{:06},",
            duration / 1_000_000,
            duration % 1_000_000
        );
    }
}

/// Most segments of one run whose rate is looked at. Segments without a duration would make runs as long
/// as the film.
const MAX_RUN: usize = 256;

/// Returns the segments of the run from `start` on whose rate is looked at.
fn run_from(segments: &[SegmentInfo], start: usize) -> &[SegmentInfo] {
    &segments[start..segments.len().min(start + MAX_RUN)]
}

/// Returns the peak and the average rate of `segments` in bits per second. The peak is the largest
/// rate of consecutive segments that together last between half and one and a half target durations
/// (§4.3.4.2).
#[must_use]
pub fn rates(segments: &[SegmentInfo], timescale: u32, target_seconds: f64) -> (u64, u64) {
    let seconds = |segment: &SegmentInfo| f64::from(segment.duration) / f64::from(timescale.max(1));
    let mut peak: f64 = 0.0;
    for start in 0..segments.len() {
        let (mut duration, mut bytes) = (0.0, 0_u64);
        for segment in run_from(segments, start) {
            duration += seconds(segment);
            bytes = bytes.saturating_add(segment.size);
            if duration > target_seconds * 1.5 {
                break;
            }
            if duration >= target_seconds * 0.5 {
                peak = peak.max(bytes as f64 * 8.0 / duration);
            }
        }
    }
    let duration: f64 = segments.iter().map(seconds).sum();
    let sizes = segments.iter().map(|segment| segment.size);
    let bytes = sizes.fold(0_u64, u64::saturating_add);
    let average = bytes as f64 * 8.0 / duration.max(0.001);
    (peak.max(average).ceil() as u64, average.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_segments_without_a_duration_are_found_at_once() {
        // Without a limit this looks at 5,000,000,000 runs.
        let segment = SegmentInfo {
            duration: 0,
            size: u64::MAX / 2,
        };
        let segments = vec![segment; 100_000];
        assert_eq!(run_from(&segments, 1).len(), MAX_RUN);
        assert_eq!(run_from(&segments, 99_999).len(), 1);
        let (peak, average) = rates(&segments, 1000, 4.0);
        assert!(peak >= average && average > 0);
    }

    #[test]
    fn names_in_a_group_are_unique() {
        let mut names = UniqueNames::default();
        let mut next = |title, otherwise| names.unique(title, otherwise, 2);
        assert_eq!(next("Commentary", "en"), "Commentary");
        assert_eq!(next("Commentary", "en"), "Commentary (2)");
        assert_eq!(next("", "en"), "en");
        assert_eq!(next("", ""), "Track 3");
    }

    #[test]
    fn sums_of_early_durations_stay_behind_the_segments() {
        let segment = |duration| SegmentInfo { duration, size: 1 };
        let mut clock = EarlyExtinf::default();
        let mut text = String::new();
        for _ in 0..2 {
            clock.write(&mut text, segment(6000), 1000);
        }
        assert_eq!(text, "#EXTINF:5.998000,\n#EXTINF:6.000000,\n");
    }

    #[test]
    fn the_peak_is_that_of_neighbours_of_half_a_target_at_least() {
        let segments: Vec<SegmentInfo> = [(1000, 125), (1000, 1250), (4000, 1000)]
            .map(|(duration, size)| SegmentInfo { duration, size })
            .to_vec();
        // 1375 bytes in the first two seconds; 2375 in all six.
        assert_eq!(rates(&segments, 1000, 4.0), (5500, 3167));
    }
}
