//! Tracks of a film, and the subtitles inside it.

use super::ByteRange;

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
    /// Bits a second of the largest segment.
    pub peak_bits: u64,
    /// Bits a second of the whole track.
    pub average_bits: u64,
    /// One for each segment, in order.
    pub segments: Vec<SegmentInfo>,
    /// Zstd frames with the map's records of this track: the range of each, relative to the map, and the
    /// number of segments in it.
    pub frames: Vec<(ByteRange, u32)>,
    /// Bytes of each segment as MPEG-TS; empty when that cannot carry the track, and in views that
    /// an older release made.
    pub transport_sizes: Vec<u64>,
    /// Bytes of each segment from its start to the end of its first picture; empty for audio, where
    /// a segment does not start with a key frame, and in views that an older release made.
    pub first_pictures: Vec<u64>,
    /// Purpose of an audio track; `Main` for video, and in views that an older release made.
    pub role: AudioRole,
    /// Captions that are in the pictures of a video track, each once, ascending; empty in views that an
    /// older release made.
    pub captions: Vec<CaptionChannel>,
}

/// Purpose of an audio track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AudioRole {
    /// The sound of the film.
    #[default]
    Main,
    /// Somebody talks about the film.
    Commentary,
    /// Somebody describes the picture to those who do not see it.
    Description,
    /// Speech is easier to understand than in the sound of the film.
    ClearSpeech,
}

/// Captions in the pictures of a video track (CTA-608, CTA-708).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaptionChannel {
    /// One of the four channels of CTA-608, 1 to 4.
    Channel(u8),
    /// One of the services of CTA-708, 1 to 63.
    Service(u8),
}

impl CaptionChannel {
    /// Offset of services in [`Self::number`].
    const SERVICES: u8 = 64;

    /// Returns the number that stands for it in records.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Channel(channel) => channel,
            Self::Service(service) => Self::SERVICES + service,
        }
    }

    /// Returns the channel with this number; `None` when there is none.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1..=4 => Some(Self::Channel(number)),
            65..=127 => Some(Self::Service(number - Self::SERVICES)),
            _ => None,
        }
    }
}

impl std::fmt::Display for CaptionChannel {
    /// Writes the value of INSTREAM-ID (RFC 8216 §4.3.4.1).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "CC{channel}"),
            Self::Service(service) => write!(f, "SERVICE{service}"),
        }
    }
}

/// Kind of a [`Track`], with the facts that playlists name.
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

/// Duration and size of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Ticks of the track's timescale, for EXTINF.
    pub duration: u32,
    /// Bytes of the segment, header included.
    pub size: u64,
}

/// A subtitle stream of a film, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtitle {
    /// Stem of the direct view, e.g. `eng`, `spa.forced`; unique within the file.
    pub key: String,
    /// BCP-47, or `und`.
    pub language: String,
    pub title: String,
    pub default: bool,
    pub forced: bool,
    /// True if the subtitles are for the deaf and hard of hearing.
    pub hearing_impaired: bool,
    /// The whole text in each format, as ranges of the derived blob.
    pub texts: Vec<(SubtitleFormat, ByteRange)>,
    /// WebVTT segments as ranges of the derived blob, each as long as the video segment of its number.
    pub segments: Vec<ByteRange>,
}

/// Text format of subtitles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubtitleFormat {
    Srt,
    Vtt,
    Ass,
}

impl SubtitleFormat {
    /// Returns the file extension, e.g. `srt`.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Ass => "ass",
        }
    }
}
