//! Strings of records as they are read. Without a passphrase, whoever may write to the store writes the
//! records, and their strings go into playlists, headers, paths and listings.

use serde::{Deserialize, Serialize};

use super::form::StoredForm;

/// Defines strings of records that pass a check as they are read. Their bytes are those of a string.
macro_rules! checked_strings {
    ($($(#[$doc:meta])* $name:ident by $check:ident;)*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl StoredForm<String> for $name {
            fn of(value: &String) -> Self {
                Self(value.clone())
            }
            fn restore(self) -> String {
                $check(self.0)
            }
        })*
    };
}

checked_strings!(
    /// One line.
    LineText by line;
    /// One line without quotes.
    QuotedText by quoted;
    /// A name of a codec, a language or an encoding.
    TokenText by token;
    /// A component of a path.
    ComponentText by component;
    /// A relative path.
    PathText by path;
);

/// Longest text in characters: a title, or a reason.
const MAX_TEXT: usize = 4096;
/// Longest name of a codec, a language or an encoding in characters.
const MAX_TOKEN: usize = 128;

/// Returns one line of text.
pub(super) fn line(text: String) -> String {
    let is_fine = |c: char| !c.is_control() && !is_invisible(c);
    if text.len() <= MAX_TEXT && text.chars().all(is_fine) {
        return text;
    }
    let chars = text.chars().take(MAX_TEXT);
    chars.map(|c| if is_fine(c) { c } else { ' ' }).collect()
}

/// Returns one line of text that fits a quoted string.
pub(super) fn quoted(text: String) -> String {
    match text.contains('"') {
        true => line(text.replace('"', "'")),
        false => line(text),
    }
}

/// Returns a name of a codec, a language or an encoding, without characters that no such name has.
pub(super) fn token(text: String) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._-+/,:".contains(c);
    if text.len() <= MAX_TOKEN && text.chars().all(is_fine) {
        return text;
    }
    text.chars()
        .filter(|c| is_fine(*c))
        .take(MAX_TOKEN)
        .collect()
}

/// Returns a component of a path that needs no escape anywhere.
pub(super) fn component(text: String) -> String {
    let is_fine = |c: char| {
        !c.is_control() && !is_invisible(c) && !c.is_whitespace() && !"/\\\"'<>%?#&".contains(c)
    };
    let is_name = !matches!(text.as_str(), "" | "." | "..");
    if is_name && text.len() <= MAX_TOKEN && text.chars().all(is_fine) {
        return text;
    }
    let kept: String = text
        .chars()
        .filter(|c| is_fine(*c))
        .take(MAX_TOKEN / 4)
        .collect();
    match kept.trim_matches('.') {
        "" => "und".to_owned(),
        kept => kept.to_owned(),
    }
}

/// Returns a relative path whose components need no escape but for spaces.
fn path(text: String) -> String {
    let is_fine = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part
                .chars()
                .any(|c| c.is_control() || is_invisible(c) || c == '"')
    };
    if text.len() <= MAX_TEXT && text.split('/').all(is_fine) {
        return text;
    }
    component(text)
}

/// Returns whether a character separates lines or changes the direction of the text behind it.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "avc1.640028\"\n#EXT-X-MEDIA:URI=\"http://evil/\u{202e}\u{1b}[2J";

    #[test]
    fn strings_lose_what_could_leave_their_place() {
        for clean in [
            line(HOSTILE.to_owned()),
            quoted(HOSTILE.to_owned()),
            token(HOSTILE.to_owned()),
            component(HOSTILE.to_owned()),
        ] {
            assert!(!clean.contains(['\n', '\u{1b}', '\u{202e}']), "{clean:?}");
        }
        assert!(!quoted(HOSTILE.to_owned()).contains('"'));
        assert!(!token(HOSTILE.to_owned()).contains(['"', '#', '=']));
        assert!(!component("a/../b".to_owned()).contains('/'));
        for bad in ["", ".", "..", "///", "\n"] {
            assert_eq!(component(bad.to_owned()), "und", "{bad:?}");
        }
        let long = "x".repeat(1_000_000);
        assert!(line(long.clone()).len() <= MAX_TEXT);
        assert!(component(long.clone()).len() <= MAX_TOKEN && token(long).len() <= MAX_TOKEN);
    }

    /// A form that does not check would let a store write lines of playlists.
    #[test]
    fn every_form_checks_as_it_is_read() {
        fn restored<F: StoredForm<String>>() -> String {
            F::of(&HOSTILE.to_owned()).restore()
        }
        for clean in [
            restored::<LineText>(),
            restored::<QuotedText>(),
            restored::<TokenText>(),
            restored::<ComponentText>(),
            restored::<PathText>(),
        ] {
            assert!(!clean.contains(['\n', '\u{1b}', '\u{202e}']), "{clean:?}");
        }
    }

    #[test]
    fn honest_strings_stay() {
        for text in ["Commentary by the director", "Français (forcé)", "日本語"] {
            assert_eq!(quoted(text.to_owned()), text);
        }
        for text in [
            "avc1.640028",
            "mp4a.40.2",
            "dvh1.08.06/db1p",
            "pt-BR",
            "windows-1252",
        ] {
            assert_eq!(token(text.to_owned()), text);
        }
        for text in ["eng", "eng.forced", "spa.sdh-2"] {
            assert_eq!(component(text.to_owned()), text);
        }
    }
}
