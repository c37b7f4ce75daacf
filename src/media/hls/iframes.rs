//! The I-frame playlist, which players use to show pictures while the user scrubs (RFC 8216
//! §4.3.3.6). Each entry is a byte range of a segment, from its head to the end of its first picture,
//! so nothing is stored for it.

use std::fmt::Write as _;

use crate::model::{TrackKind, Views};

use super::date::first_decoded;
use super::tags::{self, MasterUris, SegmentFormat, track_name};

/// Name of the playlist, without its extension.
pub const NAME: &str = "video-iframes";

/// Returns the index of the video track, and for each of its segments the number of bytes from its
/// start to the end of the first picture. `None` when a segment does not start with a key frame, or
/// when an older release made the views.
fn pictures(views: &Views) -> Option<(usize, &[u64])> {
    let is_video = |kind: &TrackKind| matches!(kind, TrackKind::Video { .. });
    let video = views
        .tracks
        .iter()
        .position(|track| is_video(&track.kind))?;
    let found = views.tracks[video].first_pictures.as_slice();
    (!found.is_empty() && found.len() == views.tracks[video].segments.len())
        .then_some((video, found))
}

/// Writes the media playlist of key frames, if the film has one.
#[must_use]
pub fn media(views: &Views) -> Option<String> {
    let (video, pictures) = pictures(views)?;
    let track = &views.tracks[video];
    let name = track_name(views, video);
    let mut text = tags::head(views, SegmentFormat::Fmp4);
    text.push_str("#EXT-X-I-FRAMES-ONLY\n");
    let _infallible = writeln!(text, "#EXT-X-MAP:URI=\"{name}/init.mp4\"");
    first_decoded(&mut text, track);
    for (number, (segment, bytes)) in track.segments.iter().zip(pictures).enumerate() {
        tags::extinf(&mut text, *segment, track.timescale);
        let _infallible = writeln!(
            text,
            "#EXT-X-BYTERANGE:{bytes}@0\n{name}/{:05}.m4s",
            number + 1
        );
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// Appends the playlist's EXT-X-I-FRAME-STREAM-INF to a multivariant playlist (§4.3.4.3).
pub fn variant(text: &mut String, views: &Views, uris: &MasterUris) {
    let Some((video, pictures)) = pictures(views) else {
        return;
    };
    let track = &views.tracks[video];
    let rates = track.segments.iter().zip(pictures).map(|(segment, bytes)| {
        let seconds = f64::from(segment.duration) / f64::from(track.timescale.max(1));
        *bytes as f64 * 8.0 / seconds.max(0.001)
    });
    // The cast saturates: an attribute is at most 2^64 - 1 (RFC 8216 §4.2), whatever a record claims.
    let peak = rates.fold(1.0, f64::max).ceil() as u64;
    let _infallible = write!(
        text,
        "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak},CODECS=\"{}\"",
        track.codec
    );
    tags::picture_attributes(text, track);
    let _infallible = writeln!(text, ",URI=\"{}\"", uris.of(NAME));
}
