//! Playlists of a film, written from its [`Views`] alone (RFC 8216; section numbers are its own).

use std::fmt::Write as _;

use crate::media::browser::BrowserAudio;
use crate::model::Views;

use super::date::first_decoded;
use super::ending;
use super::tags::{
    AudioMedia, EarlyExtinf, ExternalSubtitle, MasterUris, SegmentFormat, SubtitleRendition,
    UniqueNames, default_of, extinf, has_video, head, is_audio, is_video, stream_inf,
    subtitle_group, subtitle_media, subtitle_name, track_name,
};
use super::{chapters, iframes, labels, ts_multivariant};

/// Returns true if browsers play the audio. A player that lacks the other codecs must find a variant
/// without them.
fn is_for_browsers(codec: &str) -> bool {
    BrowserAudio::from_rfc6381(codec).is_some_and(BrowserAudio::plays_in_mp4)
}

/// Audio tracks that a variant offers together.
struct AudioGroup {
    name: String,
    /// Indexes into `Views::tracks`; never empty.
    tracks: Vec<usize>,
}

/// Returns the audio groups, the one that browsers play first. A variant must name every codec of its
/// group, so tracks are grouped by codec. In MPEG-TS all are one group: its players decode
/// everything, and would list each variant as a film of its own.
fn audio_groups(views: &Views, format: SegmentFormat) -> Vec<AudioGroup> {
    let mut groups: Vec<AudioGroup> = Vec::new();
    for (index, track) in views.tracks.iter().enumerate() {
        if !is_audio(track) || !format.has(views, index) {
            continue;
        }
        let name = if format == SegmentFormat::MpegTs || track.codec.starts_with("mp4a.40") {
            "audio".to_owned()
        } else {
            format!("audio-{}", track.codec.to_lowercase())
        };
        match groups.iter_mut().find(|known| known.name == name) {
            Some(group) => group.tracks.push(index),
            None => groups.push(AudioGroup {
                name,
                tracks: vec![index],
            }),
        }
    }
    // Players start with the first variant.
    groups.sort_by_key(|group| !is_for_browsers(&views.tracks[group.tracks[0]].codec));
    groups
}

/// Writes the multivariant playlist (§4.3.4) without the user's subtitle files.
#[must_use]
pub fn master(views: &Views, format: SegmentFormat, uris: &MasterUris) -> String {
    master_with(views, &[], format, uris)
}

/// Writes the multivariant playlist with the user's subtitle files.
#[must_use]
pub fn master_with(
    views: &Views,
    external: &[ExternalSubtitle],
    format: SegmentFormat,
    uris: &MasterUris,
) -> String {
    let subtitles = SubtitleRendition::all(views, external);
    if let Some(film) = &views.in_place {
        return ts_multivariant::master(views, film, &subtitles, format, uris);
    }
    let version = format.version().max(labels::caption_version(views));
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n");
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let groups = audio_groups(views, format);
    let mut renditions = String::new();
    for group in &groups {
        audio_media(&mut renditions, views, group, uris);
    }
    subtitle_media(&mut renditions, &subtitles, format, uris);
    if let Some(video) = views.tracks.iter().find(|track| is_video(track)) {
        labels::caption_media(&mut renditions, video);
    }
    let mut add = |lead, audio| {
        let variant = StreamVariant {
            lead,
            audio,
            subtitles: subtitle_group(&subtitles),
        };
        variant.write(&mut text, views, format, uris);
    };
    if has_video(views) {
        // The film's own video precedes its renditions, which are for players that cannot play it.
        let videos = (0..views.tracks.len())
            .filter(|&index| is_video(&views.tracks[index]) && format.has(views, index));
        for video in videos {
            if groups.is_empty() {
                add(video, None);
            }
            groups.iter().for_each(|group| add(video, Some(group)));
        }
    } else {
        groups
            .iter()
            .for_each(|group| add(group.tracks[0], Some(group)));
    }
    if format == SegmentFormat::Fmp4 {
        iframes::variant(&mut text, views, uris);
    }
    // Renditions come last: ffmpeg counts times from the first packet of the first playlist, which
    // must be the video's.
    text.push_str(&renditions);
    chapters::session_data(&mut text, views, format, uris);
    text
}

/// Appends an EXT-X-MEDIA tag for each track of a group (§4.3.4.1). Exactly one is the default.
fn audio_media(text: &mut String, views: &Views, group: &AudioGroup, uris: &MasterUris) {
    let default = default_of(group.tracks.iter().map(|&index| &views.tracks[index]));
    let mut names = UniqueNames::default();
    for (position, &index) in group.tracks.iter().enumerate() {
        let track = &views.tracks[index];
        let media = AudioMedia {
            group: &group.name,
            name: &names.unique(&track.title, &labels::of_audio(track), position),
            default: position == default,
            track,
        };
        media.write(text);
        let _infallible = writeln!(text, ",URI=\"{}\"", uris.of(&track_name(views, index)));
    }
}

/// One EXT-X-STREAM-INF.
struct StreamVariant<'a> {
    /// Index of the track whose playlist the variant refers to.
    lead: usize,
    audio: Option<&'a AudioGroup>,
    /// Attribute that refers to the subtitles; empty without any.
    subtitles: &'static str,
}

impl StreamVariant<'_> {
    /// Appends the tag and its URI (§4.3.4.2). BANDWIDTH is the sum of the video's peak and the
    /// largest peak of the audio group.
    fn write(&self, text: &mut String, views: &Views, format: SegmentFormat, uris: &MasterUris) {
        let track = &views.tracks[self.lead];
        let others = self
            .audio
            .map(|group| group.tracks.as_slice())
            .unwrap_or_default();
        let (mut peak, mut average) = format.rates(views, self.lead);
        if is_video(track) {
            let rates = others.iter().map(|&index| format.rates(views, index));
            let most = rates.fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)));
            (peak, average) = (peak.saturating_add(most.0), average.saturating_add(most.1));
        }
        let mut codecs = vec![track.codec.as_str()];
        for &index in others {
            let codec = views.tracks[index].codec.as_str();
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        stream_inf(text, track, (peak, average), &codecs.join(","));
        if let Some(group) = self.audio {
            let _infallible = write!(text, ",AUDIO=\"{}\"", group.name);
        }
        text.push_str(self.subtitles);
        text.push_str(&labels::caption_group(track));
        let _infallible = writeln!(text, "\n{}", uris.of(&track_name(views, self.lead)));
    }
}

/// Writes the media playlist of track `index`, with URIs relative to the playlist's own directory.
/// `None` if the track has no segments of this format.
#[must_use]
pub fn track(views: &Views, format: SegmentFormat, index: usize) -> Option<String> {
    let track = views.tracks.get(index)?;
    if !format.has(views, index) {
        return None;
    }
    let name = track_name(views, index);
    let format = format.of_segments(views);
    let mut text = head(views, format);
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let extension = match format {
        SegmentFormat::Fmp4 => {
            let _infallible = writeln!(text, "#EXT-X-MAP:URI=\"{name}/init.mp4\"");
            first_decoded(&mut text, track);
            "m4s"
        }
        SegmentFormat::MpegTs => "ts",
    };
    let mut durations = EarlyExtinf::default();
    for (number, segment) in track.segments.iter().enumerate() {
        durations.write(&mut text, *segment, track.timescale);
        let _infallible = writeln!(text, "{name}/{:05}.{extension}", number + 1);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// Writes the media playlist of subtitle `index`, whose segments last as long as those of the leading
/// track.
#[must_use]
pub fn subtitle(views: &Views, index: usize) -> Option<String> {
    let subtitle = views.subtitles.get(index)?;
    let lead = views.tracks.first()?;
    let name = subtitle_name(index);
    let mut text = head(views, SegmentFormat::Fmp4);
    first_decoded(&mut text, lead);
    let segments = lead.segments.iter().take(subtitle.segments.len());
    for (number, segment) in segments.enumerate() {
        extinf(&mut text, *segment, lead.timescale);
        let _infallible = writeln!(text, "{name}/{:05}.vtt", number + 1);
    }
    ending::append(&mut text, views, &name);
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// Writes the media playlist called `name`, e.g. `video`, `audio-1` or `sub-1`.
#[must_use]
pub fn media(views: &Views, format: SegmentFormat, name: &str) -> Option<String> {
    (0..views.tracks.len())
        .find(|&index| track_name(views, index) == name)
        .and_then(|index| track(views, format, index))
        .or_else(|| {
            (0..views.subtitles.len())
                .find(|&index| format == SegmentFormat::Fmp4 && subtitle_name(index) == name)
                .and_then(|index| subtitle(views, index))
        })
        .or_else(|| {
            let asked = format == SegmentFormat::Fmp4 && name == iframes::NAME;
            asked.then(|| iframes::media(views)).flatten()
        })
}
