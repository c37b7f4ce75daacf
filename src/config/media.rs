//! Settings of segments and of what is encoded.

use std::num::NonZeroU16;
use std::time::Duration;

use super::resolve::Reader;

/// Most threads of one encoder that are taken: above, ffmpeg's own encoders refuse.
const MAX_THREADS: u16 = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    pub min_segment: Duration,
    pub max_segment: Duration,
    /// Bytes that a segment should stay below.
    pub max_segment_size: u64,
    /// Threads of each decoder and encoder; `None`: as ffmpeg likes.
    pub threads: Option<NonZeroU16>,
}

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
        let max_segment_size = reader.size("MAX_CHUNK_SIZE");
        if max_segment_size == Some(0) {
            reader.problem("MAX_CHUNK_SIZE", "must be above 0");
        }
        let threads: u16 = reader.count("FFMPEG_THREADS", "0 to 64").unwrap_or(0);
        if threads > MAX_THREADS {
            reader.problem("FFMPEG_THREADS", "must lie between 0 and 64");
        }
        Self {
            min_segment,
            max_segment,
            max_segment_size: max_segment_size.unwrap_or_default(),
            threads: NonZeroU16::new(threads),
        }
    }
}
