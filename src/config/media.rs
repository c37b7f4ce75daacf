//! Segments of films, and encoding.

use std::num::NonZeroU16;
use std::time::Duration;

use super::reader::SettingReader;
use crate::model::{Compat, Hardware, Oversize};

/// Settings for cutting and encoding films.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSettings {
    /// Shortest segment aimed for.
    pub min_segment: Duration,
    /// Longest segment, unless key frames are further apart.
    pub max_segment: Duration,
    /// Bytes that a segment should stay below.
    pub max_chunk_bytes: u64,
    /// Treatment of larger segments.
    pub oversize: Oversize,
    /// Encoding of video that browsers do not play, and the hardware for it.
    pub compat: Compat,
    /// Threads of each decoder and encoder; `None`: ffmpeg's own choice.
    pub threads: Option<NonZeroU16>,
}

/// Words for the hardware, with the names that ffmpeg has for it.
const HARDWARE: [(&str, Hardware); 10] = [
    ("none", Hardware::None),
    ("off", Hardware::None),
    ("software", Hardware::None),
    ("nvidia", Hardware::Nvidia),
    ("cuda", Hardware::Nvidia),
    ("nvenc", Hardware::Nvidia),
    ("intel", Hardware::Intel),
    ("qsv", Hardware::Intel),
    ("vaapi", Hardware::Vaapi),
    ("auto", Hardware::Any),
];

impl MediaSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        let min_segment = reader.deadline("MIN_SEGMENT_DURATION");
        let max_segment = reader.deadline("MAX_SEGMENT_DURATION");
        if min_segment > max_segment {
            reader.problem(
                "MIN_SEGMENT_DURATION",
                "must not be above MAX_SEGMENT_DURATION",
            );
        }
        let max_chunk_bytes = reader.size("MAX_CHUNK_SIZE");
        if max_chunk_bytes == Some(0) {
            reader.problem("MAX_CHUNK_SIZE", "must be above 0");
        }
        let hardware = reader
            .choice("FFMPEG_HARDWARE_ACCEL", &HARDWARE)
            .unwrap_or_default();
        let oversize = [("keep", Oversize::Keep), ("reencode", Oversize::Reencode)];
        Self {
            min_segment,
            max_segment,
            max_chunk_bytes: max_chunk_bytes.unwrap_or_default(),
            oversize: reader
                .choice("TGFS_OVERSIZE", &oversize)
                .unwrap_or_default(),
            compat: match reader.is_on("TGFS_COMPAT_VIDEO") {
                true => Compat::With(hardware),
                false => Compat::Off,
            },
            threads: NonZeroU16::new(reader.count("FFMPEG_THREADS")),
        }
    }
}
