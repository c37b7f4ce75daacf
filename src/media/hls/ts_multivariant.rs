//! The multivariant playlist of a film whose segments are ranges of it.

use std::fmt::Write as _;

use super::playlist::{self, Form, MasterUris, Rendition, track_name};
use crate::model::{InPlace, Track, Views};

/// Sound of a rendition.
enum Source<'a> {
    /// In the segments of the video.
    Inside(&'a Track),
    /// In a playlist of its own.
    Beside(usize),
}

/// For players that choose among all streams of a transport stream, the video's playlist is all
/// there is. For browsers, which take one stream of sound, the others are renditions.
pub fn master(
    views: &Views,
    film: &InPlace,
    subtitles: &[Rendition<'_>],
    form: Form,
    uris: &MasterUris,
) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:4\n".to_owned();
    if views.independent_segments {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let inside = film.inside as usize;
    let sound = views.tracks.get(1..inside).unwrap_or_default();
    let mut renditions = String::new();
    let texts = playlist::subtitle_group(subtitles);
    let beside: Vec<usize> = match form {
        Form::Fmp4 => (inside..views.tracks.len()).collect(),
        Form::Transport => Vec::new(),
    };
    let group = (!beside.is_empty()).then_some("audio");
    if let Some(group) = group {
        let mut all: Vec<Source<'_>> = Vec::new();
        // A rendition without an address is the one inside: hls.js plays that of a kind it knows.
        if beside.len() < sound.len() {
            let played = sound.iter().find(|track| is_for_browsers(&track.codec));
            all.extend(played.map(Source::Inside));
        }
        all.extend(beside.iter().map(|&index| Source::Beside(index)));
        list(&mut renditions, views, group, &all, uris);
        let played: Vec<&str> = all
            .iter()
            .map(|source| match source {
                Source::Inside(track) => track.codec.as_str(),
                Source::Beside(index) => views.tracks[*index].codec.as_str(),
            })
            .collect();
        let most = beside
            .iter()
            .map(|&index| Form::Transport.rates(views, index));
        let most = most.fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)));
        variant(&mut text, views, &played, most, (Some(group), texts), uris);
    }
    let codecs: Vec<&str> = sound.iter().map(|track| track.codec.as_str()).collect();
    let browsers: Vec<&str> = codecs
        .iter()
        .copied()
        .filter(|codec| is_for_browsers(codec))
        .collect();
    // Without renditions, sound that browsers do not know must not keep them from the rest.
    let named = if group.is_none() && !browsers.is_empty() {
        browsers
    } else {
        codecs
    };
    let adds = group.is_none() || named.iter().any(|codec| !is_for_browsers(codec));
    if adds {
        variant(&mut text, views, &named, (0, 0), (None, texts), uris);
    }
    playlist::subtitle_media(&mut renditions, subtitles, form, uris);
    text.push_str(&renditions);
    text
}

fn is_for_browsers(codec: &str) -> bool {
    matches!(codec, "mp4a.40.2" | "mp4a.40.34")
}

fn list(text: &mut String, views: &Views, group: &str, all: &[Source<'_>], uris: &MasterUris) {
    let track = |source: &Source<'_>| -> Track {
        match source {
            Source::Inside(track) => (*track).clone(),
            Source::Beside(index) => views.tracks[*index].clone(),
        }
    };
    let default = all
        .iter()
        .position(|source| track(source).default)
        .unwrap_or(0);
    let mut names = playlist::Names::default();
    for (place, source) in all.iter().enumerate() {
        let track = track(source);
        let name = names.unique(&track.title, &track.language, place);
        let flag = if place == default { "YES" } else { "NO" };
        playlist::audio_line(text, (group, &name, flag), &track);
        if let Source::Beside(index) = source {
            let uri = playlist::uri(uris, &track_name(views, *index));
            let _infallible = write!(text, ",URI=\"{uri}\"");
        }
        text.push('\n');
    }
}

fn variant(
    text: &mut String,
    views: &Views,
    sound: &[&str],
    (peak, average): (u64, u64),
    (group, subtitles): (Option<&str>, &str),
    uris: &MasterUris,
) {
    let Some(track) = views.tracks.first() else {
        return;
    };
    let mut codecs = vec![track.codec.as_str()];
    for codec in sound {
        if !codecs.contains(codec) {
            codecs.push(codec);
        }
    }
    let rates = (track.peak_bits + peak, track.average_bits + average);
    playlist::stream_inf(text, track, rates, &codecs.join(","));
    if let Some(group) = group {
        let _infallible = write!(text, ",AUDIO=\"{group}\"");
    }
    text.push_str(subtitles);
    let _infallible = writeln!(
        text,
        ",CLOSED-CAPTIONS=NONE\n{}",
        playlist::uri(uris, &track_name(views, 0))
    );
}
