//! Markup within a cue's text. WebVTT has tags of its own and character references like HTML's. Markup
//! that it cannot express is removed, and text that only looks like markup is kept. Files come from
//! strangers, so each function takes time linear in the length of its text.

use super::work::ReadingWork;

/// Returns the cue setting for an alignment: `\an7` to `\an9` are at the top of the picture, `\an4` to
/// `\an6` in its middle.
fn place_of(alignment: char) -> Option<&'static str> {
    match alignment {
        '7'..='9' => Some("line:0"),
        '4'..='6' => Some("line:50%"),
        _ => None,
    }
}

/// Returns whether a tag means the same in SubRip and WebVTT.
fn is_kept(tag: &str) -> bool {
    let name = tag.trim_start_matches('/').trim();
    matches!(name.to_ascii_lowercase().as_str(), "i" | "b" | "u")
}

/// Returns the tag that `text` begins with, without its brackets: `i`, `/font`, `font color="#fff"`.
/// `None` if the `<` is only a sign in the text.
fn tag_of<'a>(text: &'a str, work: &mut ReadingWork) -> Option<&'a str> {
    let rest = text.strip_prefix('<')?;
    // A tag has no `<` in it, and looking no further keeps the search linear.
    let found = rest.find(['<', '>']);
    work.step(found.unwrap_or(rest.len()));
    let end = found?;
    let tag = rest.get(..end).filter(|_| rest[end..].starts_with('>'))?;
    let name = tag.strip_prefix('/').unwrap_or(tag);
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        .then_some(tag)
}

/// Finds the end of blocks. After one failure there is no end in the rest of the text, and no further
/// search, which would make a text of openers quadratic.
struct BlockEnds {
    end: char,
    exhausted: bool,
}

impl BlockEnds {
    const fn new(end: char) -> Self {
        Self {
            end,
            exhausted: false,
        }
    }

    /// Returns the block that `text` begins with, without its end.
    fn block<'a>(&mut self, text: &'a str, work: &mut ReadingWork) -> Option<&'a str> {
        if self.exhausted {
            return None;
        }
        let found = text.split_once(self.end).map(|(block, _)| block);
        work.step(found.map_or(text.len(), str::len));
        self.exhausted = found.is_none();
        found
    }
}

/// Returns the character reference that `text` begins with.
fn reference(text: &str) -> Option<&str> {
    ["&amp;", "&lt;", "&gt;", "&nbsp;", "&lrm;", "&rlm;"]
        .into_iter()
        .find(|known| text.starts_with(known))
}

/// Returns a SubRip cue as WebVTT. Its tags are those of HTML and, in braces, those of ASS.
pub fn srt_to_vtt(text: &str, settings: &mut &'static str, work: &mut ReadingWork) -> String {
    let mut out = String::with_capacity(text.len());
    let mut braces = BlockEnds::new('}');
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '<' => match tag_of(rest, work) {
                Some(tag) => {
                    if is_kept(tag) {
                        out.push_str(&format!("<{}>", tag.trim().to_ascii_lowercase()));
                    }
                    taken = tag.len() + 2;
                }
                None => out.push_str("&lt;"),
            },
            '{' if rest[1..].starts_with('\\') => match braces.block(rest, work) {
                Some(block) => {
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
        work.step(taken);
        rest = &rest[taken..];
    }
    out
}

/// Returns the overrides of a block, and updates the cue settings from those that set a place.
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

/// Returns the text of an ASS event as WebVTT. Drawings are left out.
pub fn ass_to_vtt(text: &str, settings: &mut &'static str, work: &mut ReadingWork) -> String {
    let mut out = String::with_capacity(text.len());
    let mut braces = BlockEnds::new('}');
    let mut open: Vec<char> = Vec::new();
    let mut draws = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '{' => match braces.block(rest, work) {
                Some(block) => {
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
        work.step(taken);
        rest = &rest[taken..];
    }
    while let Some(tag) = open.pop() {
        out.push_str(&format!("</{tag}>"));
    }
    // WebVTT ends a cue at an empty line.
    let lines = out.lines().filter(|line| !line.trim().is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// Applies an override such as `i1`, `b0` or `p1`. WebVTT has no counterpart of the others.
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
            // WebVTT's tags nest: the tags inside are closed too, and opened again.
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

/// Returns a WebVTT cue as SubRip: tags of WebVTT's own are removed, and character references become
/// the characters they stand for.
pub fn vtt_to_srt(text: &str, work: &mut ReadingWork) -> String {
    let mut out = String::with_capacity(text.len());
    let mut brackets = BlockEnds::new('>');
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '<' => match brackets.block(&rest[1..], work) {
                Some(tag) => {
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
        work.step(taken);
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::CancelFlag;

    type Reader = dyn Fn(&str, &mut ReadingWork);

    /// Returns the steps that a reader takes for `text`.
    fn steps(text: &str, reader: &Reader) -> u64 {
        let mut work = ReadingWork::new(text.len(), CancelFlag::default());
        reader(text, &mut work);
        assert_eq!(work.stopped(), None, "{}", &text[..9]);
        work.steps()
    }

    #[test]
    fn twice_the_text_takes_twice_the_steps() {
        let readers: [&Reader; 3] = [
            &|text, work| drop(srt_to_vtt(text, &mut "", work)),
            &|text, work| drop(ass_to_vtt(text, &mut "", work)),
            &|text, work| drop(vtt_to_srt(text, work)),
        ];
        let openers = [
            "{\\i1",
            "<",
            "<i",
            "</",
            "{",
            "{\\",
            "&",
            "&lt",
            "\\",
            "{\\i1}{\\b1}{\\i0}",
        ];
        for opener in openers {
            for end in ["", ">", "}"] {
                for (number, reader) in readers.iter().enumerate() {
                    let once = steps(&(opener.repeat(20_000) + end), reader);
                    let twice = steps(&(opener.repeat(40_000) + end), reader);
                    assert!(
                        twice <= once * 2 + 16,
                        "reader {number}, {opener:?} and {end:?}: {once}, then {twice}"
                    );
                }
            }
        }
    }

    #[test]
    fn openers_that_are_never_closed_stay_text() {
        let mut work = ReadingWork::new(1 << 20, CancelFlag::default());
        let mut settings = "";
        let out = srt_to_vtt("{\\i1{\\i1", &mut settings, &mut work);
        assert_eq!(out, "{\\i1{\\i1");
        assert_eq!(srt_to_vtt("<<>", &mut settings, &mut work), "&lt;&lt;>");
        assert_eq!(ass_to_vtt("{{", &mut settings, &mut work), "{{");
        assert_eq!(vtt_to_srt("<<", &mut work), "<<");
    }

    #[test]
    fn only_tags_are_taken_for_tags() {
        let mut work = ReadingWork::new(1 << 20, CancelFlag::default());
        for (text, expected) in [
            ("<i>", Some("i")),
            ("</font>", Some("/font")),
            ("<font color=\"#fff\">x", Some("font color=\"#fff\"")),
            ("<3", None),
            ("<3>", None),
            ("<a <b>", None),
            ("< a>", None),
            ("<", None),
        ] {
            assert_eq!(tag_of(text, &mut work), expected, "{text}");
        }
    }
}
