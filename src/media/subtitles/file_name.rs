//! What the name of a subtitle file says, by the rules that media libraries share: behind the film's
//! name stand words between dots, read from the right. Jellyfin's words, of which Plex and Kodi know
//! a part: `default`, `forced`, `foreign`, `sdh`, `cc`, `hi`, a language; all else is a title.

use crate::media::inspect::language;
use crate::model::Name;

/// Text forms that join a playlist.
const EXTENSIONS: [&[u8]; 4] = [b"srt", b"vtt", b"ass", b"ssa"];

/// Whether a name promises text subtitles, by the extension in any case.
#[must_use]
pub fn is_subtitle_name(name: &Name) -> bool {
    let (_, extension) = name.split_extension();
    EXTENSIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(extension))
}

/// What the words say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtitleFileName {
    /// BCP-47, or `und`.
    pub language: String,
    pub title: String,
    pub default: bool,
    pub forced: bool,
    pub hearing_impaired: bool,
}

impl SubtitleFileName {
    /// Without knowing the film: the whole stem is taken for such words.
    #[must_use]
    pub fn of(name: &Name) -> Self {
        let (stem, _) = name.split_extension();
        let stem = String::from_utf8_lossy(stem);
        Self::read(stem.split_once('.').map_or("", |(_, words)| words))
    }

    /// Of `film.eng.forced.srt` beside `film.mkv`, which has the stem `film`; `None` where the name
    /// does not begin with it.
    #[must_use]
    pub fn beside(film_stem: &[u8], name: &Name) -> Option<Self> {
        let (stem, _) = name.split_extension();
        let words = stem.strip_prefix(film_stem)?;
        let words = match words {
            [] => words,
            [b'.', rest @ ..] => rest,
            _ => return None,
        };
        Some(Self::read(&String::from_utf8_lossy(words)))
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
                // `eng.hi`: there is a language, so the other word was no Hindi.
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

/// `eng`, `spa.forced`, `eng.sdh`, then `eng.2`: the name of a direct view that no other has.
#[must_use]
pub fn key(name: &SubtitleFileName, is_taken: impl Fn(&str) -> bool) -> String {
    let mut base = language::three_letters(&name.language);
    if name.forced {
        base.push_str(".forced");
    }
    if name.hearing_impaired {
        base.push_str(".sdh");
    }
    let mut key = base.clone();
    let mut number = 2;
    while is_taken(&key) {
        key = format!("{base}.{number}");
        number += 1;
    }
    key
}
