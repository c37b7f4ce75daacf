//! (Advanced) SubStation Alpha: the part of its `[Events]` that WebVTT can express. The text itself is
//! kept for players that want the styles.

use super::cues::{ParsedCues, read_time};
use super::markup;

/// Fields of a `Dialogue:` line if no `Format:` line names them.
const FIELDS: [&str; 10] = [
    "layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text",
];

/// Reads the `Dialogue:` lines of an ASS text.
pub fn parse(text: &str) -> ParsedCues {
    let mut parsed = ParsedCues::default();
    let mut fields: Vec<String> = FIELDS.map(str::to_owned).into();
    let mut in_events = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_events = line.eq_ignore_ascii_case("[Events]");
        }
        let Some((kind, rest)) = line.split_once(':').filter(|_| in_events) else {
            continue;
        };
        if kind.eq_ignore_ascii_case("format") {
            let names = rest.split(',');
            fields = names.map(|name| name.trim().to_ascii_lowercase()).collect();
        } else if kind.eq_ignore_ascii_case("dialogue") {
            match dialogue(&fields, rest) {
                Some((start, end, text)) => {
                    let mut settings = "";
                    let text = markup::ass_to_vtt(text, &mut settings);
                    parsed.push(start, end, settings, &text);
                }
                None => parsed.unreadable += 1,
            }
        }
    }
    parsed
}

/// Returns start, end (both in milliseconds) and text of a `Dialogue:` line.
fn dialogue<'a>(fields: &[String], values: &'a str) -> Option<(u64, u64, &'a str)> {
    // The text is the last field and may contain commas.
    let values: Vec<&str> = values.trim_start().splitn(fields.len(), ',').collect();
    let value = |name: &str| {
        let place = fields.iter().position(|field| field == name)?;
        values.get(place).copied()
    };
    let time = |name| read_time(value(name)?.trim());
    Some((time("start")?, time("end")?, value("text")?))
}
