//! What ffprobe says of a source, and which of its streams become tracks.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::process::CancelFlag;

use super::sniff::Container;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::tool::{MediaTool, Task};

/// Most of ffprobe's answer that is read; a film with 200 attachments takes 200 KB.
const MAX_ANSWER: u64 = 8 << 20;

#[derive(Debug, Clone, Default, Deserialize)]
pub struct MediaProbe {
    #[serde(default)]
    pub streams: Vec<ProbedStream>,
    /// Of a multiplex of transport streams; elsewhere there are none.
    #[serde(default)]
    pub programs: Vec<ProbedProgram>,
    #[serde(default)]
    pub format: ProbedFormat,
}

/// A channel of a multiplex.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedProgram {
    #[serde(default)]
    pub streams: Vec<ProgramStream>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct ProgramStream {
    pub index: u32,
}

impl ProbedProgram {
    fn has(&self, stream: u32) -> bool {
        self.streams.iter().any(|found| found.index == stream)
    }
}

impl MediaProbe {
    /// The streams that may belong together with this one: all but those of other programmes.
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

#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedFormat {
    /// Seconds: the least time stamp of all streams.
    pub start_time: Option<String>,
    /// Seconds.
    pub duration: Option<String>,
}

impl ProbedFormat {
    /// Seconds from the first frame to the end, where the header says so.
    #[must_use]
    pub fn seconds(&self, container: Container) -> Option<f64> {
        let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
        // Of these ffprobe says where the end lies, of the others how far it is from the start.
        let before = match container {
            Container::Matroska | Container::Mp4 => number(&self.start_time)?.max(0.0),
            _ => 0.0,
        };
        let seconds = number(&self.duration)? - before;
        (seconds.is_finite() && seconds > 0.0).then_some(seconds)
    }
    /// The least time stamp in 1/90000 s: a tick is 11 of the microseconds that are said.
    #[must_use]
    pub fn start_ticks(&self) -> Option<i64> {
        ticks(self.start_time.as_ref()?)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProbedStream {
    pub index: u32,
    /// The container's own number, hexadecimal.
    #[serde(default)]
    pub id: String,
    /// Seconds.
    #[serde(default)]
    pub start_time: String,
    #[serde(default)]
    pub codec_type: String,
    #[serde(default)]
    pub codec_name: String,
    #[serde(default)]
    pub color_transfer: String,
    /// A fraction, e.g. `24000/1001`.
    #[serde(default)]
    pub avg_frame_rate: String,
    #[serde(default)]
    pub channels: u16,
    /// Pixels.
    #[serde(default)]
    pub width: u32,
    #[serde(default)]
    pub height: u32,
    /// Hertz.
    #[serde(default)]
    pub sample_rate: String,
    #[serde(default)]
    pub disposition: HashMap<String, u8>,
    #[serde(default)]
    pub tags: HashMap<String, String>,
}

impl ProbedStream {
    #[must_use]
    pub fn has(&self, disposition: &str) -> bool {
        self.disposition
            .get(disposition)
            .is_some_and(|flag| *flag != 0)
    }
    /// A tag by name, in any case.
    #[must_use]
    pub fn tag(&self, name: &str) -> &str {
        self.tags
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.codec_type == "video" && !self.has("attached_pic") && !self.has("still_image")
    }
    #[must_use]
    pub fn is_audio(&self) -> bool {
        self.codec_type == "audio"
    }
    /// Its first time stamp in 1/90000 s.
    #[must_use]
    pub fn start_ticks(&self) -> Option<i64> {
        ticks(&self.start_time)
    }
    /// PID of a stream of a transport stream.
    #[must_use]
    pub fn pid(&self) -> Option<u16> {
        u16::from_str_radix(self.id.strip_prefix("0x")?, 16).ok()
    }
    /// Whether it is text; PGS, VobSub and DVB subtitles are pictures.
    #[must_use]
    pub fn is_text_subtitle(&self) -> bool {
        let text = ["subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"];
        self.codec_type == "subtitle" && text.contains(&self.codec_name.as_str())
    }
    /// Whether it is pictures that a file of its own can hold.
    #[must_use]
    pub fn is_bitmap_subtitle(&self) -> bool {
        let known = ["hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"];
        self.codec_type == "subtitle" && known.contains(&self.codec_name.as_str())
    }
    #[must_use]
    pub fn is_font(&self) -> bool {
        let named = matches!(self.codec_name.as_str(), "ttf" | "otf");
        self.codec_type == "attachment" && (named || self.tag("mimetype").contains("font"))
    }
    /// Whether MP4 carries it and some player of HLS takes it from there. One stream that ffmpeg's
    /// MP4 muxer refuses would make the whole pass fail, so this is a list of what it takes.
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
    /// Whether browsers play this audio from MP4 (`MediaSource.isTypeSupported` in Chromium); they
    /// refuse MP3 there.
    #[must_use]
    pub fn is_for_browsers(&self) -> bool {
        matches!(self.codec_name.as_str(), "aac" | "opus" | "flac")
    }
    /// Frames per 1000 seconds, 0 where unknown.
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

fn ticks(seconds: &str) -> Option<i64> {
    let seconds = seconds.parse::<f64>().ok()?;
    (seconds.is_finite() && seconds.abs() < 1e6).then(|| (seconds * 90_000.0).round() as i64)
}

/// The tool's answer, or in words why it could not read the file.
///
/// # Errors
/// When the tool is missing, was stopped, or answers nonsense.
pub fn probe(
    tool: &dyn MediaTool,
    source: &Path,
    container: Container,
    cancel: &CancelFlag,
) -> Result<Result<MediaProbe, String>, MediaError> {
    let mut output = tool.start(source, container, &Task::Probe, cancel)?;
    let mut answer = Vec::new();
    (&mut output).take(MAX_ANSWER).read_to_end(&mut answer)?;
    let exit = output.finish()?;
    check_ran(&exit)?;
    if !exit.is_success() {
        return Ok(Err(first_line(&exit.stderr, "ffprobe cannot read it")));
    }
    match serde_json::from_slice::<MediaProbe>(&answer) {
        Ok(found) if found.streams.is_empty() => Ok(Err("it has no streams".to_owned())),
        Ok(found) => Ok(Ok(found)),
        Err(error) => Err(MediaError::new(
            MediaErrorKind::Protocol,
            format!("ffprobe's answer cannot be read: {error}"),
        )),
    }
}

/// A tool that could not do its work says nothing about the film.
///
/// # Errors
/// When it was never started, was killed, or had no memory.
pub fn check_ran(exit: &crate::process::Exit) -> Result<(), MediaError> {
    // What shells and the dynamic loader answer for a program that cannot be executed.
    const NOT_STARTED: [i32; 2] = [126, 127];
    let stopped = |message: String| Err(MediaError::new(MediaErrorKind::ToolStopped, message));
    let confine_failed = i32::from(crate::process::confine::CONFINE_FAILED);
    match (exit.code, exit.signal) {
        (Some(code), _) if code == confine_failed || NOT_STARTED.contains(&code) => stopped(
            first_line(&exit.stderr, "the media tool could not be started"),
        ),
        (_, Some(signal)) => stopped(format!("the media tool was ended by signal {signal}")),
        (Some(code), None) if code != 0 && exit.stderr.contains("Cannot allocate memory") => {
            stopped("the media tool ran out of memory".to_owned())
        }
        _ => Ok(()),
    }
}

/// The first line of a tool's complaints, without the name of our descriptor, bounded.
#[must_use]
pub fn first_line(stderr: &str, otherwise: &str) -> String {
    const MAX_REASON: usize = 200;
    let line = stderr
        .lines()
        .map(|line| {
            line.trim()
                .trim_start_matches("file:")
                .trim_start_matches(crate::process::INPUT_PATH)
        })
        .map(|line| without_part(line.trim_start_matches(':').trim()))
        .find(|line| !line.is_empty())
        .unwrap_or(otherwise);
    line.chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON)
        .collect()
}

/// Without the name and the address of the part of ffmpeg that speaks: `[mov @ 0x55da3943ce40] `.
fn without_part(line: &str) -> &str {
    match line.split_once("] ") {
        Some((part, rest)) if part.starts_with('[') && part.contains(" @ 0x") => rest.trim(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_without_what_is_inside_ffmpeg() {
        let said = "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x55da3943ce40] moov atom not found\nfile:/proc/self/fd/0: Invalid data";
        assert_eq!(first_line(said, ""), "moov atom not found");
        assert_eq!(
            first_line("file:/proc/self/fd/0: Invalid data\n", ""),
            "Invalid data"
        );
        assert_eq!(first_line("[1] is not a part", ""), "[1] is not a part");
        assert_eq!(first_line("\n", "nothing"), "nothing");
    }

    #[test]
    fn a_film_that_starts_late_is_no_longer_for_it() {
        let format = ProbedFormat {
            start_time: Some("10.000000".to_owned()),
            duration: Some("15.500000".to_owned()),
        };
        assert_eq!(format.seconds(Container::Matroska), Some(5.5));
        assert_eq!(format.seconds(Container::Mp4), Some(5.5));
        assert_eq!(format.seconds(Container::MpegTs), Some(15.5));
        assert_eq!(ProbedFormat::default().seconds(Container::Avi), None);
    }
}
