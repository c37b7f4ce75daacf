//! Options for encoding video: groups of pictures that are too large, and a rendition of the whole
//! film for players that cannot decode it. `build` runs them and checks the result.

/// Encoder of the rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoder {
    #[default]
    Software,
    /// NVENC.
    Nvidia,
    /// Quick Sync.
    Intel,
    /// VA-API.
    Vaapi,
}

impl Encoder {
    /// Returns the name that logs show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "libx264",
            Self::Nvidia => "nvidia",
            Self::Intel => "intel",
            Self::Vaapi => "vaapi",
        }
    }
    /// Returns the options that come before the input.
    const fn device(self) -> &'static [&'static str] {
        match self {
            Self::Vaapi => &["-init_hw_device", "vaapi=tgfs", "-filter_hw_device", "tgfs"],
            Self::Intel => &["-init_hw_device", "qsv=tgfs"],
            Self::Software | Self::Nvidia => &[],
        }
    }
    /// Returns the end of the filter chain, which converts pixels to the encoder's format.
    const fn pixels(self) -> &'static str {
        match self {
            Self::Software | Self::Nvidia => "format=yuv420p",
            Self::Intel => "format=nv12",
            Self::Vaapi => "format=nv12,hwupload",
        }
    }
    /// Returns the options for quality. With each of these, forced key frames are IDR pictures.
    const fn quality(self) -> &'static [&'static str] {
        match self {
            Self::Software => &[
                "-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-bf", "2",
            ],
            Self::Nvidia => &[
                "-c:v",
                "h264_nvenc",
                "-preset",
                "p4",
                "-cq",
                "23",
                "-bf",
                "0",
                "-forced-idr",
                "1",
            ],
            Self::Intel => &[
                "-c:v",
                "h264_qsv",
                "-global_quality",
                "23",
                "-bf",
                "0",
                "-forced_idr",
                "1",
            ],
            Self::Vaapi => &["-c:v", "h264_vaapi", "-qp", "23", "-bf", "0"],
        }
    }
}

/// Treatment of pictures with a high dynamic range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tones {
    /// Kept as they are, with 8 bits.
    Kept,
    /// Mapped to the range of ordinary screens.
    Mapped,
}

/// Part of the film that is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeSpan {
    Whole,
    /// One second of the film, as a trial of the encoder.
    Trial,
}

/// A rendition of a whole stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionTask {
    /// Number in the source.
    pub stream: u32,
    pub encoder: Encoder,
    pub tones: Tones,
    pub span: EncodeSpan,
    /// Streams that the film's other tracks come from. They are read too, because in some containers ffmpeg
    /// counts times from the first packet of the streams that it reads.
    pub beside: Vec<u32>,
    /// Times of required key frames, in milliseconds of the source, ascending.
    pub keys: Vec<u64>,
    /// Ticks a second of the track that it replaces.
    pub timescale: u32,
    /// Most bits a second.
    pub rate: u64,
}

/// A group of pictures, alone in its file, encoded to replace itself in the film.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupTask {
    /// Ticks a second.
    pub timescale: u32,
    /// Average bits a second. `most` is the maximum over `buffer` bits.
    pub rate: u64,
    pub most: u64,
    pub buffer: u64,
    /// Frames from one key frame to the next.
    pub frames: usize,
    /// Profile as in `avcC`.
    pub profile: u8,
    pub level: u8,
    pub references: u32,
    /// Number of the parameter sets.
    pub id: u32,
    pub order: PictureOrder,
}

/// Order in which pictures are decoded, compared with the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureOrder {
    AsShown,
    Reordered,
}

/// Filters that convert to linear light, roll off the brightest parts, and convert back for screens.
const TONE_MAP: &str = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv";
/// Filter that fits pictures into 1920x1080 with even sizes: H.264 has no others with 4:2:0.
const FIT: &str = "scale=w='min(1920,iw)':h='min(1080,ih)':force_original_aspect_ratio=decrease:force_divisible_by=2";
/// Filter that joins fields marked as such into one frame. Other pictures pass unchanged.
const PROGRESSIVE: &str = "yadif=mode=send_frame:deint=interlaced";
/// Rule for key frames in a film in which no other track sets the borders.
const EVERY_SIX_SECONDS: &str = "expr:gte(t,n_forced*6)";
/// Longest list of key frames in bytes. An argument may have 128 KiB.
const MAX_KEYS: usize = 100 << 10;
/// Longest group of the rendition, in frames, where no border asks for a key frame.
const RENDITION_GROUP: &str = "300";

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

impl RenditionTask {
    /// Returns the options before the input.
    #[must_use]
    pub fn before_input(&self) -> Vec<String> {
        words(self.encoder.device())
    }

    /// Returns the options behind the input, without the muxer's.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut list = words(&["-map", &format!("0:{}", self.stream), "-an", "-sn", "-dn"]);
        list.extend(self.limit());
        let mut chain = vec![PROGRESSIVE];
        if self.tones == Tones::Mapped {
            chain.push(TONE_MAP);
        }
        chain.extend([FIT, self.encoder.pixels()]);
        list.extend(words(&["-vf", &chain.join(",")]));
        // Frames keep their times. One of two frames with the same time is dropped.
        list.extend(words(&["-fps_mode", "vfr"]));
        list.extend(times(self.timescale));
        list.extend(words(self.encoder.quality()));
        let (rate, buffer) = (self.rate.to_string(), (self.rate * 2).to_string());
        list.extend(words(&["-maxrate", &rate, "-bufsize", &buffer]));
        list.extend(words(&["-profile:v", "high", "-g", RENDITION_GROUP]));
        list.extend(words(&["-force_key_frames", &self.key_list()]));
        list
    }

    fn limit(&self) -> Vec<String> {
        match self.span {
            EncodeSpan::Whole => Vec::new(),
            EncodeSpan::Trial => words(&["-t", "1"]),
        }
    }

    /// Returns the options behind the muxer's: a second output, which discards its data.
    #[must_use]
    pub fn behind(&self) -> Vec<String> {
        if self.beside.is_empty() {
            return Vec::new();
        }
        let maps = self
            .beside
            .iter()
            .flat_map(|stream| ["-map".to_owned(), format!("0:{stream}")]);
        let mut list: Vec<String> = maps.collect();
        list.extend(self.limit());
        list.extend(words(&["-c", "copy", "-f", "null", "-"]));
        list
    }

    fn key_list(&self) -> String {
        let keys = self
            .keys
            .iter()
            .map(|at| format!("{}.{:03}", at / 1000, at % 1000));
        let list = keys.collect::<Vec<_>>().join(",");
        if list.is_empty() {
            EVERY_SIX_SECONDS.to_owned()
        } else if list.len() > MAX_KEYS {
            // This gives more key frames than needed, but the needed ones are among them.
            "source".to_owned()
        } else {
            list
        }
    }
}

impl GroupTask {
    /// Returns the options behind the input, without the muxer's. x264 reports the similarity to the
    /// original on standard error.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let profile = match self.profile {
            66 => "baseline",
            77 => "main",
            _ => "high",
        };
        let reordered = if self.order == PictureOrder::AsShown {
            "0"
        } else {
            "2"
        };
        let references = self.references.clamp(1, 4).to_string();
        let (frames, level) = (self.frames.to_string(), self.level.to_string());
        let (rate, most) = (self.rate.to_string(), self.most.to_string());
        let parameters = format!("sps-id={}:scenecut=0:b-pyramid=none", self.id);
        let mut list = words(&["-v", "info", "-map", "0:v:0", "-fps_mode", "passthrough"]);
        list.extend(times(self.timescale));
        list.extend(words(&[
            "-c:v", "libx264", "-preset", "veryfast", "-ssim", "1",
        ]));
        list.extend(words(&["-profile:v", profile, "-level", &level]));
        list.extend(words(&["-refs", &references, "-bf", reordered]));
        list.extend(words(&["-g", &frames, "-b:v", &rate, "-maxrate", &most]));
        list.extend(words(&["-bufsize", &self.buffer.to_string()]));
        list.extend(words(&["-x264-params", &parameters]));
        list
    }
}

/// Returns the options that keep times exact.
fn times(timescale: u32) -> Vec<String> {
    words(&[
        "-enc_time_base",
        &format!("1/{timescale}"),
        "-video_track_timescale",
        &timescale.to_string(),
    ])
}

/// Returns the similarity that x264 reports; 1 is identical to the original.
#[must_use]
pub fn likeness(stderr: &str) -> Option<f64> {
    let (_, rest) = stderr.split_once("SSIM Mean Y:")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeness_is_found_among_what_x264_says() {
        let said = "[libx264 @ 0x5] frame I:1\n[libx264 @ 0x5] SSIM Mean Y:0.9764313 (16.277db)\n";
        assert_eq!(likeness(said), Some(0.976_431_3));
        assert_eq!(likeness("SSIM Mean Y:"), None);
        assert_eq!(likeness(""), None);
    }

    #[test]
    fn a_list_of_keys_is_no_longer_than_an_argument_may_be() {
        let mut rendition = RenditionTask {
            stream: 0,
            encoder: Encoder::Software,
            tones: Tones::Kept,
            span: EncodeSpan::Whole,
            beside: Vec::new(),
            keys: vec![0, 5_980, 12_000],
            timescale: 1000,
            rate: 1,
        };
        assert_eq!(rendition.key_list(), "0.000,5.980,12.000");
        rendition.keys = Vec::new();
        assert!(rendition.key_list().starts_with("expr:"));
        rendition.keys = (0..20_000).map(|number| number * 6_000).collect();
        assert_eq!(rendition.key_list(), "source");
    }
}
