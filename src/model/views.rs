//! Facts about a file's views that index and manifests hold. They suffice to list and stat all views and
//! to write every playlist. The extents are in the map, in the derived blob.

use super::{Blob, ByteRange, Chapter, Digest, InPlace, Subtitle, Track};

/// The views of one version of a file. How they are stored: `stored::ViewsStateV1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Views {
    /// Derived bytes: packed audio, samples that do not map, subtitles, and the map.
    pub derived: Blob,
    /// Range of the map in the derived blob.
    pub map: ByteRange,
    /// Digest of the map: the strong ETag of everything made from it.
    pub map_digest: Digest,
    /// Layout of generated headers; a view's bytes must never change between releases.
    pub layout: u16,
    /// Start of the film on the time line of its segments, in seconds. It is added to every time, so that
    /// none is negative. WebVTT segments name the same origin.
    pub origin_seconds: u32,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// True if each segment starts with a frame that can be decoded by itself.
    pub independent_segments: bool,
    pub tracks: Vec<Track>,
    pub subtitles: Vec<Subtitle>,
    /// Remark for viewers, e.g. where a damaged file ends.
    pub note: Option<String>,
    /// Whole files in the derived blob.
    pub files: Vec<DerivedFile>,
    /// Sorted and without overlaps.
    pub chapters: Vec<Chapter>,
    /// Composition of segments that are ranges of the file; the first track is the video then.
    pub in_place: Option<InPlace>,
}

/// A whole file in the derived blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedFile {
    /// Path below the film's directory of views, at most one directory deep: `thumbnail.jpg`, `eng.sup`,
    /// `fonts/Arial.ttf`.
    pub path: String,
    pub purpose: FilePurpose,
    pub range: ByteRange,
}

/// Use of a [`DerivedFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePurpose {
    Picture,
    /// Subtitles as pictures, shown as a sidecar, since HLS cannot carry them.
    Subtitle,
    Font,
}

/// Ticks a second of MPEG's clock.
pub const MPEG_CLOCK: u64 = 90_000;

impl Views {
    /// Returns the bytes of each segment of a track as MPEG-TS; empty when it has none.
    #[must_use]
    pub fn transport_sizes(&self, track: usize) -> &[u64] {
        let track = self.tracks.get(track);
        track.map_or(&[], |track| &track.transport_sizes)
    }

    /// Returns the MPEG clock at the film's start, in 1/90000 s, as time stamps of MPEG-TS and
    /// X-TIMESTAMP-MAP have it.
    #[must_use]
    pub fn clock_at_zero(&self) -> u64 {
        let origin = u64::from(self.origin_seconds) * MPEG_CLOCK;
        self.in_place.as_ref().map_or(origin, |film| film.zero)
    }

    /// Returns whether acknowledged packs hold every derived byte, so that a manifest may name it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.derived.covers(ByteRange::new(0, self.derived.len))
    }
}
