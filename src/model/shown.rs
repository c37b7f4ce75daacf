//! Names as texts. A name is bytes; JSON, logs and terminals take texts, and only some of them.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Bytes that a percent-encoded path does not keep as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Returns bytes as text. A byte that is not UTF-8 becomes `\xE9`, so that it can be told from others.
#[must_use]
pub fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String never fails.
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// Returns the bytes of a path percent-encoded, as they stand in a URL.
#[must_use]
pub fn percent_encoded(path: &[u8]) -> String {
    percent_encode(path, ENCODED).to_string()
}

/// Returns the percent-encoded bytes of a path whose [`readable`] text is not exact. JSON carries them
/// beside the text, in a field whose name ends in `_bytes`.
#[must_use]
pub fn inexact_bytes(path: &[u8]) -> Option<String> {
    std::str::from_utf8(path)
        .is_err()
        .then(|| percent_encoded(path))
}

/// Returns the bytes of a path from both of its fields in JSON.
#[must_use]
pub fn bytes_of(text: &str, encoded: Option<&str>) -> Vec<u8> {
    match encoded {
        Some(encoded) => percent_decode_str(encoded).collect(),
        None => text.as_bytes().to_vec(),
    }
}

/// Escapes what would control a terminal or forge a line of a log: control characters, separators of
/// lines, and characters that turn the direction of the text around them.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if !is_harmful(c) => safe.push(c),
            // Writing to a String never fails.
            c if c.is_ascii() => drop(write!(safe, "\\x{:02x}", u32::from(c))),
            c => drop(write!(safe, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(safe)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_stay_apart_and_come_back() {
        for (bytes, text) in [
            (&b"/caf\xe9.mkv"[..], "/caf\\xE9.mkv"),
            (b"/caf\xe8.mkv", "/caf\\xE8.mkv"),
            (b"\xff\xfe/a", "\\xFF\\xFE/a"),
            ("/café \n.mkv".as_bytes(), "/café \n.mkv"),
        ] {
            let shown = readable(bytes);
            assert_eq!(shown, text);
            let encoded = inexact_bytes(bytes);
            assert_eq!(encoded.is_some(), std::str::from_utf8(bytes).is_err());
            assert_eq!(bytes_of(&shown, encoded.as_deref()), bytes);
        }
        assert_eq!(inexact_bytes(b"/caf\xe9 1").as_deref(), Some("/caf%E9%201"));
    }

    #[test]
    fn no_name_controls_a_terminal_or_forges_a_line() {
        assert_eq!(
            printable("a\n\r\t\u{1b}]0;x\u{7}\u{85}\u{9b}\u{202e}\u{2028}b"),
            "a\\n\\r\\t\\x1b]0;x\\x07\\u{85}\\u{9b}\\u{202e}\\u{2028}b"
        );
        let usual = "Amélie – 千と千尋 👨\u{200d}👩 עברית (1)\\.mkv";
        assert!(matches!(printable(usual), Cow::Borrowed(text) if text == usual));
    }
}
