//! (Advanced) SubStation Alpha: the part of its `[Events]` that WebVTT can express. The text itself is
//! kept for players that want the styles.

use super::cues::{ParsedCues, read_time};
use super::markup;
use super::work::ReadingWork;

/// Fields of a `Dialogue:` line if no `Format:` line names them.
const FIELDS: [&str; 10] = [
    "layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text",
];

/// Fields of a `Format:` line that are looked at; real files have ten.
const MAX_FIELDS: usize = 64;

/// Reads the `Dialogue:` lines of an ASS text.
pub fn parse(text: &str, parsed: &mut ParsedCues, work: &mut ReadingWork) {
    let mut columns = Columns::named(FIELDS.into_iter());
    let mut in_events = false;
    for line in text.lines().map(str::trim) {
        work.step(line.len() + 1);
        if work.stopped().is_some() {
            return;
        }
        if line.starts_with('[') {
            in_events = line.eq_ignore_ascii_case("[Events]");
        }
        let Some((kind, rest)) = line.split_once(':').filter(|_| in_events) else {
            continue;
        };
        if kind.eq_ignore_ascii_case("format") {
            columns = Columns::named(rest.split(',').take(MAX_FIELDS));
        } else if kind.eq_ignore_ascii_case("dialogue") {
            match columns.dialogue(rest) {
                Some((_, _, text)) if ParsedCues::is_too_long(text) => parsed.left_out += 1,
                Some((start, end, text)) => {
                    let mut settings = "";
                    let text = markup::ass_to_vtt(text, &mut settings, work);
                    parsed.push(start, end, settings, &text);
                }
                None => parsed.unreadable += 1,
            }
        }
    }
}

/// Columns of a `Dialogue:` line that matter. They are looked up once for each `Format:` line, so that
/// reading stays linear in the size of the text.
struct Columns {
    count: usize,
    start: Option<usize>,
    end: Option<usize>,
    text: Option<usize>,
}

impl Columns {
    fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut columns = Self {
            count: 0,
            start: None,
            end: None,
            text: None,
        };
        for (at, name) in names.enumerate() {
            columns.count = at + 1;
            let name = name.trim();
            for (wanted, column) in [
                ("start", &mut columns.start),
                ("end", &mut columns.end),
                ("text", &mut columns.text),
            ] {
                if name.eq_ignore_ascii_case(wanted) {
                    column.get_or_insert(at);
                }
            }
        }
        columns
    }

    /// Returns start, end (both in milliseconds) and text of a `Dialogue:` line.
    fn dialogue<'a>(&self, values: &'a str) -> Option<(u64, u64, &'a str)> {
        // The text is the last field and may contain commas.
        let values: Vec<&str> = values.trim_start().splitn(self.count, ',').collect();
        let value = |column: Option<usize>| values.get(column?).copied();
        let time = |column| read_time(value(column)?.trim());
        Some((time(self.start)?, time(self.end)?, value(self.text)?))
    }
}
