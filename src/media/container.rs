//! The containers that are read, and the properties of each that the rest of this module depends on.

/// Container format of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    Matroska,
    Mp4,
    MpegTs,
    MpegPs,
    Avi,
    Wav,
    Flv,
    Ogg,
    Flac,
    Mp3,
    Adts,
    Asf,
}

impl Container {
    /// Returns the name of ffmpeg's demuxer, for `-f` and `-format_whitelist`.
    #[must_use]
    pub const fn demuxer(self) -> &'static str {
        match self {
            Self::Matroska => "matroska",
            Self::Mp4 => "mov",
            Self::MpegTs => "mpegts",
            Self::MpegPs => "mpeg",
            Self::Avi => "avi",
            Self::Wav => "wav",
            Self::Flv => "flv",
            Self::Ogg => "ogg",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Adts => "aac",
            Self::Asf => "asf",
        }
    }
    /// Returns whether AAC has ADTS headers here, which MP4 must not have.
    #[must_use]
    pub const fn has_adts(self) -> bool {
        matches!(self, Self::MpegTs | Self::MpegPs | Self::Adts)
    }
    /// Returns whether frames are split into packets, so that none lies in the file as a whole.
    #[must_use]
    pub const fn splits_frames(self) -> bool {
        matches!(self, Self::MpegTs | Self::MpegPs)
    }
}
