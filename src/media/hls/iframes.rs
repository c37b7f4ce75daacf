//! The playlist of key frames, for players that show pictures while one scrubs. Each is the head of a
//! segment with its first picture: a byte range, so nothing is stored for it. RFC 8216 §4.3.3.6.

use std::fmt::Write as _;

use crate::model::{TrackKind, Views};

use super::playlist::{self, Form, MasterUris, track_name};

/// Name of the playlist, without its extension.
pub const NAME: &str = "video-iframes";

/// The video, and the bytes from the start of each of its segments to the end of the first picture;
/// `None` where a segment does not start with a key frame, or an older release made the views.
fn pictures(views: &Views) -> Option<(usize, &[u64])> {
    let is_video = |kind: &TrackKind| matches!(kind, TrackKind::Video { .. });
    let video = views
        .tracks
        .iter()
        .position(|track| is_video(&track.kind))?;
    let found = views.added.get(video)?.first_pictures.as_slice();
    (!found.is_empty() && found.len() == views.tracks[video].segments.len())
        .then_some((video, found))
}

/// The media playlist.
#[must_use]
pub fn media(views: &Views) -> Option<String> {
    let (video, pictures) = pictures(views)?;
    let track = &views.tracks[video];
    let name = track_name(views, video);
    let mut text = playlist::head(views, Form::Fmp4);
    text.push_str("#EXT-X-I-FRAMES-ONLY\n");
    let _infallible = writeln!(text, "#EXT-X-MAP:URI=\"{name}/init.mp4\"");
    for (number, (segment, bytes)) in track.segments.iter().zip(pictures).enumerate() {
        playlist::extinf(&mut text, *segment, track.timescale);
        let _infallible = writeln!(
            text,
            "#EXT-X-BYTERANGE:{bytes}@0\n{name}/{:05}.m4s",
            number + 1
        );
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// §4.3.4.3: its line in the multivariant playlist.
pub fn variant(text: &mut String, views: &Views, uris: &MasterUris) {
    let Some((video, pictures)) = pictures(views) else {
        return;
    };
    let track = &views.tracks[video];
    let rates = track.segments.iter().zip(pictures).map(|(segment, bytes)| {
        let seconds = f64::from(segment.duration) / f64::from(track.timescale.max(1));
        *bytes as f64 * 8.0 / seconds.max(0.001)
    });
    let peak = rates.fold(1.0, f64::max).ceil();
    let _infallible = write!(
        text,
        "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak:.0},CODECS=\"{}\"",
        track.codec
    );
    if let TrackKind::Video { width, height, .. } = &track.kind {
        let _infallible = write!(text, ",RESOLUTION={width}x{height}");
    }
    let _infallible = writeln!(text, ",URI=\"{}\"", playlist::uri(uris, NAME));
}
