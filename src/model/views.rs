//! What the index and the manifest know of a file's views: enough to list, stat and write every
//! playlist without reading the map. The extents themselves lie in the map, in the derived blob.

use super::{Blob, ByteRange, Digest, InPlace, Subtitle, Track};

/// The views of one version of a file. How they are stored: `stored::ViewsStateV1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Views {
    /// Derived bytes: packed audio, samples that do not map, subtitles, and the map.
    pub derived: Blob,
    /// Where the map lies in the derived blob.
    pub map: ByteRange,
    /// Of the map: the strong ETag of everything made from it.
    pub map_digest: Digest,
    /// Layout of generated headers; a view's bytes must never change between releases.
    pub layout: u16,
    /// Where the film starts on the time line of its segments, in seconds: added to every time so
    /// that none is negative. WebVTT segments name the same origin.
    pub origin_seconds: u32,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Whether each segment starts with a frame that needs none before it.
    pub independent_segments: bool,
    pub tracks: Vec<Track>,
    pub subtitles: Vec<Subtitle>,
    /// What a viewer should know, e.g. where a damaged file ends.
    pub note: Option<String>,
    /// Whole files in the derived blob.
    pub files: Vec<DerivedFile>,
    /// Of a film whose segments are ranges of the file; its first track is the video.
    pub in_place: Option<InPlace>,
}

/// A whole file in the derived blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedFile {
    /// From the film's directory of views, with at most one directory: `thumbnail.jpg`, `eng.sup`,
    /// `fonts/Arial.ttf`.
    pub path: String,
    pub purpose: FilePurpose,
    pub range: ByteRange,
}

/// Use of a file beside the tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePurpose {
    Picture,
    /// Subtitles that are pictures: they are shown as a sidecar, since HLS carries none.
    Subtitle,
    Font,
}

/// Ticks a second of MPEG's clock.
pub const MPEG_CLOCK: u64 = 90_000;

impl Views {
    /// Bytes of each segment of a track as MPEG-TS; empty where there are none.
    #[must_use]
    pub fn transport_sizes(&self, track: usize) -> &[u64] {
        let track = self.tracks.get(track);
        track.map_or(&[], |track| &track.transport_sizes)
    }

    /// What stands in time stamps of MPEG-TS and in X-TIMESTAMP-MAP at the film's zero, in 1/90000 s.
    #[must_use]
    pub fn clock_at_zero(&self) -> u64 {
        let origin = u64::from(self.origin_seconds) * MPEG_CLOCK;
        self.in_place.as_ref().map_or(origin, |film| film.zero)
    }

    /// Whether every derived byte stands in an acknowledged pack, so that a manifest may name it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.derived.covers(ByteRange::new(0, self.derived.len))
    }
}
