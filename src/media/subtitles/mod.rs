//! Text subtitles, of the user's files and of films alike: from SubRip, WebVTT or (Advanced) SubStation
//! Alpha in any encoding to cues, and from those to the formats that players take.
//!
//! They are read here rather than by ffmpeg, which needs to be told the encoding, stops at the first
//! malformed line, and drops positions, voices and escapes on the way to WebVTT.

mod ass;
mod cues;
mod encoding;
mod file_name;
mod markup;
mod srt;

pub mod webvtt;

use std::borrow::Cow;

use crate::model::{ByteRange, Name, SubtitleFormat};

pub use self::cues::Cue;
use self::cues::ParsedCues;
pub use self::file_name::{SubtitleFileName, SubtitleFlags, is_subtitle_name, key};

/// Maximum size of a subtitle text in bytes. A day of karaoke is smaller.
pub const MAX_FILE: u64 = 32 << 20;

/// Reasons why a text has no subtitles. Their messages are stored with the file, so they are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubtitleError {
    #[error("the file is no text")]
    NotText,
    #[error("not one cue with a time could be found")]
    NoCues,
}

/// A subtitle text after reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtitleDocument {
    format: SubtitleFormat,
    /// The text in UTF-8, with `\n` as the end of each line.
    text: String,
    encoding: &'static str,
    /// Cues, never empty and sorted by start.
    cues: Vec<Cue>,
    /// Number of cues without a usable time.
    unreadable: usize,
}

impl SubtitleDocument {
    /// Reads a text of a known format. `language` (BCP-47) helps to find the encoding.
    ///
    /// # Errors
    /// When the bytes are no text, or hold no cue with a time.
    pub fn read(
        bytes: &[u8],
        format: SubtitleFormat,
        language: &str,
    ) -> Result<Self, SubtitleError> {
        let (text, encoding) = decode(bytes, language)?;
        Self::parse(text, encoding, format)
    }

    /// Reads a text, and finds its format from the content.
    ///
    /// # Errors
    /// When the bytes are no text, or hold no cue with a time.
    pub fn sniff(bytes: &[u8], language: &str) -> Result<Self, SubtitleError> {
        let (text, encoding) = decode(bytes, language)?;
        let format = format_of(&text);
        Self::parse(text, encoding, format)
    }

    fn parse(
        text: String,
        encoding: &'static str,
        format: SubtitleFormat,
    ) -> Result<Self, SubtitleError> {
        let ParsedCues {
            mut cues,
            unreadable,
        } = match format {
            SubtitleFormat::Ass => ass::parse(&text),
            SubtitleFormat::Vtt => webvtt::parse(&text),
            SubtitleFormat::Srt => srt::parse(&text),
        };
        if cues.is_empty() {
            return Err(SubtitleError::NoCues);
        }
        cues.sort_by_key(|cue| cue.start);
        Ok(Self {
            format,
            text,
            encoding,
            cues,
            unreadable,
        })
    }

    /// Returns the cues in the order of their starts.
    #[must_use]
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    /// Returns the subtitles as a WebVTT file.
    #[must_use]
    pub fn to_vtt(&self) -> String {
        webvtt::write_cues(webvtt::HEAD.to_owned(), self.cues.iter())
    }

    /// Returns the subtitles as a SubRip file: the text itself if it is one.
    #[must_use]
    pub fn to_srt(&self) -> Cow<'_, str> {
        match self.format {
            SubtitleFormat::Srt => Cow::Borrowed(&self.text),
            SubtitleFormat::Vtt | SubtitleFormat::Ass => Cow::Owned(srt::write(&self.cues)),
        }
    }
}

/// Texts of a user's subtitle file, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtitleFileContent {
    /// All texts, one behind the other.
    pub bytes: Vec<u8>,
    /// Range of each text in `bytes`; WebVTT comes first.
    pub texts: Vec<(SubtitleFormat, ByteRange)>,
    pub encoding: &'static str,
    pub cues: u32,
    /// Remark for viewers. It is stored, so its text is frozen.
    pub note: Option<String>,
}

/// Reads a subtitle file. Its content determines the format, and its name helps to find the encoding.
///
/// # Errors
/// When the file is no text, or holds no cue with a time.
pub fn read(name: &Name, bytes: &[u8]) -> Result<SubtitleFileContent, SubtitleError> {
    let language = SubtitleFileName::of(name).language;
    let document = SubtitleDocument::sniff(bytes, &language)?;
    let (cues, unreadable) = (document.cues.len(), document.unreadable);
    let mut content = SubtitleFileContent {
        bytes: Vec::new(),
        texts: Vec::new(),
        encoding: document.encoding,
        cues: u32::try_from(cues).unwrap_or(u32::MAX),
        note: (unreadable > 0).then(|| {
            let all = unreadable + cues;
            format!("{unreadable} of its {all} cues cannot be read and are left out")
        }),
    };
    content.add(SubtitleFormat::Vtt, &document.to_vtt());
    content.add(SubtitleFormat::Srt, &document.to_srt());
    if document.format == SubtitleFormat::Ass {
        content.add(SubtitleFormat::Ass, &document.text);
    }
    Ok(content)
}

impl SubtitleFileContent {
    fn add(&mut self, format: SubtitleFormat, text: &str) {
        let range = ByteRange::new(self.bytes.len() as u64, text.len() as u64);
        self.texts.push((format, range));
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

/// Returns the text in UTF-8 with `\n` as the end of each line, and the name of its encoding.
fn decode(bytes: &[u8], language: &str) -> Result<(String, &'static str), SubtitleError> {
    let (text, encoding) = encoding::decode(bytes, language).ok_or(SubtitleError::NotText)?;
    let text = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\0', "");
    Ok((text, encoding))
}

fn format_of(text: &str) -> SubtitleFormat {
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

#[cfg(test)]
mod tests;
