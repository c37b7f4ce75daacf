//! Settings of segments and of what is encoded.

use std::num::NonZeroU16;
use std::time::Duration;

use super::resolve::Reader;
use crate::model::{Compat, Hardware, Oversize};

/// Most threads of one encoder that are taken: above, ffmpeg's own encoders refuse.
const MAX_THREADS: u16 = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    pub min_segment: Duration,
    pub max_segment: Duration,
    /// Bytes that a segment should stay below.
    pub max_chunk_bytes: u64,
    pub oversize: Oversize,
    pub compat: Compat,
    pub hardware: Hardware,
    /// Threads of each decoder and encoder; `None`: as ffmpeg likes.
    pub threads: Option<NonZeroU16>,
}

/// With the names that ffmpeg has for the same things.
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

impl MediaConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
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
        let threads: u16 = reader.count("FFMPEG_THREADS", "0 to 64").unwrap_or(0);
        if threads > MAX_THREADS {
            reader.problem("FFMPEG_THREADS", "must lie between 0 and 64");
        }
        let hardware = reader
            .choice("FFMPEG_HARDWARE_ACCEL", &HARDWARE)
            .unwrap_or_default();
        let oversize = [("keep", Oversize::Keep), ("reencode", Oversize::Reencode)];
        Self {
            oversize: reader
                .choice("TGFS_OVERSIZE", &oversize)
                .unwrap_or_default(),
            compat: match reader.is_on("TGFS_COMPAT_VIDEO") {
                true => Compat::With(hardware),
                false => Compat::Off,
            },
            hardware,
            min_segment,
            max_segment,
            max_chunk_bytes: max_chunk_bytes.unwrap_or_default(),
            threads: NonZeroU16::new(threads),
        }
    }
}
