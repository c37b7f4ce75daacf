//! SubRip, read forgivingly.

use std::fmt::Write as _;

use super::cues::{Cue, ParsedCues, is_times};
use super::{markup, webvtt};

/// Reads the cues of a SubRip text: a number, a line of times, and the text up to the next such pair.
/// Numbers and empty lines between cues may be missing, and a cue's text may contain empty lines.
pub fn parse(text: &str) -> ParsedCues {
    let lines: Vec<&str> = text.lines().collect();
    let times: Vec<usize> = (0..lines.len()).filter(|&at| is_times(lines[at])).collect();
    let mut parsed = ParsedCues::default();
    for (place, &at) in times.iter().enumerate() {
        let end = times.get(place + 1).map_or(lines.len(), |&next| {
            // The number of the next cue is not text.
            match next > at + 1 && is_number(lines[next - 1]) {
                true => next - 1,
                false => next,
            }
        });
        let mut settings = "";
        let text = lines[at + 1..end]
            .iter()
            .map(|line| line.trim_end())
            .filter(|line| !line.trim().is_empty())
            .collect::<Vec<_>>()
            .join("\n");
        let text = markup::srt_to_vtt(&text, &mut settings);
        parsed.add(lines[at], settings, &text);
    }
    parsed
}

fn is_number(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// Writes cues as a SubRip text.
pub fn write(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (number, cue) in (1..).zip(cues) {
        let _infallible = write!(
            text,
            "{number}\n{} --> {}\n{}\n\n",
            time(cue.start),
            time(cue.end),
            markup::vtt_to_srt(&cue.text)
        );
    }
    text
}

/// Returns milliseconds as `hh:mm:ss,mmm`.
fn time(millis: u64) -> String {
    webvtt::time(millis).replace('.', ",")
}
