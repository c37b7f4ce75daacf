//! Languages and titles from inside media files: checked before they enter a name, a header or a
//! playlist.

/// ISO 639-2/T (or /B) codes with their ISO 639-1 code; BCP-47 wants the shortest.
const CODES: &str = "aar aa|abk ab|afr af|aka ak|alb sq|sqi sq|amh am|ara ar|arg an|arm hy|hye hy|asm as|ava av|ave ae|aym ay|aze az|bak ba|bam bm|baq eu|eus eu|bel be|ben bn|bis bi|bod bo|tib bo|bos bs|bre br|bul bg|bur my|mya my|cat ca|ces cs|cze cs|cha ch|che ce|chi zh|zho zh|chu cu|chv cv|cor kw|cos co|cre cr|cym cy|wel cy|dan da|deu de|ger de|div dv|dut nl|nld nl|dzo dz|ell el|gre el|eng en|epo eo|est et|ewe ee|fao fo|fas fa|per fa|fij fj|fin fi|fra fr|fre fr|fry fy|ful ff|geo ka|kat ka|gla gd|gle ga|glg gl|glv gv|grn gn|guj gu|hat ht|hau ha|heb he|her hz|hin hi|hmo ho|hrv hr|hun hu|ibo ig|ice is|isl is|ido io|iii ii|iku iu|ile ie|ina ia|ind id|ipk ik|ita it|jav jv|jpn ja|kal kl|kan kn|kas ks|kau kr|kaz kk|khm km|kik ki|kin rw|kir ky|kom kv|kon kg|kor ko|kua kj|kur ku|lao lo|lat la|lav lv|lim li|lin ln|lit lt|ltz lb|lub lu|lug lg|mac mk|mkd mk|mah mh|mal ml|mao mi|mri mi|mar mr|may ms|msa ms|mlg mg|mlt mt|mon mn|nau na|nav nv|nbl nr|nde nd|ndo ng|nep ne|nno nn|nob nb|nor no|nya ny|oci oc|oji oj|ori or|orm om|oss os|pan pa|pli pi|pol pl|por pt|pus ps|que qu|roh rm|ron ro|rum ro|run rn|rus ru|sag sg|san sa|sin si|slk sk|slo sk|slv sl|sme se|smo sm|sna sn|snd sd|som so|sot st|spa es|srd sc|srp sr|ssw ss|sun su|swa sw|swe sv|tah ty|tam ta|tat tt|tel te|tgk tg|tgl tl|tha th|tir ti|ton to|tsn tn|tso ts|tuk tk|tur tr|twi tw|uig ug|ukr uk|urd ur|uzb uz|ven ve|vie vi|vol vo|wln wa|wol wo|xho xh|yid yi|yor yo|zha za|zul zu";
/// Not said.
pub const UNDETERMINED: &str = "und";
/// Longest title, in characters.
const MAX_TITLE: usize = 80;

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    CODES.split('|').filter_map(|pair| pair.split_once(' '))
}

/// The primary subtag of a tag, if it looks like one.
fn primary(tag: &str) -> Option<String> {
    let primary = tag.split(['-', '_']).next()?.to_ascii_lowercase();
    let plausible =
        matches!(primary.len(), 2 | 3) && primary.bytes().all(|byte| byte.is_ascii_lowercase());
    plausible.then_some(primary)
}

/// The BCP-47 tag for what a file says, `und` for anything odd. Subtags of script and region are
/// kept when they are well formed.
#[must_use]
pub fn bcp47(tag: &str) -> String {
    let Some(language) = primary(tag).filter(|language| language != UNDETERMINED) else {
        return UNDETERMINED.to_owned();
    };
    let mut known = pairs();
    let mut result = known
        .find(|(three, _)| *three == language)
        .map_or(language, |(_, two)| two.to_owned());
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

/// Three letters for names of subtitle files, as media libraries expect them.
#[must_use]
pub fn three_letters(tag: &str) -> String {
    let Some(language) = primary(tag) else {
        return UNDETERMINED.to_owned();
    };
    if language.len() == 3 {
        return language;
    }
    // Where 639-2 has two codes, the table lists the bibliographic one first or alone; libraries
    // know both.
    pairs()
        .find(|(_, two)| *two == language)
        .map_or_else(|| UNDETERMINED.to_owned(), |(three, _)| three.to_owned())
}

/// Text for people, fit for a quoted string of a playlist: one line, no quotes, bounded.
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

/// Line separators, and marks that change the direction of what follows.
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
        assert_eq!(three_letters("en"), "eng");
        assert_eq!(three_letters("spa"), "spa");
        assert_eq!(three_letters("a/b"), "und");
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
