//! SubRip, read forgivingly.

use std::fmt::Write as _;

use super::cues::{Cue, ParsedCues, is_times};
use super::work::ReadingWork;
use super::{markup, webvtt};

/// Reads the cues of a SubRip text: a number, a line of times, and the text up to the next such pair.
/// Numbers and empty lines between cues may be missing, and a cue's text may contain empty lines. There may
/// be an empty line behind each line; then one also stands between a number and its times.
pub fn parse(text: &str, parsed: &mut ParsedCues, work: &mut ReadingWork) {
    let mut open: Option<OpenCue<'_>> = None;
    let spacing = Spacing::of(text);
    for line in text.lines() {
        work.step(line.len() + 1);
        if work.stopped().is_some() {
            return;
        }
        if is_times(line) {
            let next = OpenCue {
                times: line,
                text: String::new(),
                last: "",
            };
            if let Some(mut cue) = open.replace(next) {
                // The number of the next cue is not text.
                if !is_number(cue.last) {
                    cue.keep_last();
                }
                cue.close(parsed, work);
            }
        } else if let Some(cue) = &mut open {
            if spacing == Spacing::Double && line.trim().is_empty() {
                continue;
            }
            cue.keep_last();
            cue.last = line;
        }
    }
    if let Some(mut cue) = open {
        cue.keep_last();
        cue.close(parsed, work);
    }
}

/// Lines of a text, as some programs write them to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Single,
    /// An empty line behind each line.
    Double,
}

impl Spacing {
    /// Reads it from what stands between the first number and its times.
    fn of(text: &str) -> Self {
        let mut before = ["", ""];
        for line in text.lines() {
            if is_times(line) {
                break;
            }
            before = [before[1], line];
        }
        match is_number(before[0]) && before[1].trim().is_empty() {
            true => Self::Double,
            false => Self::Single,
        }
    }
}

/// A cue whose end is not reached.
struct OpenCue<'a> {
    times: &'a str,
    text: String,
    /// The line before, which may be the number of the next cue.
    last: &'a str,
}

impl OpenCue<'_> {
    fn keep_last(&mut self) {
        let line = self.last.trim_end();
        if line.is_empty() || ParsedCues::is_too_long(&self.text) {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    fn close(self, parsed: &mut ParsedCues, work: &mut ReadingWork) {
        if ParsedCues::is_too_long(&self.text) {
            parsed.left_out += 1;
            return;
        }
        let mut settings = "";
        let text = markup::srt_to_vtt(&self.text, &mut settings, work);
        parsed.add(self.times, settings, &text);
    }
}

fn is_number(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// Writes cues as a SubRip text.
pub fn write(cues: &[Cue], work: &mut ReadingWork) -> String {
    let mut text = String::new();
    for (number, cue) in (1..).zip(cues) {
        let _infallible = write!(
            text,
            "{number}\n{} --> {}\n{}\n\n",
            time(cue.start),
            time(cue.end),
            markup::vtt_to_srt(&cue.text, work)
        );
    }
    text
}

/// Returns milliseconds as `hh:mm:ss,mmm`.
fn time(millis: u64) -> String {
    webvtt::time(millis).replace('.', ",")
}
