//! Languages and titles from inside media files: checked before they become part of a name, a header or
//! a playlist.

use isolang::Language;

/// Bibliographic codes (ISO 639-2/B), which isolang lacks, with their ISO 639-1 codes.
const BIBLIOGRAPHIC: [(&str, &str); 20] = [
    ("alb", "sq"),
    ("arm", "hy"),
    ("baq", "eu"),
    ("bur", "my"),
    ("chi", "zh"),
    ("cze", "cs"),
    ("dut", "nl"),
    ("fre", "fr"),
    ("geo", "ka"),
    ("ger", "de"),
    ("gre", "el"),
    ("ice", "is"),
    ("mac", "mk"),
    ("mao", "mi"),
    ("may", "ms"),
    ("per", "fa"),
    ("rum", "ro"),
    ("slo", "sk"),
    ("tib", "bo"),
    ("wel", "cy"),
];
/// Languages whose subtitles are named with the bibliographic code. The names are addresses that players
/// keep, so this list is frozen.
const NAMED_BIBLIOGRAPHIC: [&str; 11] = [
    "eu", "hy", "is", "ka", "mi", "mk", "ms", "my", "nl", "sq", "zh",
];
/// Code that ISO 639-1 has withdrawn.
const WITHDRAWN: &str = "sh";
/// Names of languages, in lower case, as people write them into file names and titles, behind the code.
const NAMES: &str = "en english|fr french francais français|de german deutsch|es spanish espanol español castellano|it italian italiano|pt portuguese portugues português|nl dutch nederlands|sv swedish svenska|no norwegian norsk|da danish dansk|fi finnish suomi|is icelandic|pl polish polski|cs czech cesky česky čeština|sk slovak slovencina slovenčina|hu hungarian magyar|ro romanian romana română|bg bulgarian български|ru russian русский|uk ukrainian українська|sr serbian srpski|hr croatian hrvatski|bs bosnian|sl slovenian slovene|mk macedonian|sq albanian|el greek ελληνικά|tr turkish türkçe turkce|ar arabic العربية|he hebrew עברית|fa persian farsi|hi hindi|bn bengali|ta tamil|te telugu|ml malayalam|ur urdu|th thai ไทย|vi vietnamese|id indonesian|ms malay|zh chinese 中文 简体 繁體 简体中文 繁體中文|ja japanese 日本語|ko korean 한국어|et estonian|lv latvian|lt lithuanian|ca catalan català|eu basque|gl galician|cy welsh|ga irish|la latin|ka georgian|hy armenian|kk kazakh|az azerbaijani|mn mongolian|af afrikaans|sw swahili";
/// Codes of ISO 639-2 that have none in ISO 639-1, of languages in which films are subtitled. Any other
/// word of three letters is a word, not a code.
const LONG_ONLY: [&str; 16] = [
    "ast", "ceb", "chr", "cmn", "fil", "fur", "gsw", "haw", "hsb", "mis", "mul", "nds", "scn",
    "und", "yue", "zxx",
];
/// Code of an unknown language.
pub const UNDETERMINED: &str = "und";
/// Longest title, in characters.
const MAX_TITLE: usize = 80;

/// Returns the ISO 639-1 code of a code of three letters, if it has one.
fn two_letters(code: &str) -> Option<&'static str> {
    let bibliographic = BIBLIOGRAPHIC.iter().find(|(three, _)| *three == code);
    bibliographic
        .map(|(_, two)| *two)
        .or_else(|| Language::from_639_3(code)?.to_639_1())
        .filter(|two| *two != WITHDRAWN)
}

/// Returns whether a code is one of ISO 639-1.
fn is_two_letters(code: &str) -> bool {
    code != WITHDRAWN && Language::from_639_1(code).is_some()
}

/// Returns the primary subtag of a tag in lower case, if it is well formed.
fn primary(tag: &str) -> Option<String> {
    let primary = tag.split(['-', '_']).next()?.to_ascii_lowercase();
    let plausible =
        matches!(primary.len(), 2 | 3) && primary.bytes().all(|byte| byte.is_ascii_lowercase());
    plausible.then_some(primary)
}

/// Returns the BCP-47 tag for a file's language tag, with the shortest code; `und` if it is malformed.
/// Well-formed subtags of script and region are kept.
#[must_use]
pub fn bcp47(tag: &str) -> String {
    let Some(language) = primary(tag).filter(|language| language != UNDETERMINED) else {
        return UNDETERMINED.to_owned();
    };
    let mut result = two_letters(&language).map_or(language, str::to_owned);
    for subtag in tag.split(['-', '_']).skip(1).take(2) {
        let letters = subtag.bytes().all(|byte| byte.is_ascii_alphabetic());
        let digits = subtag.bytes().all(|byte| byte.is_ascii_digit());
        if (letters && matches!(subtag.len(), 2 | 4)) || (digits && subtag.len() == 3) {
            result.push('-');
            result.push_str(subtag);
        } else {
            break;
        }
    }
    result
}

/// Returns the language that a word in lower case names: by a code of ISO 639-1 or 639-2 (/B or /T), which
/// script and region may follow, or by its name.
#[must_use]
pub fn of_word(word: &str) -> Option<String> {
    let is_code = primary(word).is_some_and(|code| {
        two_letters(&code).is_some() || is_two_letters(&code) || LONG_ONLY.contains(&code.as_str())
    });
    let rest = word.split_once(['-', '_']).map(|(_, rest)| rest);
    if is_code && rest.is_none_or(|rest| bcp47(word).split('-').count() > 1 && !rest.is_empty()) {
        return Some(bcp47(&canonical(word)));
    }
    let mut names = NAMES.split('|').filter_map(|entry| entry.split_once(' '));
    names
        .find(|(_, names)| names.split(' ').any(|name| name == word))
        .map(|(code, _)| code.to_owned())
}

/// Returns a tag in BCP-47's spelling: `pt-br` becomes `pt-BR`, `zh_hant` becomes `zh-Hant`.
fn canonical(word: &str) -> String {
    let subtags = word.split(['-', '_']).enumerate().map(|(at, subtag)| {
        let mut chars = subtag.chars();
        match (at, subtag.len(), chars.next()) {
            (1.., 2, _) => subtag.to_ascii_uppercase(),
            (1.., 4, Some(first)) => first.to_ascii_uppercase().to_string() + chars.as_str(),
            _ => subtag.to_owned(),
        }
    });
    subtags.collect::<Vec<_>>().join("-")
}

/// Returns the language of a stream: that of its tag, or otherwise one that its title names.
#[must_use]
pub fn of_stream(tag: &str, title: &str) -> String {
    let said = bcp47(tag);
    if said != UNDETERMINED {
        return said;
    }
    let title = title.to_lowercase();
    let mut words = title.split(|c: char| !c.is_alphanumeric());
    // Short codes are words in many languages, so a title must contain a name.
    words
        .find_map(|word| of_word(word).filter(|_| word.chars().count() > 3))
        .unwrap_or(said)
}

/// Returns the English name of a BCP-47 tag, with script and region as they are: `Portuguese (BR)`. `None` for a
/// language that has no well-known name here.
#[must_use]
pub fn readable(tag: &str) -> Option<String> {
    let mut subtags = tag.splitn(2, '-');
    let code = subtags.next()?;
    let mut names = NAMES.split('|').filter_map(|entry| entry.split_once(' '));
    let (_, words) = names.find(|(known, _)| *known == code)?;
    let word = words.split(' ').next()?;
    let mut letters = word.chars();
    let name = letters
        .next()?
        .to_uppercase()
        .chain(letters)
        .collect::<String>();
    Some(match subtags.next() {
        Some(rest) => format!("{name} ({rest})"),
        None => name,
    })
}

/// Returns the code of three letters for names of subtitle files, as media libraries expect them.
#[must_use]
pub fn three_letters(tag: &str) -> String {
    let Some(language) = primary(tag) else {
        return UNDETERMINED.to_owned();
    };
    if language.len() == 3 {
        return language;
    }
    let language = language.as_str();
    let bibliographic = BIBLIOGRAPHIC
        .iter()
        .filter(|_| NAMED_BIBLIOGRAPHIC.contains(&language))
        .find(|(_, two)| *two == language);
    bibliographic
        .map(|(three, _)| *three)
        .or_else(|| Some(Language::from_639_1(language)?.to_639_3()))
        .filter(|_| language != WITHDRAWN)
        .unwrap_or(UNDETERMINED)
        .to_owned()
}

/// Returns a title that fits a quoted string of a playlist: one line, without quotes, of bounded length.
#[must_use]
pub fn clean_title(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            '"' => '\'',
            c if c.is_control() || is_invisible(c) => ' ',
            c => c,
        })
        .take(MAX_TITLE)
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether a character is a line separator, or changes the direction of the text behind it.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_become_short_and_odd_ones_are_undetermined() {
        for (tag, expected) in [
            ("eng", "en"),
            ("fre", "fr"),
            ("fra", "fr"),
            ("en", "en"),
            ("pt-BR", "pt-BR"),
            ("zh_Hant", "zh-Hant"),
            ("gsw", "gsw"),
            ("und", "und"),
            ("", "und"),
            ("../../x", "und"),
            ("e\"n", "und"),
            ("en\n#EXT", "und"),
            ("English", "und"),
            ("en-\"x", "en"),
        ] {
            assert_eq!(bcp47(tag), expected, "{tag:?}");
        }
        for (word, expected) in [
            ("en", Some("en")),
            ("ger", Some("de")),
            ("deu", Some("de")),
            ("cze", Some("cs")),
            ("pt-br", Some("pt-BR")),
            ("zh_hant", Some("zh-Hant")),
            ("es-419", Some("es-419")),
            ("english", Some("en")),
            ("français", Some("fr")),
            ("fil", Some("fil")),
            ("und", Some("und")),
            ("cut", None),
            ("en-", None),
            ("x264", None),
            ("2160p", None),
        ] {
            assert_eq!(of_word(word).as_deref(), expected, "{word:?}");
        }
        assert_eq!(of_stream("und", "English (SDH)"), "en");
        assert_eq!(of_stream("", "No time to lose"), "und");
        assert_eq!(of_stream("fre", "English"), "fr");
        assert_eq!(three_letters("en"), "eng");
        assert_eq!(three_letters("spa"), "spa");
        assert_eq!(three_letters("a/b"), "und");
    }

    /// Names of subtitles and tags in playlists come from these codes: none may change.
    #[test]
    fn codes_of_both_lists_are_what_they_always_were() {
        const CODES: &str = "aar aa|abk ab|afr af|aka ak|alb sq|sqi sq|amh am|ara ar|arg an|arm hy|hye hy|asm as|ava av|ave ae|aym ay|aze az|bak ba|bam bm|baq eu|eus eu|bel be|ben bn|bis bi|bod bo|tib bo|bos bs|bre br|bul bg|bur my|mya my|cat ca|ces cs|cze cs|cha ch|che ce|chi zh|zho zh|chu cu|chv cv|cor kw|cos co|cre cr|cym cy|wel cy|dan da|deu de|ger de|div dv|dut nl|nld nl|dzo dz|ell el|gre el|eng en|epo eo|est et|ewe ee|fao fo|fas fa|per fa|fij fj|fin fi|fra fr|fre fr|fry fy|ful ff|geo ka|kat ka|gla gd|gle ga|glg gl|glv gv|grn gn|guj gu|hat ht|hau ha|heb he|her hz|hin hi|hmo ho|hrv hr|hun hu|ibo ig|ice is|isl is|ido io|iii ii|iku iu|ile ie|ina ia|ind id|ipk ik|ita it|jav jv|jpn ja|kal kl|kan kn|kas ks|kau kr|kaz kk|khm km|kik ki|kin rw|kir ky|kom kv|kon kg|kor ko|kua kj|kur ku|lao lo|lat la|lav lv|lim li|lin ln|lit lt|ltz lb|lub lu|lug lg|mac mk|mkd mk|mah mh|mal ml|mao mi|mri mi|mar mr|may ms|msa ms|mlg mg|mlt mt|mon mn|nau na|nav nv|nbl nr|nde nd|ndo ng|nep ne|nno nn|nob nb|nor no|nya ny|oci oc|oji oj|ori or|orm om|oss os|pan pa|pli pi|pol pl|por pt|pus ps|que qu|roh rm|ron ro|rum ro|run rn|rus ru|sag sg|san sa|sin si|slk sk|slo sk|slv sl|sme se|smo sm|sna sn|snd sd|som so|sot st|spa es|srd sc|srp sr|ssw ss|sun su|swa sw|swe sv|tah ty|tam ta|tat tt|tel te|tgk tg|tgl tl|tha th|tir ti|ton to|tsn tn|tso ts|tuk tk|tur tr|twi tw|uig ug|ukr uk|urd ur|uzb uz|ven ve|vie vi|vol vo|wln wa|wol wo|xho xh|yid yi|yor yo|zha za|zul zu";
        let pairs = || CODES.split('|').filter_map(|pair| pair.split_once(' '));
        for (three, two) in pairs() {
            let (first, _) = pairs().find(|(_, known)| *known == two).unwrap();
            assert_eq!(bcp47(three), two, "{three}");
            assert_eq!(of_word(three).as_deref(), Some(two), "{three}");
            assert_eq!(of_word(two).as_deref(), Some(two), "{two}");
            assert_eq!(three_letters(two), first, "{two}");
        }
        let letters = || b'a'..=b'z';
        for code in letters().flat_map(|a| letters().map(move |b| [a, b])) {
            let code = std::str::from_utf8(&code).unwrap();
            let known = pairs().any(|(_, two)| two == code);
            assert_eq!(of_word(code).is_some(), known, "{code}");
            assert_eq!(three_letters(code) != UNDETERMINED, known, "{code}");
        }
        assert_eq!(bcp47("hbs"), "hbs");
        // A language of ISO 639-3, and a word.
        assert_eq!(of_word("cut"), None);
    }

    #[test]
    fn languages_have_names_that_people_read() {
        for (tag, expected) in [
            ("en", Some("English")),
            ("pt-BR", Some("Portuguese (BR)")),
            ("zh-Hant", Some("Chinese (Hant)")),
            ("de", Some("German")),
            ("und", None),
            ("gsw", None),
        ] {
            assert_eq!(readable(tag).as_deref(), expected, "{tag}");
        }
    }

    #[test]
    fn titles_stay_on_one_line_and_have_no_quotes() {
        assert_eq!(
            clean_title("a\"b\r\n#EXT-X-KEY\u{202e}c"),
            "a'b #EXT-X-KEY c"
        );
        assert_eq!(clean_title(&"x".repeat(500)).len(), MAX_TITLE);
    }
}
