//! (Advanced) SubStation Alpha: of its `[Events]` what can be said in WebVTT. Who wants the styles
//! takes the text itself, which is kept.

use super::{Parsed, markup};

/// Fields of a `Dialogue:` line where no `Format:` line says otherwise.
const FIELDS: [&str; 10] = [
    "layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text",
];

pub fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed {
        cues: Vec::new(),
        odd: 0,
    };
    let mut fields: Vec<String> = FIELDS.map(str::to_owned).into();
    let mut in_events = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_events = line.eq_ignore_ascii_case("[Events]");
        }
        let Some((kind, rest)) = line.split_once(':').filter(|_| in_events) else {
            continue;
        };
        match kind.to_ascii_lowercase().as_str() {
            "format" => {
                let names = rest.split(',');
                fields = names.map(|name| name.trim().to_ascii_lowercase()).collect();
            }
            "dialogue" => {
                // The text is the last field, and may hold commas.
                let values: Vec<&str> = rest.trim_start().splitn(fields.len(), ',').collect();
                let value = |name: &str| {
                    let place = fields.iter().position(|field| field == name)?;
                    values.get(place).copied()
                };
                let time = |name| crate::media::subtitles::srt::read_time(value(name)?.trim());
                match (time("start"), time("end"), value("text")) {
                    (Some(start), Some(end), Some(text)) => {
                        let mut settings = "";
                        let text = markup::ass_to_vtt(text, &mut settings);
                        parsed.push(start, end, settings, text);
                    }
                    _ => parsed.odd += 1,
                }
            }
            _ => {}
        }
    }
    parsed
}
