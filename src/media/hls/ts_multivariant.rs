//! The multivariant playlist of a film that is a transport stream, whose segments are ranges of it.

use std::fmt::Write as _;

use super::tags::{self, AudioMedia, MasterUris, SegmentFormat, SubtitleRendition, track_name};
use super::{chapters, labels};
use crate::media::browser::BrowserAudio;
use crate::model::{InPlace, Track, Views};

/// Location of an audio rendition's samples.
enum AudioPlace<'a> {
    /// In the segments of the video.
    Inside(&'a Track),
    /// In a playlist of its own, by its index in `Views::tracks`.
    Beside(usize),
}

impl<'a> AudioPlace<'a> {
    fn track(&self, views: &'a Views) -> &'a Track {
        match self {
            Self::Inside(track) => track,
            Self::Beside(index) => &views.tracks[*index],
        }
    }
}

/// Writes the playlist. Players that choose among all streams of a transport stream get a variant
/// with the video's playlist alone. Browsers take one audio stream, so they get a variant with the
/// others as renditions.
pub fn master(
    views: &Views,
    film: &InPlace,
    subtitles: &[SubtitleRendition<'_>],
    format: SegmentFormat,
    uris: &MasterUris,
) -> String {
    let version = labels::caption_version(views).max(4);
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n");
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let inside = film.inside as usize;
    let sound = views.tracks.get(1..inside).unwrap_or_default();
    let mut renditions = String::new();
    let texts = tags::subtitle_group(subtitles);
    let beside: Vec<usize> = match format {
        SegmentFormat::Fmp4 => (inside..views.tracks.len()).collect(),
        SegmentFormat::MpegTs => Vec::new(),
    };
    let group = (!beside.is_empty()).then_some("audio");
    if let Some(group) = group {
        let mut all: Vec<AudioPlace<'_>> = Vec::new();
        // A rendition without a URI is the one inside: hls.js plays the stream whose codec it knows.
        if beside.len() < sound.len() {
            let played = sound.iter().find(|track| is_for_browsers(&track.codec));
            all.extend(played.map(AudioPlace::Inside));
        }
        all.extend(beside.iter().map(|&index| AudioPlace::Beside(index)));
        audio_media(&mut renditions, views, group, &all, uris);
        let most = beside
            .iter()
            .map(|&index| SegmentFormat::MpegTs.rates(views, index));
        let variant = InPlaceVariant {
            codecs: all
                .iter()
                .map(|place| place.track(views).codec.as_str())
                .collect(),
            audio_rates: most.fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1))),
            group: Some(group),
            subtitles: texts,
        };
        variant.write(&mut text, views, uris);
    }
    let codecs: Vec<&str> = sound.iter().map(|track| track.codec.as_str()).collect();
    let browsers: Vec<&str> = codecs
        .iter()
        .copied()
        .filter(|codec| is_for_browsers(codec))
        .collect();
    // If there are no renditions, a codec that browsers do not know must not keep them from the others.
    let named = if group.is_none() && !browsers.is_empty() {
        browsers
    } else {
        codecs
    };
    let adds = group.is_none() || named.iter().any(|codec| !is_for_browsers(codec));
    if adds {
        let variant = InPlaceVariant {
            codecs: named,
            audio_rates: (0, 0),
            group: None,
            subtitles: texts,
        };
        variant.write(&mut text, views, uris);
    }
    tags::subtitle_media(&mut renditions, subtitles, format, uris);
    if let Some(video) = views.tracks.first() {
        labels::caption_media(&mut renditions, video);
    }
    text.push_str(&renditions);
    chapters::session_data(&mut text, views, format, uris);
    text
}

fn is_for_browsers(codec: &str) -> bool {
    BrowserAudio::from_rfc6381(codec).is_some_and(BrowserAudio::plays_in_transport_stream)
}

/// Appends an EXT-X-MEDIA tag for each audio rendition. Exactly one is the default.
fn audio_media(
    text: &mut String,
    views: &Views,
    group: &str,
    all: &[AudioPlace<'_>],
    uris: &MasterUris,
) {
    let default = tags::default_of(all.iter().map(|place| place.track(views)));
    let mut names = tags::UniqueNames::default();
    for (position, place) in all.iter().enumerate() {
        let track = place.track(views);
        let media = AudioMedia {
            group,
            name: &names.unique(&track.title, &labels::of_audio(track), position),
            default: position == default,
            track,
        };
        media.write(text);
        if let AudioPlace::Beside(index) = place {
            let _infallible = write!(text, ",URI=\"{}\"", uris.of(&track_name(views, *index)));
        }
        text.push('\n');
    }
}

/// One EXT-X-STREAM-INF. Its URI is the video's playlist.
struct InPlaceVariant<'a> {
    /// Codecs of its audio.
    codecs: Vec<&'a str>,
    /// Peak and average of the audio that is not in the video's segments, in bits per second.
    audio_rates: (u64, u64),
    group: Option<&'a str>,
    /// Attribute that refers to the subtitles; empty without any.
    subtitles: &'static str,
}

impl InPlaceVariant<'_> {
    fn write(&self, text: &mut String, views: &Views, uris: &MasterUris) {
        let Some(track) = views.tracks.first() else {
            return;
        };
        let mut codecs = vec![track.codec.as_str()];
        for codec in &self.codecs {
            if !codecs.contains(codec) {
                codecs.push(codec);
            }
        }
        let (peak, average) = self.audio_rates;
        let rates = (
            track.peak_bits.saturating_add(peak),
            track.average_bits.saturating_add(average),
        );
        tags::stream_inf(text, track, rates, &codecs.join(","));
        if let Some(group) = self.group {
            let _infallible = write!(text, ",AUDIO=\"{group}\"");
        }
        text.push_str(self.subtitles);
        text.push_str(&labels::caption_group(track));
        let _infallible = writeln!(text, "\n{}", uris.of(&track_name(views, 0)));
    }
}
