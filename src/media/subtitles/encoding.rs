//! Decoding of text: by a byte order mark, else as UTF-8 if nearly all of it is valid, else by
//! what the bytes look like.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::work::ReadingWork;

/// Least bytes per control character of a text. Bytes with more control characters are no text.
const CONTROLS_ONE_IN: usize = 50;
/// Bytes that are inspected to recognise UTF-16 without a mark.
const SAMPLE_BYTES: usize = 4096;
/// Bytes that the detector gets at a time.
const DETECTED_BYTES: usize = 1 << 20;

/// Returns the text, and the name of its encoding; `None` if the bytes are no text. `language` (BCP-47)
/// decides between encodings that look alike.
pub fn decode(
    bytes: &[u8],
    language: &str,
    work: &mut ReadingWork,
) -> Option<(String, &'static str)> {
    let encoding = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None => without_mark(bytes, language, work),
    };
    if work.stopped().is_some() {
        return None;
    }
    let (text, _, _) = encoding.decode(bytes);
    work.step(text.len());
    let controls = text
        .chars()
        .filter(|&c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}'))
        .count();
    if controls * CONTROLS_ONE_IN > text.len() {
        return None;
    }
    Some((text.into_owned(), encoding.name()))
}

fn without_mark(bytes: &[u8], language: &str, work: &mut ReadingWork) -> &'static Encoding {
    // In UTF-16 every second byte of times and line ends, of which subtitles are full, is zero.
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES) & !1];
    let zeros = |parity: usize| {
        let of = sample.iter().skip(parity).step_by(2);
        of.filter(|&&byte| byte == 0).count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    if (even + odd) * 8 > sample.len() {
        return if even > odd { UTF_16BE } else { UTF_16LE };
    }
    work.step(bytes.len());
    if is_mostly_utf8(bytes) {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    for part in bytes.chunks(DETECTED_BYTES) {
        work.step(part.len());
        if work.stopped().is_some() {
            break;
        }
        detector.feed(part, false);
    }
    detector.feed(&[], true);
    detector.guess(domain(language), Utf8Detection::Deny)
}

/// Returns whether the bytes are UTF-8, apart from a few damaged places. Texts of other encodings hold
/// hardly any sequence that is well-formed UTF-8, while a cue that was cut inside a character must not
/// change how all others are read.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
    let (mut well_formed, mut damaged) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        well_formed += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        damaged += usize::from(!chunk.invalid().is_empty());
    }
    damaged == 0 || well_formed > damaged
}

/// Returns the top-level domain of a language's country, which the detector takes as a hint.
fn domain(language: &str) -> Option<&'static [u8]> {
    let (primary, rest) = language.split_once('-').unwrap_or((language, ""));
    let known: &[u8] = match primary {
        "ar" => b"eg",
        "bs" => b"ba",
        "cs" => b"cz",
        "da" => b"dk",
        "el" => b"gr",
        "et" => b"ee",
        "fa" => b"ir",
        "he" => b"il",
        "ja" => b"jp",
        "ko" => b"kr",
        "sl" => b"si",
        "sq" => b"al",
        "sr" => b"rs",
        "sv" => b"se",
        "uk" => b"ua",
        "vi" => b"vn",
        "zh" if rest.eq_ignore_ascii_case("Hant") || rest.eq_ignore_ascii_case("TW") => b"tw",
        "zh" if rest.eq_ignore_ascii_case("HK") => b"hk",
        "zh" => b"cn",
        // Domain and language have the same letters.
        "bg" => b"bg",
        "de" => b"de",
        "es" => b"es",
        "fi" => b"fi",
        "fr" => b"fr",
        "hr" => b"hr",
        "hu" => b"hu",
        "it" => b"it",
        "lt" => b"lt",
        "lv" => b"lv",
        "mk" => b"mk",
        "nl" => b"nl",
        "no" | "nb" | "nn" => b"no",
        "pl" => b"pl",
        "pt" => b"pt",
        "ro" => b"ro",
        "ru" => b"ru",
        "sk" => b"sk",
        "th" => b"th",
        "tr" => b"tr",
        _ => return None,
    };
    Some(known)
}
