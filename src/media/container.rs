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
    /// Another container of [`OTHERS`], by the name of its demuxer.
    Other(&'static str),
    /// Bytes that the sniffer does not know. Only ffprobe is asked about them.
    Unsure,
}

/// Demuxers beyond those that the sniffer knows. Each reads one file and follows no name in it: play
/// lists, scripts, devices, and sequences of pictures are left out.
const OTHERS: [&str; 54] = [
    "ac3",
    "aiff",
    "amr",
    "amrnb",
    "amrwb",
    "ape",
    "apm",
    "au",
    "av1",
    "caf",
    "cavsvideo",
    "dirac",
    "dsf",
    "dts",
    "dtshd",
    "dv",
    "eac3",
    "gxf",
    "h261",
    "h263",
    "h264",
    "hevc",
    "iff",
    "ivf",
    "ivr",
    "loas",
    "m4v",
    "mlp",
    "mpc",
    "mpc8",
    "mpegvideo",
    "mxf",
    "nsv",
    "nut",
    "nuv",
    "obu",
    "oma",
    "rm",
    "shn",
    "smk",
    "spdif",
    "tak",
    "truehd",
    "tta",
    "vc1",
    "voc",
    "w64",
    "wtv",
    "wv",
    "xwma",
    "yuv4mpegpipe",
    "mpegtsraw",
    "live_flv",
    "asf_o",
];
/// Those of [`OTHERS`] that are video alone, without a container and without times.
const BARE_VIDEO: [&str; 11] = [
    "av1",
    "cavsvideo",
    "dirac",
    "h261",
    "h263",
    "h264",
    "hevc",
    "m4v",
    "mpegvideo",
    "obu",
    "vc1",
];

impl Container {
    /// The containers that the sniffer knows.
    const SNIFFED: [Self; 12] = [
        Self::Matroska,
        Self::Mp4,
        Self::MpegTs,
        Self::MpegPs,
        Self::Avi,
        Self::Wav,
        Self::Flv,
        Self::Ogg,
        Self::Flac,
        Self::Mp3,
        Self::Adts,
        Self::Asf,
    ];

    /// Returns the container that ffprobe names, e.g. `matroska,webm`, if it may be read.
    #[must_use]
    pub fn from_ffprobe(names: &str) -> Option<Self> {
        let first = names.split(',').next()?;
        let sniffed = Self::SNIFFED.into_iter();
        let other = OTHERS.iter().find(|known| **known == first);
        sniffed
            .filter(|container| container.demuxer() == Some(first))
            .chain(other.map(|name| Self::Other(name)))
            .next()
    }

    /// Returns the demuxers that may read it, for `-format_whitelist`.
    #[must_use]
    pub fn whitelist(self) -> String {
        match self {
            Self::Matroska => "matroska,webm".to_owned(),
            Self::Mp4 => "mov,mp4,m4a,3gp,3g2,mj2".to_owned(),
            Self::Unsure => {
                let sniffed = Self::SNIFFED.into_iter().map(Self::whitelist);
                let others = OTHERS.into_iter().map(str::to_owned);
                sniffed.chain(others).collect::<Vec<_>>().join(",")
            }
            known => known.demuxer().unwrap_or_default().to_owned(),
        }
    }

    /// Returns whether it is video alone, without times.
    #[must_use]
    pub fn is_bare_video(self) -> bool {
        matches!(self, Self::Other(name) if BARE_VIDEO.contains(&name))
    }

    /// Returns the name of ffmpeg's demuxer, for `-f`; `None` where ffprobe chooses it.
    #[must_use]
    pub const fn demuxer(self) -> Option<&'static str> {
        Some(match self {
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
            Self::Other(name) => name,
            Self::Unsure => return None,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffprobe_may_choose_follows_no_names() {
        let allowed = Container::Unsure.whitelist();
        let allowed: Vec<&str> = allowed.split(',').collect();
        for follows in [
            "hls",
            "concat",
            "dash",
            "image2",
            "tty",
            "lavfi",
            "sdp",
            "rtsp",
            "ffmetadata",
            "imf",
            "srt",
            "webvtt",
            "applehttp",
            "mpjpeg",
            "libopenmpt",
            "avisynth",
            "vapoursynth",
        ] {
            assert!(!allowed.contains(&follows), "{follows}");
        }
        for name in allowed {
            assert!(
                Container::from_ffprobe(name).is_some()
                    || ["webm", "mp4", "m4a", "3gp", "3g2", "mj2"].contains(&name),
                "{name}"
            );
        }
        assert_eq!(
            Container::from_ffprobe("mov,mp4,m4a,3gp,3g2,mj2"),
            Some(Container::Mp4)
        );
        assert_eq!(Container::from_ffprobe("hls"), None);
    }
}
