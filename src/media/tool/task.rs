//! Tasks that the media tool can be given, and the choices within them.

use super::encode::{GroupTask, RenditionTask};
use crate::model::SubtitleFormat;

/// Channels of encoded audio.
pub const AAC_CHANNELS: u16 = 2;

/// One thing to do with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Streams, programmes and format, as JSON.
    Probe,
    /// These streams into one fragmented MP4. The first is video, or all are audio.
    Remux(Vec<Pick>, Lead),
    /// One audio stream as AAC, stereo, in a fragmented MP4.
    EncodeAudio(u32),
    /// A group of pictures in its file, as another in a fragmented MP4.
    EncodeGroup(GroupTask),
    /// A video stream as H.264, in a fragmented MP4.
    EncodeVideo(RenditionTask),
    /// These streams, unchanged, into a small Matroska file: first so many of text, then bitmaps.
    CopySubtitles(Vec<u32>, usize),
    /// The n-th stream of such a file as text.
    SubtitleText(u32, SubtitleFormat),
    /// The n-th stream of such a file alone.
    SubtitleBitmap(u32, BitmapFormat),
    /// An attachment, byte for byte.
    Attachment(u32),
    /// A picture of a video stream as JPEG, at so many milliseconds.
    Picture(u32, u64),
    /// The pictures of a film that has one a second, so many pixels wide, in sheets of JPEG.
    Sprites {
        width: usize,
        columns: usize,
        rows: usize,
    },
}

/// A stream of the source, and how it becomes a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    pub stream: u32,
    pub conversion: StreamConversion,
}

/// What the fragments of a pass follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Its key frames.
    Video,
    /// Nothing: without a limit the whole film would be one fragment, held in memory.
    Audio,
}

/// How a stream becomes a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamConversion {
    /// As it is.
    Copied,
    /// As it is, with its ADTS headers taken off: MP4 has none.
    CopiedFromAdts,
    /// Audio, as AAC stereo.
    Encoded,
}

/// Files of subtitles that are pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitmapFormat {
    /// As Blu-rays have them.
    Sup,
    Matroska,
}
