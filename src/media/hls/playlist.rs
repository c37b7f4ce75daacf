//! Playlists, written by hand from [`Views`] alone. RFC 8216; section numbers are its own.

use super::ts_multivariant;
use std::fmt::Write as _;

use super::external_subtitles::Joined;
use super::iframes;
use crate::model::{SegmentInfo, Subtitle, Track, TrackKind, Views};

/// What surrounds the URI of each media playlist in the multivariant one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterUris {
    /// E.g. `https://host/playlist/public/<id>/`; empty for the mount.
    pub prefix: String,
    /// E.g. `?v=<digest>`.
    pub suffix: String,
}

/// What segments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Fragmented MP4.
    Fmp4,
    /// MPEG-TS, below `ts/`; subtitles are the same and lie above.
    Transport,
}

impl Form {
    /// Whether the film has a multivariant playlist of this form: with its video, where it has one.
    #[must_use]
    pub fn is_offered(self, views: &Views) -> bool {
        let mut tracks = (0..views.tracks.len()).filter(|&index| {
            let is_video = matches!(views.tracks[index].kind, TrackKind::Video { .. });
            is_video || !has_video(views)
        });
        tracks.any(|index| self.has(views, index))
    }
    /// Whether a track has segments of this form.
    #[must_use]
    pub fn has(self, views: &Views, track: usize) -> bool {
        if let Some(film) = &views.in_place {
            let is_beside = track >= film.inside as usize && self == Self::Fmp4;
            return track == 0 || is_beside;
        }
        match self {
            Self::Fmp4 => true,
            Self::Transport => !views.transport_sizes(track).is_empty(),
        }
    }
    /// What segments really are: a film that is a transport stream has no others.
    #[must_use]
    pub fn of_segments(self, views: &Views) -> Self {
        match views.in_place {
            Some(_) => Self::Transport,
            None => self,
        }
    }
    /// From a playlist's directory to that of the subtitles'.
    const fn to_subtitles(self) -> &'static str {
        match self {
            Self::Fmp4 => "",
            Self::Transport => "../",
        }
    }
    /// What players must know (§7).
    const fn version(self) -> u32 {
        match self {
            Self::Fmp4 => 7,
            Self::Transport => 4,
        }
    }
    /// Bits a second of a track, at most and on average.
    pub fn rates(self, views: &Views, index: usize) -> (u64, u64) {
        let track = &views.tracks[index];
        match self {
            Self::Fmp4 => (track.peak_bits, track.average_bits),
            Self::Transport => {
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

fn has_video(views: &Views) -> bool {
    let mut kinds = views.tracks.iter().map(|track| &track.kind);
    kinds.any(|kind| matches!(kind, TrackKind::Video { .. }))
}

/// Names of a track's playlist and directory: `video`, `video-2`, `audio-1`, …
#[must_use]
pub fn track_name(views: &Views, index: usize) -> String {
    let is_audio = |track: &Track| matches!(track.kind, TrackKind::Audio { .. });
    if views.tracks.get(index).is_some_and(is_audio) {
        let number = views.tracks[..=index]
            .iter()
            .filter(|track| is_audio(track))
            .count();
        return format!("audio-{number}");
    }
    let before = views.tracks.iter().take(index);
    match before.filter(|track| !is_audio(track)).count() {
        0 => "video".to_owned(),
        others => format!("video-{}", others + 1),
    }
}

/// Name of the n-th subtitle's playlist and directory, from 0.
#[must_use]
pub fn subtitle_name(index: usize) -> String {
    format!("sub-{}", index + 1)
}

/// Codecs that browsers play; players without the others must find a variant without them.
fn is_for_browsers(codec: &str) -> bool {
    codec.starts_with("mp4a.40") || matches!(codec, "opus" | "fLaC")
}

/// Audio tracks of one codec, with the group's name: a variant must name every codec in its group.
/// As MPEG-TS all are one group: the players it is for decode everything, and would take each
/// variant for a film of its own.
fn audio_groups(views: &Views, form: Form) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, track) in views.tracks.iter().enumerate() {
        if !matches!(track.kind, TrackKind::Audio { .. }) || !form.has(views, index) {
            continue;
        }
        let name = if form == Form::Transport || track.codec.starts_with("mp4a.40") {
            "audio".to_owned()
        } else {
            format!("audio-{}", track.codec.to_lowercase())
        };
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, tracks)) => tracks.push(index),
            None => groups.push((name, vec![index])),
        }
    }
    // The first variant is what a player starts with.
    groups.sort_by_key(|(_, tracks)| !is_for_browsers(&views.tracks[tracks[0]].codec));
    groups
}

/// §4.3.4: the multivariant playlist.
#[must_use]
pub fn master(views: &Views, form: Form, uris: &MasterUris) -> String {
    master_with(views, &[], form, uris)
}

/// The multivariant playlist with subtitle files that joined.
#[must_use]
pub fn master_with(views: &Views, joined: &[Joined], form: Form, uris: &MasterUris) -> String {
    let subtitles = renditions_of(views, joined);
    if let Some(film) = &views.in_place {
        return ts_multivariant::master(views, film, &subtitles, form, uris);
    }
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{}\n", form.version());
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let groups = audio_groups(views, form);
    let mut renditions = String::new();
    for (group, tracks) in &groups {
        audio_media(&mut renditions, views, group, tracks, uris);
    }
    subtitle_media(&mut renditions, &subtitles, form, uris);
    let beside = subtitle_group(&subtitles);
    let mut add = |lead, group| variant(&mut text, views, form, (lead, group, beside), uris);
    if has_video(views) {
        // The film's own first: a rendition is for those who cannot play that.
        let is_video = |track: &Track| matches!(track.kind, TrackKind::Video { .. });
        let tracks = views.tracks.iter().enumerate();
        let videos = tracks.filter(|(index, track)| is_video(track) && form.has(views, *index));
        for (video, _) in videos {
            if groups.is_empty() {
                add(video, None);
            }
            groups.iter().for_each(|group| add(video, Some(group)));
        }
    } else {
        groups.iter().for_each(|group| add(group.1[0], Some(group)));
    }
    if form == Form::Fmp4 {
        iframes::variant(&mut text, views, uris);
    }
    // ffmpeg counts times in the film from the first packet of the first playlist: the video's.
    text.push_str(&renditions);
    text
}

/// §4.3.4.1. Names are unique in the group; exactly one track is the default.
fn audio_media(text: &mut String, views: &Views, group: &str, tracks: &[usize], uris: &MasterUris) {
    let default = tracks
        .iter()
        .position(|&index| views.tracks[index].default)
        .unwrap_or(0);
    let mut names = Names::default();
    for (place, &index) in tracks.iter().enumerate() {
        let track = &views.tracks[index];
        let name = names.unique(&track.title, &track.language, place);
        let flag = if place == default { "YES" } else { "NO" };
        audio_line(text, (group, &name, flag), track);
        let _infallible = writeln!(text, ",URI=\"{}\"", uri(uris, &track_name(views, index)));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Film,
    User,
}

/// A subtitle with the name of its playlist.
pub struct Rendition<'a> {
    origin: Origin,
    name: String,
    subtitle: &'a Subtitle,
}

/// The film's own, then the user's.
fn renditions_of<'a>(views: &'a Views, joined: &'a [Joined]) -> Vec<Rendition<'a>> {
    let own = views.subtitles.iter().enumerate();
    let own = own.map(|(index, subtitle)| Rendition {
        origin: Origin::Film,
        name: subtitle_name(index),
        subtitle,
    });
    let joined = joined.iter().map(|one| Rendition {
        origin: Origin::User,
        name: one.name.clone(),
        subtitle: &one.subtitle,
    });
    own.chain(joined).collect()
}

/// Up to the address of its playlist. `flag` is DEFAULT: `YES` once in a group.
pub fn audio_line(text: &mut String, (group, name, flag): (&str, &str, &str), track: &Track) {
    let _infallible = write!(
        text,
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\",LANGUAGE=\"{}\",DEFAULT={flag},AUTOSELECT=YES",
        track.language
    );
    if let TrackKind::Audio { channels, .. } = track.kind {
        let _infallible = write!(text, ",CHANNELS=\"{channels}\"");
    }
}

/// What a variant says of them.
pub fn subtitle_group(subtitles: &[Rendition]) -> &'static str {
    match subtitles.is_empty() {
        true => "",
        false => ",SUBTITLES=\"subtitles\"",
    }
}

/// At most one is the default, and the user's word counts more than the film's.
pub fn subtitle_media(text: &mut String, subtitles: &[Rendition], form: Form, uris: &MasterUris) {
    let default_of = |origin| {
        let is_default =
            |one: &Rendition| one.origin == origin && one.subtitle.default && !one.subtitle.forced;
        subtitles.iter().position(is_default)
    };
    let default = default_of(Origin::User).or(default_of(Origin::Film));
    let mut names = Names::default();
    for (index, rendition) in subtitles.iter().enumerate() {
        let subtitle = rendition.subtitle;
        let name = names.unique(&subtitle.title, &subtitle.key, index);
        let flag = if default == Some(index) { "YES" } else { "NO" };
        let _infallible = write!(
            text,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"{name}\",LANGUAGE=\"{}\",DEFAULT={flag},AUTOSELECT=YES,FORCED={}",
            subtitle.language,
            if subtitle.forced { "YES" } else { "NO" },
        );
        if subtitle.hearing_impaired {
            text.push_str(",CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound\"");
        }
        let _infallible = writeln!(
            text,
            ",URI=\"{}\"",
            uri(uris, &format!("{}{}", form.to_subtitles(), rendition.name))
        );
    }
}

/// §4.3.4.2. BANDWIDTH is the video's peak and the largest peak of the group.
fn variant(
    text: &mut String,
    views: &Views,
    form: Form,
    (lead, group, beside): (usize, Option<&(String, Vec<usize>)>, &str),
    uris: &MasterUris,
) {
    let track = &views.tracks[lead];
    let others = group
        .map(|(_, tracks)| tracks.as_slice())
        .unwrap_or_default();
    let is_video = matches!(track.kind, TrackKind::Video { .. });
    let (mut peak, mut average) = form.rates(views, lead);
    if is_video {
        let beside = others.iter().map(|&index| form.rates(views, index));
        let most = beside.fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)));
        (peak, average) = (peak + most.0, average + most.1);
    }
    let mut codecs = vec![track.codec.as_str()];
    for &index in others {
        let codec = views.tracks[index].codec.as_str();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    stream_inf(text, track, (peak, average), &codecs.join(","));
    if let Some((name, _)) = group {
        let _infallible = write!(text, ",AUDIO=\"{name}\"");
    }
    text.push_str(beside);
    if is_video {
        text.push_str(",CLOSED-CAPTIONS=NONE");
    }
    let _infallible = writeln!(text, "\n{}", uri(uris, &track_name(views, lead)));
}

/// §4.3.4.2, up to what names groups.
pub fn stream_inf(text: &mut String, track: &Track, (peak, average): (u64, u64), codecs: &str) {
    let _infallible = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\"",
        peak.max(1),
        average.max(1),
    );
    if let TrackKind::Video {
        width,
        height,
        millihertz,
        range,
    } = &track.kind
    {
        let _infallible = write!(text, ",RESOLUTION={width}x{height}");
        if *millihertz > 0 {
            let _infallible = write!(
                text,
                ",FRAME-RATE={}.{:03}",
                millihertz / 1000,
                millihertz % 1000
            );
        }
        let _infallible = write!(text, ",VIDEO-RANGE={range}");
    }
}

pub fn uri(uris: &MasterUris, name: &str) -> String {
    format!("{}{name}.m3u8{}", uris.prefix, uris.suffix)
}

/// Gives each rendition of a group its own NAME.
#[derive(Default)]
pub struct Names(Vec<String>);

impl Names {
    pub fn unique(&mut self, title: &str, otherwise: &str, index: usize) -> String {
        let base = [title, otherwise]
            .into_iter()
            .find(|text| !text.is_empty())
            .map_or_else(|| format!("Track {}", index + 1), str::to_owned);
        let mut name = base.clone();
        let mut number = 2;
        while self.0.contains(&name) {
            name = format!("{base} ({number})");
            number += 1;
        }
        self.0.push(name.clone());
        name
    }
}

/// §4.3.3.1: every EXTINF, rounded to the nearest second, is at most this; §6.2.4: the same in every
/// playlist of the film.
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

/// The media playlist of track `index`, for the directory that its own lies in.
#[must_use]
pub fn track(views: &Views, form: Form, index: usize) -> Option<String> {
    let track = views.tracks.get(index)?;
    if !form.has(views, index) {
        return None;
    }
    let name = track_name(views, index);
    let form = form.of_segments(views);
    let mut text = head(views, form);
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let extension = match form {
        Form::Fmp4 => {
            let _infallible = writeln!(text, "#EXT-X-MAP:URI=\"{name}/init.mp4\"");
            "m4s"
        }
        Form::Transport => "ts",
    };
    let mut clock = StartsEarly::default();
    for (number, segment) in track.segments.iter().enumerate() {
        clock.extinf(&mut text, *segment, track.timescale);
        let _infallible = writeln!(text, "{name}/{:05}.{extension}", number + 1);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// The media playlist of subtitle `index`; its segments last as long as the leading track's.
#[must_use]
pub fn subtitle(views: &Views, index: usize) -> Option<String> {
    let subtitle = views.subtitles.get(index)?;
    let lead = views.tracks.first()?;
    let name = subtitle_name(index);
    let mut text = head(views, Form::Fmp4);
    for (number, segment) in lead
        .segments
        .iter()
        .take(subtitle.segments.len())
        .enumerate()
    {
        extinf(&mut text, *segment, lead.timescale);
        let _infallible = writeln!(text, "{name}/{:05}.vtt", number + 1);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// The media playlist called `name` (`video`, `audio-1`, `sub-1`).
#[must_use]
pub fn media(views: &Views, form: Form, name: &str) -> Option<String> {
    (0..views.tracks.len())
        .find(|&index| track_name(views, index) == name)
        .and_then(|index| track(views, form, index))
        .or_else(|| {
            (0..views.subtitles.len())
                .find(|&index| form == Form::Fmp4 && subtitle_name(index) == name)
                .and_then(|index| subtitle(views, index))
        })
        .or_else(|| {
            let asked = form == Form::Fmp4 && name == iframes::NAME;
            asked.then(|| iframes::media(views)).flatten()
        })
}

pub fn head(views: &Views, form: Form) -> String {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n",
        form.version(),
        target_duration(views)
    )
}

pub fn extinf(text: &mut String, segment: SegmentInfo, timescale: u32) {
    let seconds = f64::from(segment.duration) / f64::from(timescale.max(1));
    let _infallible = writeln!(text, "#EXTINF:{seconds:.6},");
}

/// EXTINF whose sums are never above the time where a segment really starts. ffmpeg adds them up when it
/// seeks, and drops a key frame that is decoded before the sum.
#[derive(Default)]
struct StartsEarly {
    ticks: u64,
    /// Microseconds that were said so far.
    said: u64,
}

impl StartsEarly {
    /// Microseconds by which sums are too low. Segments last from picture to picture, and how long a
    /// picture is decoded before it is shown changes by a millisecond where Matroska rounded to that.
    const LEAD: u64 = 2000;

    fn extinf(&mut self, text: &mut String, segment: SegmentInfo, timescale: u32) {
        self.ticks = self.ticks.saturating_add(u64::from(segment.duration));
        let until = u128::from(self.ticks) * 1_000_000 / u128::from(timescale.max(1));
        let until = u64::try_from(until)
            .unwrap_or(u64::MAX)
            .saturating_sub(Self::LEAD);
        let duration = until.saturating_sub(self.said);
        self.said = until.max(self.said);
        let _infallible = writeln!(
            text,
            "#EXTINF:{}.{:06},",
            duration / 1_000_000,
            duration % 1_000_000
        );
    }
}

/// Bits a second: the largest rate of neighbouring segments that together last between half and one
/// and a half target durations (§4.3.4.2), and the average.
#[must_use]
pub fn rates(segments: &[SegmentInfo], timescale: u32, target_seconds: f64) -> (u64, u64) {
    let seconds = |segment: &SegmentInfo| f64::from(segment.duration) / f64::from(timescale.max(1));
    let mut peak: f64 = 0.0;
    for start in 0..segments.len() {
        let (mut duration, mut bytes) = (0.0, 0_u64);
        for segment in &segments[start..] {
            duration += seconds(segment);
            bytes += segment.size;
            if duration > target_seconds * 1.5 {
                break;
            }
            if duration >= target_seconds * 0.5 {
                peak = peak.max(bytes as f64 * 8.0 / duration);
            }
        }
    }
    let duration: f64 = segments.iter().map(seconds).sum();
    let bytes: u64 = segments.iter().map(|segment| segment.size).sum();
    let average = bytes as f64 * 8.0 / duration.max(0.001);
    (peak.max(average).ceil() as u64, average.ceil() as u64)
}
