//! Cues, and the times that SubRip, WebVTT and ASS share. Times are read forgivingly, since subtitles
//! come from many programs and from people.

/// Separates the two times of a cue in SubRip and WebVTT.
pub const ARROW: &str = "-->";

/// Signs of a time before the film's zero. Programs that shift subtitles write them.
const MINUS: [char; 2] = ['-', '\u{2212}'];

/// Most cues of one text. A day of karaoke, with a cue for each syllable, has fewer.
const MAX_CUES: usize = 200_000;
/// Most bytes of all cues of one text.
const MAX_BYTES: usize = 16 << 20;
/// Most bytes of one cue before and after its markup is changed. Drawings can be long, words never are.
const MAX_CUE_BYTES: usize = 1 << 20;

/// One cue, in WebVTT's terms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cue {
    /// Milliseconds from the film's zero.
    pub start: u64,
    /// Milliseconds from the film's zero; above `start`.
    pub end: u64,
    /// Cue settings: the text behind the end time.
    pub settings: String,
    /// WebVTT cue text, without empty lines.
    pub text: String,
}

/// Cues found in a text, in its order.
#[derive(Debug, Default)]
pub struct ParsedCues {
    pub cues: Vec<Cue>,
    /// Number of cues without a usable time.
    pub unreadable: usize,
    /// Number of cues beyond the limits.
    pub left_out: usize,
    /// Bytes of all cues.
    bytes: usize,
}

impl ParsedCues {
    /// Adds a cue, given its line of times.
    pub fn add(&mut self, times: &str, settings: &str, text: &str) {
        match read_times(times) {
            Some((start, end)) => self.push(start, end, settings, text),
            None => self.unreadable += 1,
        }
    }

    /// Adds a cue. One without visible text is left out.
    pub fn push(&mut self, start: u64, end: u64, settings: &str, text: &str) {
        if end <= start {
            self.unreadable += 1;
        } else if !text.trim().is_empty() {
            // An arrow in the text would start another cue.
            let text = without_empty_lines(text).replace(ARROW, "--&gt;");
            let bytes = text.len() + settings.len();
            if bytes > MAX_CUE_BYTES
                || self.bytes + bytes > MAX_BYTES
                || self.cues.len() == MAX_CUES
            {
                self.left_out += 1;
                return;
            }
            self.bytes += bytes;
            self.cues.push(Cue {
                start,
                end,
                settings: settings.to_owned(),
                text,
            });
        }
    }

    /// Returns whether a text is too long for one cue.
    pub const fn is_too_long(text: &str) -> bool {
        text.len() > MAX_CUE_BYTES
    }
}

/// Returns whether a line ends a cue in WebVTT.
pub fn is_empty(line: &str) -> bool {
    line.trim_ascii().is_empty()
}

/// Returns the lines of a cue that have text. Markup alone leaves an empty line, which would end the cue.
fn without_empty_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !is_empty(line)).collect();
    lines.join("\n")
}

/// Returns whether a line looks like the times of a cue: a time, then an arrow.
pub fn is_times(line: &str) -> bool {
    line.split_once(ARROW).is_some_and(|(before, _)| {
        let before = before.trim();
        let before = before.strip_prefix(MINUS).unwrap_or(before);
        before.starts_with(|c: char| c.is_ascii_digit()) && before.contains(':')
    })
}

fn read_times(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once(ARROW)?;
    let end = rest.split_whitespace().next()?;
    Some((read_time(start.trim())?, read_time(end)?))
}

/// Reads `[hh:]mm:ss,mmm` as milliseconds. The fraction may follow a dot, have any number of digits,
/// or be missing. A time before zero is zero.
pub fn read_time(text: &str) -> Option<u64> {
    let mut text = text.replace(' ', "");
    if text.contains(MINUS) {
        text.retain(|c| !MINUS.contains(&c));
        return read_time(&text).map(|_| 0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_hand_are_read() {
        for (text, expected) in [
            ("00:00:01,500", Some(1500)),
            ("0:00:01.50", Some(1500)),
            ("01:02.5", Some(62_500)),
            ("1:00:00", Some(3_600_000)),
            ("00:00:01 , 5", Some(1500)),
            ("00:00:01,123456", Some(1123)),
            ("00:00:-1,500", Some(0)),
            ("-00:00:01,500", Some(0)),
            ("-00:00:later", None),
            ("1.5", None),
            ("1:2:3:4", None),
            ("99999999999999999999:00", None),
        ] {
            assert_eq!(read_time(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_without_text_do_not_end_a_cue() {
        let mut parsed = ParsedCues::default();
        parsed.add("00:01.000 --> 00:02.000", "", "\none\n \n\u{a0}\ntwo\n");
        assert_eq!(parsed.cues[0].text, "one\n\u{a0}\ntwo");
    }

    #[test]
    fn cues_without_a_usable_time_are_counted() {
        let mut parsed = ParsedCues::default();
        parsed.add("00:00:01,000 --> 00:00:02,000", "", "a --> b");
        parsed.add("00:00:02,000 --> 00:00:01,000", "", "backwards");
        parsed.add("00:00:02,000 --> later", "", "odd");
        parsed.add("00:00:02,000 --> 00:00:03,000", "", " ");
        assert_eq!((parsed.cues.len(), parsed.unreadable), (1, 2));
        assert_eq!(parsed.cues[0].text, "a --&gt; b");
    }
}
