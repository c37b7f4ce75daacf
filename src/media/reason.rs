//! Reasons why a file has no views, and the sentences that are stored for them.

use std::fmt;

use super::tool::exit::Complaint;

/// Reason why HLS cannot carry a film. Records store it as a sentence; [`Self::decode`] reads the
/// sentences of all releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnsupportedReason {
    /// MP4 cannot carry video of this codec (ffprobe's name). An H.264 rendition would be carried.
    VideoCodec(String),
    /// It has neither video nor audio.
    NoTracks,
    /// It has no video, and ffmpeg does not know the codec of its audio.
    AudioCodec(String),
    /// It is video of this codec alone, without a container and without times.
    BareVideo(String),
    /// It is a picture.
    StillPicture,
    /// Any other reason, in words: the rendition of such video failed.
    Other(String),
}

/// Sentences about video that MP4 cannot carry. All three are stored in records: never change them.
const FIRST_RELEASE: &str = "no HLS: codec ";
const BEFORE_CODEC: &str = "no HLS: MP4 cannot carry ";
const BEHIND_CODEC: &str = " video";
/// Separates a reason from advice and from notes that ingest appends.
const SEPARATOR: &str = "; ";
/// Name of a codec that has none, in lower case as a word of the sentence.
const UNKNOWN_CODEC: &str = "unknown";

impl UnsupportedReason {
    /// Reads a stored sentence, with or without notes behind it. This decoder is frozen: it knows
    /// the sentences of every release.
    #[must_use]
    pub fn decode(stored: &str) -> Self {
        let sentence = stored.split(SEPARATOR).next().unwrap_or_default();
        let today = sentence
            .strip_prefix(BEFORE_CODEC)
            .and_then(|rest| rest.strip_suffix(BEHIND_CODEC));
        match sentence.strip_prefix(FIRST_RELEASE).or(today) {
            Some(codec) => Self::VideoCodec(codec.to_ascii_lowercase()),
            None => Self::Other(stored.to_owned()),
        }
    }

    /// Returns whether the film can have views with an H.264 rendition in place of its video.
    #[must_use]
    pub const fn rendition_helps(&self) -> bool {
        matches!(self, Self::VideoCodec(_))
    }
}

impl fmt::Display for UnsupportedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VideoCodec(codec) => {
                let shown = match codec.as_str() {
                    "" | UNKNOWN_CODEC => UNKNOWN_CODEC.to_owned(),
                    codec => codec.to_ascii_uppercase(),
                };
                write!(
                    f,
                    "{BEFORE_CODEC}{shown}{BEHIND_CODEC}{SEPARATOR}play the file itself"
                )
            }
            Self::NoTracks => f.write_str("no HLS: it has neither video nor audio"),
            Self::AudioCodec(codec) => write!(
                f,
                "no HLS: ffmpeg does not know the codec of its sound ({}){SEPARATOR}play the file itself",
                codec.to_ascii_uppercase()
            ),
            Self::BareVideo(codec) => write!(
                f,
                "no HLS: it is {} video without a container, so it has no times{SEPARATOR}put it into MP4 or Matroska",
                codec.to_ascii_uppercase()
            ),
            Self::StillPicture => f.write_str("no HLS: it is a still picture"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// Reason why the tools cannot read a media file, or cannot encode it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadableReason {
    /// Its samples are encrypted.
    Encrypted,
    /// It is FLAC of 32 bits a sample, and the tool refuses that.
    WideFlac,
    /// The container lists no stream.
    NoStreams,
    /// No sample could be read.
    NoFrames,
    /// ffprobe failed without a word.
    ProbeFailed,
    /// ffmpeg failed to remux it without a word.
    RemuxFailed,
    /// ffmpeg failed to encode it without a word.
    EncodeFailed,
    /// The tool was stopped, e.g. because a decoder crashed.
    ToolStopped(String),
    /// The tool's own complaint.
    Complaint(Complaint),
}

impl UnreadableReason {
    /// Returns the tool's complaint where it made one, and `otherwise` where it did not.
    #[must_use]
    pub fn of_tool(complaint: Option<Complaint>, otherwise: Self) -> Self {
        complaint.map_or(otherwise, Self::Complaint)
    }
}

impl fmt::Display for UnreadableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => "it is encrypted",
            Self::WideFlac => "FLAC with 32 bits a sample needs a newer ffmpeg",
            Self::NoStreams => "it has no streams",
            Self::NoFrames => "it contains no complete frame",
            Self::ProbeFailed => "ffprobe cannot read it",
            Self::RemuxFailed => "ffmpeg cannot remux it",
            Self::EncodeFailed => "ffmpeg cannot encode it",
            Self::ToolStopped(message) => message,
            Self::Complaint(complaint) => return complaint.fmt(f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(name: &str) -> UnsupportedReason {
        UnsupportedReason::VideoCodec(name.to_owned())
    }

    /// Records of released versions hold these sentences, so they are frozen.
    #[test]
    fn the_sentences_of_all_releases_are_read() {
        for (stored, expected) in [
            ("no HLS: codec vp8", codec("vp8")),
            ("no HLS: codec unknown", codec("unknown")),
            (
                "no HLS: codec mjpeg; no rendition in H.264: ffmpeg cannot encode it; `tgfs retry` tries again",
                codec("mjpeg"),
            ),
            (
                "no HLS: MP4 cannot carry MJPEG video; play the file itself",
                codec("mjpeg"),
            ),
            (
                "no HLS: MP4 cannot carry VP8 video; no rendition in H.264: x; `tgfs retry` tries again",
                codec("vp8"),
            ),
        ] {
            let found = UnsupportedReason::decode(stored);
            assert_eq!(found, expected, "{stored}");
            assert!(found.rendition_helps(), "{stored}");
        }
        for stored in ["no HLS: it has neither video nor audio", "it broke", ""] {
            assert!(
                !UnsupportedReason::decode(stored).rendition_helps(),
                "{stored}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(
            codec("mjpeg").to_string(),
            "no HLS: MP4 cannot carry MJPEG video; play the file itself"
        );
        for name in ["vp8", "mjpeg", "unknown", "msmpeg4v3"] {
            let reason = codec(name);
            assert_eq!(UnsupportedReason::decode(&reason.to_string()), reason);
        }
        assert!(codec("").to_string().contains("unknown video"));
    }
}
