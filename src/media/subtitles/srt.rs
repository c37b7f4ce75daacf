//! SubRip and WebVTT: forms of lines, read forgivingly, since what is about was made by hand and by
//! a hundred programs.

use super::webvtt::Cue;

use super::{Parsed, markup};

const ARROW: &str = "-->";

/// SubRip: a number, a line of times, the text up to the next such pair. Numbers and empty lines may
/// be missing, and empty lines may stand in the text.
pub fn parse_srt(text: &str) -> Parsed {
    let lines: Vec<&str> = text.lines().collect();
    let times: Vec<usize> = (0..lines.len()).filter(|&at| is_times(lines[at])).collect();
    let mut parsed = Parsed {
        cues: Vec::new(),
        odd: 0,
    };
    for (place, &at) in times.iter().enumerate() {
        let end = times.get(place + 1).map_or(lines.len(), |&next| {
            // The next cue's number is no text.
            let is_number = |line: &str| {
                let line = line.trim();
                !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
            };
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
        parsed.add(lines[at], settings, text);
    }
    parsed
}

/// WebVTT: blocks between empty lines; those without times are notes and styles.
pub fn parse_vtt(text: &str) -> Parsed {
    let mut parsed = Parsed {
        cues: Vec::new(),
        odd: 0,
    };
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !is_times(line) {
            continue;
        }
        let text: Vec<&str> = lines
            .by_ref()
            .take_while(|line| !line.trim().is_empty())
            .collect();
        let settings = line.split_once(ARROW).map_or("", |(_, rest)| {
            let rest = rest.trim_start();
            rest.split_once([' ', '\t'])
                .map_or("", |(_, rest)| rest.trim())
        });
        parsed.add(line, settings, text.join("\n"));
    }
    parsed
}

impl Parsed {
    pub fn add(&mut self, times: &str, settings: &str, text: String) {
        let Some((start, end)) = read_times(times) else {
            self.odd += 1;
            return;
        };
        self.push(start, end, settings, text);
    }

    /// A cue that is never seen is none.
    pub fn push(&mut self, start: u64, end: u64, settings: &str, text: String) {
        if end <= start {
            self.odd += 1;
        } else if !text.trim().is_empty() {
            self.cues.push(Cue {
                start,
                end,
                settings: settings.to_owned(),
                // An arrow in the text would start a cue of its own.
                text: text.replace(ARROW, "--&gt;"),
            });
        }
    }
}

/// A line that wants to be one of times: an arrow behind something that starts with a digit.
fn is_times(line: &str) -> bool {
    line.split_once(ARROW).is_some_and(|(before, _)| {
        let before = before.trim();
        before.starts_with(|c: char| c.is_ascii_digit()) && before.contains(':')
    })
}

fn read_times(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once(ARROW)?;
    let end = rest.split_whitespace().next()?;
    Some((read_time(start.trim())?, read_time(end)?))
}

/// `hh:mm:ss,mmm` with either sign before the thousandths, fewer or more digits of them, or none.
pub fn read_time(text: &str) -> Option<u64> {
    let text = text.replace(' ', "");
    let (clock, fraction) = text.split_once([',', '.']).unwrap_or((&text, ""));
    let mut seconds = 0_u64;
    let mut parts = 0;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
        parts += 1;
    }
    if !(2..=3).contains(&parts) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    seconds.checked_mul(1000)?.checked_add(millis)
}
