//! Marks within a cue's text. WebVTT has tags of its own and references like HTML's; what it cannot
//! say is taken out, and what only looks like a mark is kept as text.

/// `\an7` to `\an9` are the top of the picture, 4 to 6 its middle.
fn place_of(alignment: char) -> Option<&'static str> {
    match alignment {
        '7'..='9' => Some("line:0"),
        '4'..='6' => Some("line:50%"),
        _ => None,
    }
}

/// Tags that mean the same in SubRip and WebVTT.
fn is_kept(tag: &str) -> bool {
    let name = tag.trim_start_matches('/').trim();
    matches!(name.to_ascii_lowercase().as_str(), "i" | "b" | "u")
}

/// A mark of some sort, not a sign in the text: `<i>`, `</font>`, `<font color="#fff">`.
fn is_tag(tag: &str) -> bool {
    let name = tag.strip_prefix('/').unwrap_or(tag);
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && !tag.contains('<')
}

/// `&amp;` and its like, as it is.
fn reference(text: &str) -> Option<&str> {
    ["&amp;", "&lt;", "&gt;", "&nbsp;", "&lrm;", "&rlm;"]
        .into_iter()
        .find(|known| text.starts_with(known))
}

/// SubRip's text, whose marks are HTML's and, in braces, those of ASS.
pub fn srt_to_vtt(text: &str, settings: &mut &'static str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '<' => match rest[1..].split_once('>') {
                Some((tag, _)) if is_tag(tag) => {
                    if is_kept(tag) {
                        out.push_str(&format!("<{}>", tag.trim().to_ascii_lowercase()));
                    }
                    taken = tag.len() + 2;
                }
                _ => out.push_str("&lt;"),
            },
            '{' if rest[1..].starts_with('\\') => match rest.split_once('}') {
                Some((block, _)) => {
                    overrides(block, settings);
                    taken = block.len() + 1;
                }
                None => out.push('{'),
            },
            '&' => match reference(rest) {
                Some(known) => {
                    out.push_str(known);
                    taken = known.len();
                }
                None => out.push_str("&amp;"),
            },
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// What the overrides of a block say of the place.
fn overrides<'a>(block: &'a str, settings: &mut &'static str) -> Vec<&'a str> {
    let all: Vec<&str> = block.trim_start_matches('{').split('\\').collect();
    for one in &all {
        if let Some(place) = one
            .strip_prefix("an")
            .and_then(|number| number.chars().next())
            .and_then(place_of)
        {
            *settings = place;
        }
    }
    all
}

/// The text of an ASS event. Drawings are no text.
pub fn ass_to_vtt(text: &str, settings: &mut &'static str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<char> = Vec::new();
    let mut draws = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '{' => match rest.split_once('}') {
                Some((block, _)) => {
                    for one in overrides(block, settings) {
                        apply(one, &mut open, &mut draws, &mut out);
                    }
                    taken = block.len() + 1;
                }
                None => out.push('{'),
            },
            _ if draws => {}
            '\\' => match rest[1..].chars().next() {
                Some('N' | 'n') => {
                    out.push('\n');
                    taken = 2;
                }
                Some('h') => {
                    out.push_str("&nbsp;");
                    taken = 2;
                }
                _ => out.push('\\'),
            },
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    while let Some(tag) = open.pop() {
        out.push_str(&format!("</{tag}>"));
    }
    // WebVTT ends a cue at an empty line.
    let lines = out.lines().filter(|line| !line.trim().is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// `i1`, `b0`, `p1`; all others say nothing that WebVTT could.
fn apply(one: &str, open: &mut Vec<char>, draws: &mut bool, out: &mut String) {
    let mut chars = one.trim().chars();
    let (Some(mark), value) = (chars.next(), chars.as_str()) else {
        return;
    };
    let Ok(value) = value.parse::<u32>() else {
        return;
    };
    match mark {
        'p' => *draws = value > 0,
        'i' | 'b' | 'u' if value > 0 && !open.contains(&mark) => {
            open.push(mark);
            out.push_str(&format!("<{mark}>"));
        }
        'i' | 'b' | 'u' if value == 0 && open.contains(&mark) => {
            // Tags close in the order of their nesting; what is closed too early is opened again.
            let mut again = Vec::new();
            while let Some(tag) = open.pop() {
                out.push_str(&format!("</{tag}>"));
                if tag == mark {
                    break;
                }
                again.push(tag);
            }
            for tag in again.into_iter().rev() {
                open.push(tag);
                out.push_str(&format!("<{tag}>"));
            }
        }
        _ => {}
    }
}

/// WebVTT's text as SubRip has it: its own tags go, references become the signs they stand for.
pub fn vtt_to_srt(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '<' => match rest[1..].split_once('>') {
                Some((tag, _)) => {
                    if is_kept(tag) {
                        out.push_str(&format!("<{tag}>"));
                    }
                    taken = tag.len() + 2;
                }
                None => out.push('<'),
            },
            '&' => match reference(rest) {
                Some(known) => {
                    out.push_str(match known {
                        "&amp;" => "&",
                        "&lt;" => "<",
                        "&gt;" => ">",
                        "&nbsp;" => "\u{a0}",
                        "&lrm;" => "\u{200e}",
                        _ => "\u{200f}",
                    });
                    taken = known.len();
                }
                None => out.push('&'),
            },
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}
