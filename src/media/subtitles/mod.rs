//! Text subtitles, of the user's files and of films alike: from SubRip, WebVTT or (Advanced) SubStation
//! Alpha in any encoding to cues, and from those to the formats that players take.
//!
//! They are read here rather than by ffmpeg, which needs to be told the encoding, stops at the first
//! malformed line, and drops positions, voices and escapes on the way to WebVTT.

mod ass;
mod cues;
mod encoding;
mod error;
mod file_name;
mod markup;
mod srt;
mod work;

pub mod webvtt;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use crate::model::{ByteRange, Name, SubtitleFormat};
use crate::process::{CancelFlag, CancelOnDrop};

pub use self::cues::Cue;
use self::cues::ParsedCues;
pub use self::error::SubtitleError;
pub use self::file_name::{SubtitleFileName, SubtitleFlags, SubtitleKeys, is_subtitle_name};
pub use self::work::ReadingWork;

/// Maximum size of a subtitle text in bytes. A day of karaoke is smaller.
pub const MAX_FILE: u64 = 32 << 20;

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
    /// Number of cues beyond the limits.
    left_out: usize,
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
        work: &mut ReadingWork,
    ) -> Result<Self, SubtitleError> {
        let (text, encoding) = decode(bytes, language, work)?;
        Self::parse(text, encoding, format, work)
    }

    /// Reads a text, and finds its format from the content.
    ///
    /// # Errors
    /// When the bytes are no text, or hold no cue with a time.
    pub fn sniff(
        bytes: &[u8],
        language: &str,
        work: &mut ReadingWork,
    ) -> Result<Self, SubtitleError> {
        let (text, encoding) = decode(bytes, language, work)?;
        let format = format_of(&text);
        Self::parse(text, encoding, format, work)
    }

    fn parse(
        text: String,
        encoding: &'static str,
        format: SubtitleFormat,
        work: &mut ReadingWork,
    ) -> Result<Self, SubtitleError> {
        let mut parsed = ParsedCues::default();
        match format {
            SubtitleFormat::Ass => ass::parse(&text, &mut parsed, work),
            SubtitleFormat::Vtt => webvtt::parse(&text, &mut parsed, work),
            SubtitleFormat::Srt => srt::parse(&text, &mut parsed, work),
        }
        if let Some(error) = work.stopped() {
            return Err(error);
        }
        let ParsedCues {
            mut cues,
            unreadable,
            left_out,
            ..
        } = parsed;
        if cues.is_empty() {
            return Err(match left_out {
                0 => SubtitleError::NoCues,
                _ => SubtitleError::CuesTooLarge,
            });
        }
        cues.sort_by_key(|cue| cue.start);
        keep_each_once(&mut cues);
        Ok(Self {
            format,
            text,
            encoding,
            cues,
            unreadable,
            left_out,
        })
    }

    /// Returns a remark for viewers about cues that are left out. It is stored, so its text is frozen.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let (unreadable, left_out) = (self.unreadable, self.left_out);
        let all = unreadable + left_out + self.cues.len();
        let unread = (unreadable > 0)
            .then(|| format!("{unreadable} of its {all} cues cannot be read and are left out"));
        let beyond = (left_out > 0).then(|| {
            format!("{left_out} of its {all} cues are too many or too large and are left out")
        });
        let notes: Vec<String> = unread.into_iter().chain(beyond).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
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
    pub fn to_srt(&self, work: &mut ReadingWork) -> Cow<'_, str> {
        match self.format {
            SubtitleFormat::Srt => Cow::Borrowed(&self.text),
            SubtitleFormat::Vtt | SubtitleFormat::Ass => Cow::Owned(srt::write(&self.cues, work)),
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

/// Reads the subtitle file at `path`. Dropping the future stops the reading.
///
/// # Errors
/// When the file cannot be read. The inner error is the reason why it has no subtitles.
pub async fn read_file(
    name: Name,
    path: PathBuf,
) -> io::Result<Result<SubtitleFileContent, SubtitleError>> {
    let stop = CancelOnDrop::default();
    let cancel = stop.0.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(path)?;
        Ok(read(&name, &bytes, &cancel))
    });
    reading.await.unwrap_or(Ok(Err(SubtitleError::Failed)))
}

/// Reads a subtitle file. Its content determines the format, and its name helps to find the encoding.
///
/// # Errors
/// When the file is no text, or holds no cue with a time; when `cancel` is set.
pub fn read(
    name: &Name,
    bytes: &[u8],
    cancel: &CancelFlag,
) -> Result<SubtitleFileContent, SubtitleError> {
    let language = SubtitleFileName::of(name).language;
    let mut work = ReadingWork::new(bytes.len(), cancel.clone());
    let document = SubtitleDocument::sniff(bytes, &language, &mut work)?;
    let mut content = SubtitleFileContent {
        bytes: Vec::new(),
        texts: Vec::new(),
        encoding: document.encoding,
        cues: u32::try_from(document.cues.len()).unwrap_or(u32::MAX),
        note: document.note(),
    };
    content.add(SubtitleFormat::Vtt, &document.to_vtt());
    content.add(SubtitleFormat::Srt, &document.to_srt(&mut work));
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

/// Removes cues that say the same at the same time and place, as layers of ASS do.
fn keep_each_once(cues: &mut Vec<Cue>) {
    let mut seen: HashSet<Cue> = HashSet::new();
    let mut start = 0;
    cues.retain(|cue| {
        if cue.start != start {
            seen.clear();
            start = cue.start;
        }
        seen.insert(cue.clone())
    });
}

/// Returns the text in UTF-8 with `\n` as the end of each line, and the name of its encoding.
fn decode(
    bytes: &[u8],
    language: &str,
    work: &mut ReadingWork,
) -> Result<(String, &'static str), SubtitleError> {
    let decoded = encoding::decode(bytes, language, work);
    if let Some(error) = work.stopped() {
        return Err(error);
    }
    let (text, encoding) = decoded.ok_or(SubtitleError::NotText)?;
    work.step(text.len());
    Ok((with_plain_lines(text), encoding))
}

/// Ends each line with `\n`, and removes control characters, which players show as boxes or take for
/// ends of lines. Texts that need neither are not copied.
fn with_plain_lines(text: String) -> String {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_odd) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(is_odd) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix('\r') {
            plain.push('\n');
            rest = behind.strip_prefix('\n').unwrap_or(behind);
        } else {
            rest = rest
                .get(rest.chars().next().map_or(1, char::len_utf8)..)
                .unwrap_or_default();
        }
    }
    plain.push_str(rest);
    plain
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
