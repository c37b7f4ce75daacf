//! Support of codecs in browsers, with one function per question.
//!
//! The answer about HEVC is "some": Safari decodes it, Chromium and Edge where the graphics card does,
//! Firefox mostly not. So HEVC alone is not enough (the film gets an H.264 rendition), and it is
//! still worth having (browsers that decode it need audio that they can play beside it).

/// Share of the usual browsers that decode a video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserSupport {
    /// All of them.
    All,
    /// Some of them, or only with suitable hardware.
    Some,
    /// None of them.
    None,
}

/// Audio codecs that browsers may play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserAudio {
    /// AAC.
    Aac,
    /// MPEG audio, layer 3.
    Mp3,
    /// Opus.
    Opus,
    /// FLAC.
    Flac,
}

/// Returns the support of video of `codec` (RFC 6381). H.264 with 8 bits and 4:2:0, VP9 and AV1 play
/// everywhere. HEVC and the other profiles of H.264 do not.
#[must_use]
pub fn video_support(codec: &str) -> BrowserSupport {
    const PLAIN_AVC: [&str; 4] = ["avc1.42", "avc1.4d", "avc1.58", "avc1.64"];
    const EVERYWHERE: [&str; 2] = ["vp09", "av01"];
    const SOMEWHERE: [&str; 4] = ["avc1", "avc3", "hvc1", "hev1"];
    let is_one_of = |list: &[&str]| list.iter().any(|start| codec.starts_with(start));
    if is_one_of(&PLAIN_AVC) || is_one_of(&EVERYWHERE) {
        BrowserSupport::All
    } else if is_one_of(&SOMEWHERE) {
        BrowserSupport::Some
    } else {
        BrowserSupport::None
    }
}

/// Profiles of AAC that all browsers decode, as ffprobe calls them; empty where it does not say. Others
/// (Main, LTP, ELD, xHE-AAC) play in some or none.
const PLAIN_AAC_PROFILES: [&str; 4] = ["", "LC", "HE-AAC", "HE-AACv2"];

impl BrowserAudio {
    /// Returns the codec by ffprobe's names for it and its profile.
    #[must_use]
    pub fn from_ffprobe(name: &str, profile: &str) -> Option<Self> {
        match name {
            "aac" => PLAIN_AAC_PROFILES.contains(&profile).then_some(Self::Aac),
            "mp3" => Some(Self::Mp3),
            "opus" => Some(Self::Opus),
            "flac" => Some(Self::Flac),
            _ => None,
        }
    }

    /// Returns the codec by its RFC 6381 name, as playlists have it.
    #[must_use]
    pub fn from_rfc6381(codec: &str) -> Option<Self> {
        match codec {
            "mp4a.40.34" => Some(Self::Mp3),
            // MPEG audio, layer 2
            "mp4a.40.33" => None,
            "opus" => Some(Self::Opus),
            "fLaC" => Some(Self::Flac),
            "mp4a.40.2" | "mp4a.40.5" | "mp4a.40.29" => Some(Self::Aac),
            _ => None,
        }
    }

    /// Returns whether browsers play it from MP4 segments (`MediaSource.isTypeSupported` in
    /// Chromium). They refuse MP3 there.
    #[must_use]
    pub const fn plays_in_mp4(self) -> bool {
        match self {
            Self::Aac | Self::Opus | Self::Flac => true,
            Self::Mp3 => false,
        }
    }

    /// Returns whether hls.js plays it from transport stream segments.
    #[must_use]
    pub const fn plays_in_transport_stream(self) -> bool {
        match self {
            Self::Aac | Self::Mp3 => true,
            Self::Opus | Self::Flac => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_that_all_browsers_decode_is_told_from_the_rest() {
        for codec in [
            "avc1.640028",
            "avc1.42c01e",
            "vp09.00.11.08",
            "av01.0.00M.08",
        ] {
            assert_eq!(video_support(codec), BrowserSupport::All, "{codec}");
        }
        for codec in ["hvc1.2.4.L63.90", "hev1.1", "avc1.6e0028", "avc1.7a0028"] {
            assert_eq!(video_support(codec), BrowserSupport::Some, "{codec}");
        }
        for codec in ["mp4v.61", "mp4v.20", "vc-1", "", "dvh1.05.06"] {
            assert_eq!(video_support(codec), BrowserSupport::None, "{codec}");
        }
    }

    #[test]
    fn both_names_of_an_audio_codec_give_one_answer() {
        for (ffprobe, rfc6381) in [
            ("aac", "mp4a.40.2"),
            ("mp3", "mp4a.40.34"),
            ("opus", "opus"),
            ("flac", "fLaC"),
            ("ac3", "ac-3"),
            ("mp2", "mp4a.40.33"),
            ("dts", "dtsc"),
        ] {
            let found = BrowserAudio::from_ffprobe(ffprobe, "");
            assert_eq!(found, BrowserAudio::from_rfc6381(rfc6381), "{ffprobe}");
        }
        assert_eq!(
            BrowserAudio::from_rfc6381("mp4a.40.5"),
            Some(BrowserAudio::Aac)
        );
        for (profile, rfc6381, expected) in [
            ("LC", "mp4a.40.2", Some(BrowserAudio::Aac)),
            ("HE-AACv2", "mp4a.40.29", Some(BrowserAudio::Aac)),
            ("Main", "mp4a.40.1", None),
            ("ELD", "mp4a.40.39", None),
            ("41", "mp4a.40.42", None),
        ] {
            assert_eq!(
                BrowserAudio::from_ffprobe("aac", profile),
                expected,
                "{profile}"
            );
            assert_eq!(BrowserAudio::from_rfc6381(rfc6381), expected, "{rfc6381}");
        }
        // MP3 in MP4 as ffmpeg writes it.
        assert_eq!(BrowserAudio::from_rfc6381("mp4a.6B"), None);
    }

    #[test]
    fn segments_decide_which_audio_plays() {
        assert!(BrowserAudio::Aac.plays_in_mp4() && BrowserAudio::Aac.plays_in_transport_stream());
        assert!(!BrowserAudio::Mp3.plays_in_mp4() && BrowserAudio::Mp3.plays_in_transport_stream());
        assert!(
            BrowserAudio::Opus.plays_in_mp4() && !BrowserAudio::Opus.plays_in_transport_stream()
        );
    }
}
