//! Names compared as people read them: upper and lower case are the same, and so are the two ways in
//! which Unicode writes `ü`. macOS takes letters and accents apart (NFD), all other systems join them (NFC).

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::compose;

/// The folded form of a name that is valid UTF-8: canonically decomposed, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedText(Vec<char>);

impl FoldedText {
    /// Folds a text; `None` if it is not UTF-8.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Self(text.nfd().flat_map(char::to_lowercase).collect()))
    }

    /// Returns the folded characters.
    #[must_use]
    pub fn chars(&self) -> &[char] {
        &self.0
    }

    /// Returns the characters with which an unfolded text may go on that folds to the characters from
    /// `at` on, and how many of these each one stands for.
    #[must_use]
    pub fn written(&self, at: usize) -> Vec<WrittenChar> {
        let Some((&first, marks)) = self.0.get(at..).and_then(<[char]>::split_first) else {
            return Vec::new();
        };
        let mut upper = first.to_uppercase();
        let upper = match (upper.next(), upper.next()) {
            (Some(upper), None) if upper != first => Some(upper),
            _ => None,
        };
        let mut found = Vec::new();
        for letter in [Some(first), upper].into_iter().flatten() {
            let mut joined = Some(letter);
            let mut marks = marks.iter();
            let mut folds_to = 0;
            while let Some(written) = joined {
                folds_to += 1;
                found.push(WrittenChar { written, folds_to });
                joined = marks.next().and_then(|&mark| compose(written, mark));
            }
        }
        found
    }
}

/// A character of an unfolded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenChar {
    pub written: char,
    /// Number of folded characters that it stands for.
    pub folds_to: usize,
}

/// Returns whether two names read the same. Bytes that are not UTF-8 must be equal.
#[must_use]
pub fn reads_as(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    match (a.is_ascii(), b.is_ascii()) {
        (true, true) => a.eq_ignore_ascii_case(b),
        _ => FoldedText::of(a).is_some_and(|a| FoldedText::of(b) == Some(a)),
    }
}

/// Returns the text in lower case with each accent joined to its letter (NFC), as addresses show it.
#[must_use]
pub fn joined_lower_case(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

/// Returns what follows in `name` behind a beginning that reads as `stem`: nothing, or a dot and more.
/// `None` if it does not begin so.
#[must_use]
pub fn behind<'a>(stem: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    // A dot folds to itself and nothing else folds to a dot, so equal texts have equally many.
    let dots = stem.iter().filter(|&&byte| byte == b'.').count();
    let mut at = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
    let end = at.nth(dots).map_or(name.len(), |(at, _)| at);
    let (start, rest) = name.split_at(end);
    reads_as(stem, start).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOINED: &str = "\u{dc}n\u{ef}";
    const APART: &str = "U\u{308}ni\u{308}";

    #[test]
    fn case_and_normal_form_do_not_count() {
        for (a, b) in [
            (JOINED, APART),
            ("film", "FILM"),
            (APART, "\u{fc}N\u{cf}"),
            (
                "\u{d55c}\u{ae00}",
                "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}",
            ),
            ("\u{1ead}", "A\u{323}\u{302}"),
            ("\u{416}", "\u{436}"),
        ] {
            assert!(reads_as(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        assert!(!reads_as(b"film", b"films"));
        assert!(!reads_as("u".as_bytes(), "\u{fc}".as_bytes()));
        // Bytes that are no text are only like themselves.
        assert!(reads_as(b"\xff", b"\xff"));
        assert!(!reads_as(b"\xffa", b"\xffA"));
    }

    #[test]
    fn what_follows_a_stem_keeps_its_own_case() {
        assert_eq!(behind(b"heat", b"Heat.Eng"), Some(&b".Eng"[..]));
        assert_eq!(behind(b"heat.cut", b"Heat.CUT"), Some(&b""[..]));
        assert_eq!(behind(b"heat", b"heats.eng"), None);
        assert_eq!(behind(b"heat.cut", b"heat"), None);
        let name = format!("{APART}.de");
        assert_eq!(
            behind(JOINED.as_bytes(), name.as_bytes()),
            Some(&b".de"[..])
        );
    }

    #[test]
    fn every_way_to_write_a_folded_text_is_found() {
        let folded = FoldedText::of(JOINED.as_bytes()).unwrap();
        let first: Vec<(char, usize)> = folded
            .written(0)
            .into_iter()
            .map(|one| (one.written, one.folds_to))
            .collect();
        assert_eq!(first, [('u', 1), ('\u{fc}', 2), ('U', 1), ('\u{dc}', 2)]);
        assert!(folded.written(folded.chars().len()).is_empty());
    }
}
