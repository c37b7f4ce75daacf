//! Playlists, written by hand from [`Views`] alone. RFC 8216; section numbers are its own.

use std::fmt::Write as _;

use crate::model::{SegmentInfo, Subtitle, Track, TrackKind, Views};

/// What surrounds the URI of each media playlist in the multivariant one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterUris {
    /// E.g. `https://host/playlist/public/<id>/`; empty for the mount.
    pub prefix: String,
    /// E.g. `?v=<digest>`.
    pub suffix: String,
}

/// Names of a track's playlist and directory: `video`, `audio-1`, …
#[must_use]
pub fn track_name(views: &Views, index: usize) -> String {
    let is_audio = |track: &Track| matches!(track.kind, TrackKind::Audio { .. });
    if views.tracks.get(index).is_some_and(is_audio) {
        let number = views.tracks[..=index]
            .iter()
            .filter(|track| is_audio(track))
            .count();
        format!("audio-{number}")
    } else {
        "video".to_owned()
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
fn audio_groups(views: &Views) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, track) in views.tracks.iter().enumerate() {
        if !matches!(track.kind, TrackKind::Audio { .. }) {
            continue;
        }
        let name = if track.codec.starts_with("mp4a.40") {
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
pub fn master(views: &Views, uris: &MasterUris) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let groups = audio_groups(views);
    for (group, tracks) in &groups {
        audio_media(&mut text, views, group, tracks, uris);
    }
    subtitle_media(&mut text, &views.subtitles, uris);
    let video = views
        .tracks
        .iter()
        .position(|track| matches!(track.kind, TrackKind::Video { .. }));
    match video {
        Some(video) if groups.is_empty() => variant(&mut text, views, video, None, uris),
        Some(video) => groups
            .iter()
            .for_each(|group| variant(&mut text, views, video, Some(group), uris)),
        None => groups
            .iter()
            .for_each(|group| variant(&mut text, views, group.1[0], Some(group), uris)),
    }
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
        let _infallible = write!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\",LANGUAGE=\"{}\",DEFAULT={flag},AUTOSELECT=YES",
            track.language
        );
        if let TrackKind::Audio { channels, .. } = track.kind {
            let _infallible = write!(text, ",CHANNELS=\"{channels}\"");
        }
        let _infallible = writeln!(text, ",URI=\"{}\"", uri(uris, &track_name(views, index)));
    }
}

fn subtitle_media(text: &mut String, subtitles: &[Subtitle], uris: &MasterUris) {
    let default = subtitles
        .iter()
        .position(|subtitle| subtitle.default && !subtitle.forced);
    let mut names = Names::default();
    for (index, subtitle) in subtitles.iter().enumerate() {
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
        let _infallible = writeln!(text, ",URI=\"{}\"", uri(uris, &subtitle_name(index)));
    }
}

/// §4.3.4.2. BANDWIDTH is the video's peak and the largest peak of the group.
fn variant(
    text: &mut String,
    views: &Views,
    lead: usize,
    group: Option<&(String, Vec<usize>)>,
    uris: &MasterUris,
) {
    let track = &views.tracks[lead];
    let audio = |bits: fn(&Track) -> u64| {
        group
            .map(|(_, tracks)| tracks.as_slice())
            .unwrap_or_default()
            .iter()
            .filter(|&&index| index != lead)
            .map(|&index| bits(&views.tracks[index]))
            .max()
            .unwrap_or(0)
    };
    let is_video = matches!(track.kind, TrackKind::Video { .. });
    let beside = |bits: fn(&Track) -> u64| if is_video { audio(bits) } else { 0 };
    let peak = track.peak_bits + beside(|track| track.peak_bits);
    let average = track.average_bits + beside(|track| track.average_bits);
    let mut codecs = vec![track.codec.as_str()];
    for &index in group
        .map(|(_, tracks)| tracks.as_slice())
        .unwrap_or_default()
    {
        let codec = views.tracks[index].codec.as_str();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    let _infallible = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
        peak.max(1),
        average.max(1),
        codecs.join(",")
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
    if let Some((name, _)) = group {
        let _infallible = write!(text, ",AUDIO=\"{name}\"");
    }
    if !views.subtitles.is_empty() {
        text.push_str(",SUBTITLES=\"subtitles\"");
    }
    if is_video {
        text.push_str(",CLOSED-CAPTIONS=NONE");
    }
    let _infallible = writeln!(text, "\n{}", uri(uris, &track_name(views, lead)));
}

fn uri(uris: &MasterUris, name: &str) -> String {
    format!("{}{name}.m3u8{}", uris.prefix, uris.suffix)
}

/// Gives each rendition of a group its own NAME.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn unique(&mut self, title: &str, otherwise: &str, index: usize) -> String {
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

/// The media playlist of track `index`; segment URIs start with `prefix`, e.g. empty beside the
/// playlist's own directory.
#[must_use]
pub fn track(views: &Views, index: usize, prefix: &str) -> Option<String> {
    let track = views.tracks.get(index)?;
    let name = track_name(views, index);
    let mut text = head(views);
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let _infallible = writeln!(text, "#EXT-X-MAP:URI=\"{prefix}{name}/init.mp4\"");
    for (number, segment) in track.segments.iter().enumerate() {
        extinf(&mut text, *segment, track.timescale);
        let _infallible = writeln!(text, "{prefix}{name}/{:05}.m4s", number + 1);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// The media playlist of subtitle `index`; its segments last as long as the leading track's.
#[must_use]
pub fn subtitle(views: &Views, index: usize, prefix: &str) -> Option<String> {
    let subtitle = views.subtitles.get(index)?;
    let lead = views.tracks.first()?;
    let name = subtitle_name(index);
    let mut text = head(views);
    for (number, segment) in lead
        .segments
        .iter()
        .take(subtitle.segments.len())
        .enumerate()
    {
        extinf(&mut text, *segment, lead.timescale);
        let _infallible = writeln!(text, "{prefix}{name}/{:05}.vtt", number + 1);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// The media playlist called `name` (`video`, `audio-1`, `sub-1`).
#[must_use]
pub fn media(views: &Views, name: &str, prefix: &str) -> Option<String> {
    (0..views.tracks.len())
        .find(|&index| track_name(views, index) == name)
        .and_then(|index| track(views, index, prefix))
        .or_else(|| {
            (0..views.subtitles.len())
                .find(|&index| subtitle_name(index) == name)
                .and_then(|index| subtitle(views, index, prefix))
        })
}

fn head(views: &Views) -> String {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n",
        target_duration(views)
    )
}

fn extinf(text: &mut String, segment: SegmentInfo, timescale: u32) {
    let seconds = f64::from(segment.duration) / f64::from(timescale.max(1));
    let _infallible = writeln!(text, "#EXTINF:{seconds:.6},");
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
