//! Names of subtitle files, by the rules that media libraries share: the film's name is followed by
//! words between dots, which are read from the right. The words are Jellyfin's, and Plex and Kodi know
//! some of them: `default`, `forced`, `foreign`, `sdh`, `cc`, `hi`, a language. Any other is a title.

use crate::media::inspect::language;
use crate::media::inspect::unique::UniqueTexts;
use crate::model::{Name, folded};

/// Extensions of text subtitles, in lower case.
const EXTENSIONS: [&[u8]; 4] = [b"srt", b"vtt", b"ass", b"ssa"];

/// Returns whether a name is that of a text subtitle file, by its extension in upper or lower case.
#[must_use]
pub fn is_subtitle_name(name: &Name) -> bool {
    let (_, extension) = name.split_extension();
    EXTENSIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(extension))
}

/// Meaning of a subtitle file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtitleFileName {
    /// BCP-47; `und` if the name has no language.
    pub language: String,
    /// Words without another meaning.
    pub title: String,
    pub default: bool,
    pub forced: bool,
    pub hearing_impaired: bool,
}

impl SubtitleFileName {
    /// Reads a name without knowing the film: everything after the first dot counts as words.
    #[must_use]
    pub fn of(name: &Name) -> Self {
        let (stem, _) = name.split_extension();
        let stem = String::from_utf8_lossy(stem);
        Self::read(stem.split_once('.').map_or("", |(_, words)| words))
    }

    /// Reads a name such as `film.eng.forced.srt` beside a film with the stem `film`. `None` if the name
    /// does not begin with what reads as the stem.
    #[must_use]
    pub fn beside(film_stem: &[u8], name: &Name) -> Option<Self> {
        let (stem, _) = name.split_extension();
        let words = folded::behind(film_stem, stem)?;
        let words = String::from_utf8_lossy(words);
        Some(Self::read(words.strip_prefix('.').unwrap_or_default()))
    }

    fn read(words: &str) -> Self {
        const HINDI: &str = "hi";
        let mut found: Option<String> = None;
        let mut title: Vec<&str> = Vec::new();
        let (mut default, mut forced, mut hearing_impaired) = (false, false, false);
        for word in words.rsplit('.').filter(|word| !word.is_empty()) {
            let small = word.to_lowercase();
            let known = language::of_word(&small);
            if small.contains("default") {
                default = true;
            } else if small.contains("forced") || small.contains("foreign") {
                forced = true;
            } else if known.is_some() && found.is_none() {
                found = known;
            } else if known.is_some() && found.as_deref() == Some(HINDI) {
                // In `eng.hi` the language is English, so `hi` means hearing impaired, not Hindi.
                hearing_impaired = true;
                found = known;
            } else if matches!(small.as_str(), "cc" | "hi" | "sdh") {
                hearing_impaired = true;
            } else {
                title.push(word);
            }
        }
        title.reverse();
        Self {
            language: found.unwrap_or_else(|| language::UNDETERMINED.to_owned()),
            title: language::clean_title(&title.join(".")),
            default,
            forced,
            hearing_impaired,
        }
    }
}

/// Flags that a subtitle's key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubtitleFlags {
    pub forced: bool,
    pub hearing_impaired: bool,
}

/// Keys of the subtitles of one film. A key is the stem of a subtitle's direct view: `eng`, `spa.forced`,
/// `eng.sdh`, then `eng.2`, the way media libraries read file names.
#[derive(Debug, Default)]
pub struct SubtitleKeys(UniqueTexts);

impl SubtitleKeys {
    /// Takes a key for a subtitle whose language has the three letters `code`.
    pub fn take(&mut self, code: String, flags: SubtitleFlags) -> String {
        let mut base = code;
        if flags.forced {
            base.push_str(".forced");
        }
        if flags.hearing_impaired {
            base.push_str(".sdh");
        }
        self.0
            .take(&base, |base, number| format!("{base}.{number}"))
    }

    /// Notes a key that another subtitle has.
    pub fn reserve(&mut self, key: &str) {
        self.0.reserve(key);
    }
}
