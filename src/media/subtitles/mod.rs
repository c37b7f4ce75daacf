//! Subtitle files that a user drops beside a film: from any encoding and form to cues, from those to
//! the texts that players take.
//!
//! They are read here and not by ffmpeg: it wants to be told the encoding, gives up at the first odd
//! line, and would be one more program that strangers' files are given to.

mod ass;
mod encoding;
mod file_name;
mod markup;
mod srt;

pub mod webvtt;

use std::fmt::Write as _;

use crate::model::{ByteRange, Name, SubtitleFormat};

pub use self::file_name::{SubtitleFileName, is_subtitle_name, key};
use self::webvtt::{Cue, write_cues};

/// Most bytes of a subtitle file: a day of karaoke is below.
pub const MAX_FILE: u64 = 32 << 20;

/// What a subtitle file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// All texts, one behind the other.
    pub bytes: Vec<u8>,
    /// Where each text lies in them; the one as WebVTT is the first.
    pub texts: Vec<(SubtitleFormat, ByteRange)>,
    pub encoding: &'static str,
    pub cues: u32,
    pub note: Option<String>,
}

/// Cues, and how many more have no time that can be read.
struct Parsed {
    cues: Vec<Cue>,
    odd: usize,
}

/// Reads a subtitle file; its form is what its bytes say, and its name helps to tell the encoding.
///
/// # Errors
/// Why it has no subtitles.
pub fn read(name: &Name, bytes: &[u8]) -> Result<Read, String> {
    let language = SubtitleFileName::of(name).language;
    let (text, encoding) = encoding::decode(bytes, &language)?;
    let text = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\0', "");
    let form = form_of(&text);
    let Parsed { mut cues, odd } = match form {
        SubtitleFormat::Ass => ass::parse(&text),
        SubtitleFormat::Vtt => srt::parse_vtt(&text),
        SubtitleFormat::Srt => srt::parse_srt(&text),
    };
    if cues.is_empty() {
        return Err("not one cue with a time could be found".to_owned());
    }
    cues.sort_by_key(|cue| cue.start);
    let mut read = Read {
        bytes: Vec::new(),
        texts: Vec::new(),
        encoding,
        cues: u32::try_from(cues.len()).unwrap_or(u32::MAX),
        note: (odd > 0).then(|| {
            let all = odd + cues.len();
            format!("{odd} of its {all} cues cannot be read and are left out")
        }),
    };
    let vtt = write_cues(webvtt::HEAD.to_owned(), cues.iter());
    read.add(SubtitleFormat::Vtt, &vtt);
    match form {
        SubtitleFormat::Srt => read.add(SubtitleFormat::Srt, &text),
        SubtitleFormat::Vtt => read.add(SubtitleFormat::Srt, &write_srt(&cues)),
        SubtitleFormat::Ass => {
            read.add(SubtitleFormat::Srt, &write_srt(&cues));
            read.add(SubtitleFormat::Ass, &text);
        }
    }
    Ok(read)
}

impl Read {
    fn add(&mut self, format: SubtitleFormat, text: &str) {
        let range = ByteRange::new(self.bytes.len() as u64, text.len() as u64);
        self.texts.push((format, range));
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

fn form_of(text: &str) -> SubtitleFormat {
    let section = |line: &str| {
        let line = line.trim();
        line.eq_ignore_ascii_case("[Script Info]") || line.eq_ignore_ascii_case("[Events]")
    };
    if text.trim_start().starts_with("WEBVTT") {
        SubtitleFormat::Vtt
    } else if text.lines().any(section) {
        SubtitleFormat::Ass
    } else {
        SubtitleFormat::Srt
    }
}

/// `hh:mm:ss,mmm`
fn srt_time(millis: u64) -> String {
    webvtt::time(millis).replace('.', ",")
}

fn write_srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (number, cue) in (1..).zip(cues) {
        let _infallible = write!(
            text,
            "{number}\n{} --> {}\n{}\n\n",
            srt_time(cue.start),
            srt_time(cue.end),
            markup::vtt_to_srt(&cue.text)
        );
    }
    text
}

#[cfg(test)]
mod tests;
