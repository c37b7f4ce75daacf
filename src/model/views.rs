//! What the index and the manifest know of a file's views: enough to list, stat and write every
//! playlist without reading the map. The extents themselves lie in the map, in the derived blob.

use super::{Blob, ByteRange, Digest, InPlace};

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

/// A video or audio track, cut into segments.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub kind: TrackKind,
    /// RFC 6381, e.g. `avc1.640028`.
    pub codec: String,
    /// Ticks a second.
    pub timescale: u32,
    /// `init.mp4`, byte for byte.
    pub init: Vec<u8>,
    /// BCP-47, or `und`.
    pub language: String,
    pub title: String,
    pub default: bool,
    /// Bits a second of the largest segment and of the whole track.
    pub peak_bits: u64,
    pub average_bits: u64,
    /// One a segment, in order.
    pub segments: Vec<SegmentInfo>,
    /// Each zstd frame of the map's records of this track, as ranges relative to the map, with the
    /// number of segments in each.
    pub frames: Vec<(ByteRange, u32)>,
    /// Bytes of each segment as MPEG-TS; empty where that cannot carry the track, and in views that
    /// an older release made.
    pub transport_sizes: Vec<u64>,
    /// Bytes of each segment from its start to the end of its first picture; empty for audio, where
    /// a segment does not start with a key frame, and in views that an older release made.
    pub first_pictures: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TrackKind {
    Video {
        width: u32,
        height: u32,
        /// Frames per 1000 seconds.
        millihertz: u32,
        /// `SDR`, `PQ` or `HLG`.
        range: String,
    },
    Audio {
        channels: u16,
        sample_rate: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Ticks of the track's timescale, for EXTINF.
    pub duration: u32,
    /// Bytes of the segment, header included.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtitle {
    /// Stem of the direct view, e.g. `eng`, `spa.forced`; unique within the file.
    pub key: String,
    /// BCP-47, or `und`.
    pub language: String,
    pub title: String,
    pub default: bool,
    pub forced: bool,
    /// For the deaf and hard of hearing.
    pub hearing_impaired: bool,
    /// The whole text in each format, as ranges of the derived blob.
    pub texts: Vec<(SubtitleFormat, ByteRange)>,
    /// WebVTT segments, as ranges of the derived blob; each lasts as long as the video segment of
    /// the same number.
    pub segments: Vec<ByteRange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubtitleFormat {
    Srt,
    Vtt,
    Ass,
}

impl SubtitleFormat {
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Ass => "ass",
        }
    }
}
