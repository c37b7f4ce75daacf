//! Tasks that the media tool can be given, and the choices within them.

use super::encode::{GroupTask, RenditionTask};
use crate::model::SubtitleFormat;

/// Channels of encoded audio.
pub const AAC_CHANNELS: u16 = 2;

/// One task on a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Streams, programmes and format, as JSON.
    Probe,
    /// Copies these streams into one fragmented MP4. The first is video, or all are audio.
    Remux(Vec<Pick>, Lead),
    /// Encodes one audio stream as AAC, stereo, in a fragmented MP4.
    EncodeAudio(u32),
    /// Encodes a group of pictures, alone in its file, into a fragmented MP4.
    EncodeGroup(GroupTask),
    /// Encodes a video stream as H.264, in a fragmented MP4.
    EncodeVideo(RenditionTask),
    /// Copies these streams, unchanged, into a small Matroska file. The number counts the text streams,
    /// which come first. The rest are bitmaps.
    CopySubtitles(Vec<u32>, usize),
    /// Writes the n-th stream of such a file as text.
    SubtitleText(u32, SubtitleFormat),
    /// Writes the n-th stream of such a file alone.
    SubtitleBitmap(u32, BitmapFormat),
    /// Writes an attachment, byte for byte.
    Attachment(u32),
    /// Writes the payload of a stream, byte for byte, without its times.
    Raw(u32),
    /// Writes a picture of a video stream as JPEG. The second field is its time in milliseconds.
    Picture(u32, u64),
    /// Writes the pictures of a film that has one a second, `width` pixels wide, into sheets of JPEG.
    Sprites {
        width: usize,
        columns: usize,
        rows: usize,
    },
}

/// A stream of the source, and its conversion to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    pub stream: u32,
    pub conversion: StreamConversion,
}

/// Rule by which a pass starts new fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// At key frames of the video.
    Video,
    /// At a limit of time: without one the whole film would be one fragment, held in memory.
    Audio,
}

/// Conversion of a stream to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamConversion {
    /// Copied as it is.
    Copied,
    /// Copied without its ADTS headers, because MP4 has none.
    CopiedFromAdts,
    /// Audio encoded as AAC stereo.
    Encoded,
}

/// File format of bitmap subtitles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitmapFormat {
    /// The format of Blu-rays.
    Sup,
    Matroska,
}
