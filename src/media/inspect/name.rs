//! Kind of file that a name promises. It is only a hint; the bytes of the file decide.

use crate::model::Name;

/// Kind of file that a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Video,
    Audio,
    Other,
}

const VIDEO: [&str; 42] = [
    "mkv", "mp4", "m4v", "mov", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "vob", "wmv",
    "asf", "flv", "f4v", "ogv", "ogm", "3gp", "3g2", "divx", "mk3d", "qt", "rm", "rmvb", "mxf",
    "dv", "wtv", "nut", "ivf", "y4m", "nsv", "m2t", "trp", "m2v", "mpv", "h264", "264", "h265",
    "hevc", "heic", "heif",
];
const AUDIO: [&str; 30] = [
    "mp3", "m4a", "m4b", "aac", "flac", "ogg", "oga", "opus", "wav", "mka", "ac3", "wma", "alac",
    "aif", "aiff", "caf", "ape", "wv", "tta", "dts", "eac3", "ac4", "amr", "w64", "au", "dsf",
    "mpc", "tak", "mp2", "spx",
];

impl MediaKind {
    /// Returns whether the name promises video or audio.
    #[must_use]
    pub const fn is_media(self) -> bool {
        matches!(self, Self::Video | Self::Audio)
    }
}

/// Returns the kind of a name by its extension, in upper or lower case.
#[must_use]
pub fn media_kind(name: &Name) -> MediaKind {
    let (_, extension) = name.split_extension();
    let is = |known: &&str| known.as_bytes().eq_ignore_ascii_case(extension);
    if VIDEO.iter().any(is) {
        MediaKind::Video
    } else if AUDIO.iter().any(is) {
        MediaKind::Audio
    } else {
        MediaKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_count_in_any_case() {
        let kind = |text: &str| media_kind(&Name::new(text).unwrap());
        assert_eq!(kind("Heat (1995).MKV"), MediaKind::Video);
        assert_eq!(kind("a.flac"), MediaKind::Audio);
        assert_eq!(kind("poster.jpg"), MediaKind::Other);
        assert_eq!(kind(".mkv"), MediaKind::Other);
        assert_eq!(kind("mkv"), MediaKind::Other);
    }
}
