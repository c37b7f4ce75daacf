//! WebVTT: reading cues, and writing them as a file or as a segment.

use std::fmt::Write as _;

use super::cues::{ARROW, Cue, ParsedCues, is_empty, is_times};
use super::work::ReadingWork;

/// Head of a WebVTT file.
pub const HEAD: &str = "WEBVTT\n\n";

/// Returns the head of a segment, which places the text's zero on the clock of the film's segments, in
/// 1/90000 s (RFC 8216 §3.5).
#[must_use]
pub fn segment_head(zero: u64) -> String {
    format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{zero},LOCAL:00:00:00.000\n\n")
}

/// Reads the cues of a WebVTT text. Blocks without times are notes and styles.
pub(super) fn parse(text: &str, parsed: &mut ParsedCues, work: &mut ReadingWork) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        work.step(line.len() + 1);
        if work.stopped().is_some() {
            return;
        }
        if !is_times(line) {
            continue;
        }
        let mut text = String::new();
        for line in lines.by_ref().take_while(|line| !is_empty(line)) {
            work.step(line.len() + 1);
            if !ParsedCues::is_too_long(&text) {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(line);
            }
        }
        let settings = line.split_once(ARROW).map_or("", |(_, rest)| {
            let rest = rest.trim_start();
            rest.split_once([' ', '\t'])
                .map_or("", |(_, rest)| rest.trim())
        });
        parsed.add(line, settings, &text);
    }
}

/// Returns milliseconds as `hh:mm:ss.mmm`.
#[must_use]
pub fn time(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!(
        "{:02}:{:02}:{:02}.{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Appends cues to `text`, which holds a head.
#[must_use]
pub fn write_cues<'a>(mut text: String, cues: impl Iterator<Item = &'a Cue>) -> String {
    for cue in cues {
        let settings = if cue.settings.is_empty() { "" } else { " " };
        let _infallible = write!(
            text,
            "{} --> {}{settings}{}\n{}\n\n",
            time(cue.start),
            time(cue.end),
            cue.settings,
            cue.text
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::CancelFlag;

    fn parse_all(text: &str) -> ParsedCues {
        let mut parsed = ParsedCues::default();
        let mut work = ReadingWork::new(text.len(), CancelFlag::default());
        parse(text, &mut parsed, &mut work);
        parsed
    }

    #[test]
    fn cues_that_are_written_are_read_again() {
        const TEXT: &str = "WEBVTT\n\n00:01.250 --> 00:03.500\nfirst\nline --> two\n\nNOTE nothing\n\n1\n01:00:00.000 --> 01:00:02.000 align:start\nlast\n\n00:05.000 --> 00:04.000\nbackwards\n";
        let parsed = parse_all(TEXT);
        let cues = parsed.cues;
        assert_eq!((cues.len(), parsed.unreadable), (2, 1));
        assert_eq!((cues[0].start, cues[0].end), (1250, 3500));
        assert_eq!(cues[0].text, "first\nline --&gt; two");
        assert_eq!(cues[1].settings, "align:start");
        assert_eq!(
            parse_all(&write_cues(String::new(), cues.iter())).cues,
            cues
        );
    }
}
