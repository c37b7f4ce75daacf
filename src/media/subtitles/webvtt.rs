//! Cues of WebVTT: read, written, and the head of a segment of them.

use std::fmt::Write as _;

/// Starts a text that stands alone.
pub const HEAD: &str = "WEBVTT\n\n";

/// Starts a segment: it says where the text's zero is on the clock of the film's segments, in
/// 1/90000 s (RFC 8216 §3.5).
#[must_use]
pub fn segment_head(zero: u64) -> String {
    format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{zero},LOCAL:00:00:00.000\n\n")
}

/// One cue of WebVTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    /// Milliseconds from the film's zero.
    pub start: u64,
    pub end: u64,
    /// What stands behind the end time.
    pub settings: String,
    /// Without an empty line.
    pub text: String,
}

/// Cues of a WebVTT text, in the order of their starts. Odd blocks are left out.
pub fn parse_cues(text: &str) -> Vec<Cue> {
    let text = text.replace("\r\n", "\n").replace('\0', "");
    let mut cues: Vec<Cue> = text.split("\n\n").filter_map(parse_cue).collect();
    cues.sort_by_key(|cue| cue.start);
    cues
}

fn parse_cue(block: &str) -> Option<Cue> {
    let mut lines = block.lines().skip_while(|line| !line.contains(" --> "));
    let (start, rest) = lines.next()?.split_once(" --> ")?;
    let (end, settings) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    // An arrow in the text would start a cue of its own.
    let text = lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace("-->", "--&gt;");
    let (start, end) = (parse_time(start)?, parse_time(end)?);
    (end > start && !text.trim().is_empty()).then(|| Cue {
        start,
        end,
        settings: settings.to_owned(),
        text,
    })
}

/// `[hh:]mm:ss.mmm` as milliseconds.
fn parse_time(text: &str) -> Option<u64> {
    let (clock, millis) = text.trim().split_once('.')?;
    let mut seconds = 0_u64;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    seconds.checked_mul(1000)?.checked_add(millis.parse().ok()?)
}

pub fn time(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!(
        "{:02}:{:02}:{:02}.{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

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
