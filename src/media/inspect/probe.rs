//! Asks ffprobe about a source, and describes the answer: streams, programmes, format.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::process::CancelFlag;

use crate::media::attempt::Attempt;
use crate::media::browser::BrowserAudio;
use crate::media::container::Container;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::reason::UnreadableReason;
use crate::media::tool::MediaTool;
use crate::media::tool::exit::{Complaint, check_ran};
use crate::media::tool::task::Task;

/// Limit of ffprobe's answer in bytes. The answer about a film with 200 attachments has 200 KB.
const MAX_ANSWER: u64 = 8 << 20;

/// Answer of ffprobe.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct MediaProbe {
    /// All streams, in the order of the file.
    #[serde(default)]
    pub streams: Vec<ProbedStream>,
    /// Programmes of a transport stream multiplex; empty for other files.
    #[serde(default)]
    pub programs: Vec<ProbedProgram>,
    /// Times of the file as a whole.
    #[serde(default)]
    pub format: ProbedFormat,
    /// Chapters, in the order of the file.
    #[serde(default)]
    pub chapters: Vec<ProbedChapter>,
}

/// Chapter of a film.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedChapter {
    /// Start in seconds, on the clock of the streams.
    #[serde(default)]
    pub start_time: String,
    /// Tags such as `title`.
    #[serde(default)]
    pub tags: HashMap<String, String>,
}

/// Programme (a channel) of a multiplex.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedProgram {
    /// Streams that belong to it.
    #[serde(default)]
    pub streams: Vec<ProgramStream>,
}

/// Reference of a programme to one of its streams.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct ProgramStream {
    /// Number of the stream in the file.
    pub index: u32,
}

impl ProbedProgram {
    fn has(&self, stream: u32) -> bool {
        self.streams.iter().any(|found| found.index == stream)
    }
}

impl MediaProbe {
    /// Returns the streams that may belong together with `stream`: all but those of other programmes.
    #[must_use]
    pub fn beside(&self, stream: u32) -> Vec<&ProbedStream> {
        let of = |stream| {
            let programs = self.programs.iter();
            programs.filter(move |program| program.has(stream))
        };
        let belongs = |other: &&ProbedStream| {
            of(stream).next().is_none()
                || of(other.index).next().is_none()
                || of(other.index).any(|program| program.has(stream))
        };
        self.streams.iter().filter(belongs).collect()
    }
}

/// Times of a file, in text as ffprobe writes them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedFormat {
    /// Least time stamp of all streams, in seconds.
    pub start_time: Option<String>,
    /// Duration in seconds, counted as `seconds` says.
    pub duration: Option<String>,
    /// Names of the demuxer, e.g. `matroska,webm`.
    #[serde(default)]
    pub format_name: String,
    /// Certainty with which ffprobe chose the demuxer, up to 100.
    #[serde(default)]
    pub probe_score: u32,
}

impl ProbedFormat {
    /// Returns the seconds from the first frame to the end, where the header says so.
    #[must_use]
    pub fn seconds(&self, container: Container) -> Option<f64> {
        let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
        // For these ffprobe reports the time of the end, for the others the distance from the start.
        let before = match container {
            Container::Matroska | Container::Mp4 => number(&self.start_time)?.max(0.0),
            _ => 0.0,
        };
        let seconds = number(&self.duration)? - before;
        (seconds.is_finite() && seconds > 0.0).then_some(seconds)
    }
    /// Returns the least time stamp in seconds; 0 where ffprobe reports none.
    #[must_use]
    pub fn start_seconds(&self) -> f64 {
        let start = self.start_time.as_ref().and_then(|text| text.parse().ok());
        start.filter(|start: &f64| start.is_finite()).unwrap_or(0.0)
    }
    /// Returns the least time stamp in 1/90000 s. ffprobe reports microseconds, and a tick has 11.
    #[must_use]
    pub fn start_ticks(&self) -> Option<i64> {
        ticks(self.start_time.as_ref()?)
    }
}

/// One stream of a file.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedStream {
    /// Number in the file, from 0.
    pub index: u32,
    /// The container's own number in hexadecimal, e.g. a PID.
    #[serde(default)]
    pub id: String,
    /// First time stamp in seconds.
    #[serde(default)]
    pub start_time: String,
    /// `video`, `audio`, `subtitle` or `attachment`.
    #[serde(default)]
    pub codec_type: String,
    /// ffmpeg's name of the codec; empty when it is unknown.
    #[serde(default)]
    pub codec_name: String,
    /// The container's name of the codec, e.g. `ac-4`.
    #[serde(default)]
    pub codec_tag_string: String,
    /// Duration in seconds, where the container has one of each stream.
    #[serde(default)]
    pub duration: String,
    /// Number of frames, where the container states it.
    #[serde(default)]
    pub nb_frames: String,
    /// Bits a sample of audio, where they are known.
    #[serde(default)]
    pub bits_per_raw_sample: String,
    /// Transfer characteristics, e.g. `smpte2084` for HDR10.
    #[serde(default)]
    pub color_transfer: String,
    /// Average frame rate as a fraction, e.g. `24000/1001`.
    #[serde(default)]
    pub avg_frame_rate: String,
    /// Audio channels; 0 for other streams.
    #[serde(default)]
    pub channels: u16,
    /// Width in pixels.
    #[serde(default)]
    pub width: u32,
    /// Height in pixels.
    #[serde(default)]
    pub height: u32,
    /// Ratio of a pixel's width to its height, e.g. `64:45`.
    #[serde(default)]
    pub sample_aspect_ratio: String,
    /// Profile of the codec, e.g. `HE-AAC`; empty when unknown.
    #[serde(default)]
    pub profile: String,
    /// Sample rate in hertz.
    #[serde(default)]
    pub sample_rate: String,
    /// Flags such as `default` and `forced`; 0 is off.
    #[serde(default)]
    pub disposition: HashMap<String, u8>,
    /// Language as a BCP-47 tag, which ffprobe does not report.
    #[serde(skip)]
    pub extended_language: Option<String>,
    /// Tags such as `language` and `title`.
    #[serde(default)]
    pub tags: HashMap<String, String>,
}

impl ProbedStream {
    /// Returns whether a flag of `disposition` is set.
    #[must_use]
    pub fn has(&self, disposition: &str) -> bool {
        self.disposition
            .get(disposition)
            .is_some_and(|flag| *flag != 0)
    }
    /// Returns a tag by name, in upper or lower case; empty when there is none.
    #[must_use]
    pub fn tag(&self, name: &str) -> &str {
        self.tags
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }
    /// Returns its language as exactly as the file has it; empty when it has none. Names of views are made of
    /// the tag `language` alone, because players keep them.
    #[must_use]
    pub fn language_tag(&self) -> &str {
        match &self.extended_language {
            Some(language) => language,
            None => self.tag("language"),
        }
    }
    /// Returns whether it is moving pictures. Cover art and still images are not.
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.codec_type == "video" && !self.is_picture()
    }
    /// Returns whether it is a picture that does not move: a cover, or a video of one frame.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        /// Longest single frame in seconds, where only a duration is known.
        const ONE_FRAME: f64 = 0.1;
        let is_one = |count: &str| count == "1";
        let is_short = |text: &str| clock_seconds(text).is_some_and(|seconds| seconds <= ONE_FRAME);
        self.codec_type == "video"
            && (self.has("attached_pic")
                || self.has("still_image")
                || is_one(&self.nb_frames)
                || is_one(self.tag("NUMBER_OF_FRAMES"))
                || self.is_picture_codec() && is_short(self.tag("DURATION")))
    }
    /// Returns whether pictures of this codec are most often single ones.
    #[must_use]
    pub fn is_picture_codec(&self) -> bool {
        const PICTURES: [&str; 8] = ["mjpeg", "png", "bmp", "gif", "tiff", "webp", "apng", "ppm"];
        PICTURES.contains(&self.codec_name.as_str())
    }
    /// Returns the codec as a word for people: ffmpeg's name, or else the container's.
    #[must_use]
    pub fn codec(&self) -> String {
        let fit = |name: &str| -> String {
            let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            name.chars().filter(fit).collect()
        };
        let named = fit(&self.codec_name);
        match named.as_str() {
            _ if self.is_ac4() => "ac-4".to_owned(),
            "" | "none" | "unknown" | "bin_data" if !self.codec_tag_string.starts_with('[') => {
                let tag = fit(&self.codec_tag_string);
                if tag.is_empty() {
                    "unknown".to_owned()
                } else {
                    tag
                }
            }
            "" | "none" => "unknown".to_owned(),
            _ => named,
        }
    }
    /// Returns whether its samples are encrypted, as in WebM with a key's id.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        !self.tag("enc_key_id").is_empty()
    }
    /// Returns its own duration in seconds, where the container states one.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let stated = self.duration.parse::<f64>().ok();
        stated.or_else(|| clock_seconds(self.tag("DURATION")))
    }
    /// Returns whether some view shows a stream of this kind, or a note of its own names it.
    #[must_use]
    pub fn has_views(&self) -> bool {
        self.is_video()
            || self.is_audio()
            || self.is_text_subtitle()
            || self.is_bitmap_subtitle()
            || self.is_font()
    }
    /// Returns whether it is audio that ffmpeg cannot read.
    #[must_use]
    pub fn has_no_decoder(&self) -> bool {
        self.codec_name.is_empty() || self.channels == 0 || self.is_ac4()
    }
    /// Returns whether it is AC-4. Its name is only in the tag, and ffmpeg may take it for AAC.
    fn is_ac4(&self) -> bool {
        self.codec_tag_string == "ac-4"
    }
    /// Returns whether it is audio.
    #[must_use]
    pub fn is_audio(&self) -> bool {
        self.codec_type == "audio"
    }
    /// Returns its first time stamp in 1/90000 s.
    #[must_use]
    pub fn start_ticks(&self) -> Option<i64> {
        ticks(&self.start_time)
    }
    /// Returns the container's own number, where ffprobe reports one.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        u32::from_str_radix(self.id.strip_prefix("0x")?, 16).ok()
    }
    /// Returns its PID, in a transport stream.
    #[must_use]
    pub fn pid(&self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }
    /// Returns whether it is subtitles of text. PGS, VobSub and DVB subtitles are bitmaps.
    #[must_use]
    pub fn is_text_subtitle(&self) -> bool {
        let text = ["subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"];
        self.codec_type == "subtitle" && text.contains(&self.codec_name.as_str())
    }
    /// Returns whether it is bitmap subtitles that a file of their own can hold.
    #[must_use]
    pub fn is_bitmap_subtitle(&self) -> bool {
        let known = ["hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"];
        self.codec_type == "subtitle" && known.contains(&self.codec_name.as_str())
    }
    /// Returns whether it is an attached font.
    #[must_use]
    pub fn is_font(&self) -> bool {
        let named = matches!(self.codec_name.as_str(), "ttf" | "otf");
        self.codec_type == "attachment" && (named || self.tag("mimetype").contains("font"))
    }
    /// Returns whether MP4 carries it and some HLS player accepts it from there. A single stream that
    /// ffmpeg's MP4 muxer refuses makes the whole pass fail, so this lists the codecs it accepts.
    #[must_use]
    pub fn fits_mp4(&self) -> bool {
        const VIDEO: [&str; 8] = [
            "h264",
            "hevc",
            "av1",
            "vp9",
            "mpeg2video",
            "mpeg1video",
            "mpeg4",
            "vc1",
        ];
        const AUDIO: [&str; 9] = [
            "aac", "mp3", "mp2", "ac3", "eac3", "dts", "flac", "opus", "alac",
        ];
        let name = self.codec_name.as_str();
        match self.codec_type.as_str() {
            "video" => VIDEO.contains(&name),
            "audio" => AUDIO.contains(&name),
            _ => false,
        }
    }
    /// Returns whether browsers play this audio from MP4.
    #[must_use]
    pub fn plays_in_browsers(&self) -> bool {
        let codec = BrowserAudio::from_ffprobe(&self.codec_name, &self.profile);
        codec.is_some_and(BrowserAudio::plays_in_mp4)
    }
    /// Returns width and height as they are shown, with square pixels.
    #[must_use]
    pub fn shown_size(&self) -> (u32, u32) {
        let ratio = self.sample_aspect_ratio.split_once(':');
        let ratio = ratio.and_then(|(width, height)| {
            let numbers = (width.parse::<u64>().ok()?, height.parse::<u64>().ok()?);
            (numbers.0 > 0 && numbers.1 > 0).then_some(numbers)
        });
        let (wide, high) = ratio.unwrap_or((1, 1));
        let width = (u64::from(self.width).saturating_mul(wide) + high / 2) / high;
        (u32::try_from(width).unwrap_or(self.width), self.height)
    }
    /// Returns the frames per 1000 seconds, 0 when unknown.
    #[must_use]
    pub fn millihertz(&self) -> u32 {
        let Some((count, seconds)) = self.avg_frame_rate.split_once('/') else {
            return 0;
        };
        match (count.parse::<u64>(), seconds.parse::<u64>()) {
            (Ok(count), Ok(seconds)) if seconds > 0 => count
                .saturating_mul(1000)
                .saturating_add(seconds / 2)
                .checked_div(seconds)
                .and_then(|rate| u32::try_from(rate).ok())
                .unwrap_or(0),
            _ => 0,
        }
    }
}

/// Reads `hh:mm:ss.nnnnnnnnn`, as Matroska's muxers write a stream's duration.
fn clock_seconds(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

fn ticks(seconds: &str) -> Option<i64> {
    let seconds = seconds.parse::<f64>().ok()?;
    (seconds.is_finite() && seconds.abs() < 1e6).then(|| (seconds * 90_000.0).round() as i64)
}

/// Asks ffprobe about `source`.
///
/// # Errors
/// When the tool is missing, was stopped, or its answer cannot be parsed.
pub fn probe(
    tool: &dyn MediaTool,
    source: &Path,
    container: Container,
    cancel: &CancelFlag,
) -> Result<Attempt<MediaProbe, UnreadableReason>, MediaError> {
    let mut output = tool.start(source, container, &Task::Probe, cancel)?;
    let mut answer = Vec::new();
    (&mut output).take(MAX_ANSWER).read_to_end(&mut answer)?;
    let exit = output.finish()?;
    check_ran(&exit)?;
    if !exit.is_success() {
        let said = Complaint::of(&exit.stderr);
        let reason = UnreadableReason::of_tool(said, UnreadableReason::ProbeFailed);
        return Ok(Attempt::Refused(reason));
    }
    match serde_json::from_slice::<MediaProbe>(&answer) {
        Ok(found) if found.streams.is_empty() => Ok(Attempt::Refused(UnreadableReason::NoStreams)),
        Ok(found) => Ok(Attempt::Made(found)),
        Err(error) => Err(MediaError::new(
            MediaErrorKind::Protocol,
            format!("ffprobe's answer cannot be read: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_that_starts_late_is_no_longer_for_it() {
        let format = ProbedFormat {
            start_time: Some("10.000000".to_owned()),
            duration: Some("15.500000".to_owned()),
            ..ProbedFormat::default()
        };
        assert_eq!(format.seconds(Container::Matroska), Some(5.5));
        assert_eq!(format.seconds(Container::Mp4), Some(5.5));
        assert_eq!(format.seconds(Container::MpegTs), Some(15.5));
        assert_eq!(ProbedFormat::default().seconds(Container::Avi), None);
    }
}
