use super::*;

/// Reads a text that nobody stops.
fn read(name: &Name, bytes: &[u8]) -> Result<SubtitleFileContent, SubtitleError> {
    super::read(name, bytes, &CancelFlag::default())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn text_of(read: &SubtitleFileContent, format: SubtitleFormat) -> &str {
    let (_, range) = read
        .texts
        .iter()
        .find(|(known, _)| *known == format)
        .unwrap();
    let (from, to) = (range.offset as usize, range.end() as usize);
    std::str::from_utf8(&read.bytes[from..to]).unwrap()
}

fn vtt(file: &str, bytes: &[u8]) -> String {
    let read = read(&name(file), bytes).unwrap();
    assert_eq!(read.texts[0].0, SubtitleFormat::Vtt);
    text_of(&read, SubtitleFormat::Vtt).to_owned()
}

const SRT: &str = "1\r\n00:00:01,500 --> 00:00:03,000\r\n<i>Straße</i> & <font color=\"#fff\">été</font>\r\nsecond\r\n\r\n2\r\n00:01:00,000 --> 00:01:02,500\r\n{\\an8}oben < unten\r\n";

#[test]
fn subrip_becomes_webvtt_and_stays_itself() {
    let read = read(&name("a.srt"), SRT.as_bytes()).unwrap();
    assert_eq!(
        text_of(&read, SubtitleFormat::Vtt),
        "WEBVTT\n\n00:00:01.500 --> 00:00:03.000\n<i>Straße</i> &amp; été\nsecond\n\n\
         00:01:00.000 --> 00:01:02.500 line:0\noben &lt; unten\n\n"
    );
    assert_eq!(
        text_of(&read, SubtitleFormat::Srt),
        SRT.replace("\r\n", "\n")
    );
    assert_eq!((read.cues, read.note, read.encoding), (2, None, "UTF-8"));
}

#[test]
fn every_encoding_that_is_about_is_read() {
    let french = "1\n00:00:01,000 --> 00:00:02,000\nDéjà vu, ça été l'été à Nîmes où l'on a rêvé\n";
    let russian = "1\n00:00:01,000 --> 00:00:02,000\nСъешь ещё этих мягких французских булок\n";
    let polish = "1\n00:00:01,000 --> 00:00:02,000\nZażółć gęślą jaźń, proszę się nie śmiać\n";
    let japanese = "1\n00:00:01,000 --> 00:00:02,000\nこれは日本語の字幕です。漢字もあります\n";
    let chinese = "1\n00:00:01,000 --> 00:00:02,000\n这是简体中文的字幕，没有问题\n";
    let greek = "1\n00:00:01,000 --> 00:00:02,000\nΞεσκεπάζω την ψυχοφθόρα βδελυγμία\n";
    let encoded = |text: &str, encoding: &'static encoding_rs::Encoding| {
        let (bytes, used, odd) = encoding.encode(text);
        assert!(!odd && used == encoding);
        bytes.into_owned()
    };
    let wide = |text: &str, mark: bool, to: fn(u16) -> [u8; 2]| {
        let units = mark
            .then_some(0xfeff)
            .into_iter()
            .chain(text.encode_utf16());
        units.flat_map(to).collect::<Vec<u8>>()
    };
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("utf-8", french, french.as_bytes().to_vec()),
        (
            "utf-8 with a mark",
            french,
            format!("\u{feff}{french}").into(),
        ),
        ("utf-16le", russian, wide(russian, true, u16::to_le_bytes)),
        ("utf-16be", russian, wide(russian, true, u16::to_be_bytes)),
        (
            "utf-16le, no mark",
            french,
            wide(french, false, u16::to_le_bytes),
        ),
        (
            "utf-16be, no mark",
            japanese,
            wide(japanese, false, u16::to_be_bytes),
        ),
        (
            "latin-1",
            french,
            encoded(french, encoding_rs::WINDOWS_1252),
        ),
        (
            "windows-1251",
            russian,
            encoded(russian, encoding_rs::WINDOWS_1251),
        ),
        ("koi8-r", russian, encoded(russian, encoding_rs::KOI8_U)),
        (
            "windows-1250",
            polish,
            encoded(polish, encoding_rs::WINDOWS_1250),
        ),
        (
            "shift_jis",
            japanese,
            encoded(japanese, encoding_rs::SHIFT_JIS),
        ),
        ("gbk", chinese, encoded(chinese, encoding_rs::GBK)),
        ("greek", greek, encoded(greek, encoding_rs::WINDOWS_1253)),
    ];
    for (what, expected, bytes) in cases {
        let read = vtt("film.srt", &bytes);
        let line = expected.lines().nth(2).unwrap();
        assert!(read.contains(line), "{what}: {read}");
    }
}

/// The language that a name says decides between encodings that look alike.
#[test]
fn a_name_helps_to_tell_the_encoding() {
    let czech = "1\n00:00:01,000 --> 00:00:02,000\nŽe ano?\n";
    let (bytes, _, _) = encoding_rs::WINDOWS_1250.encode(czech);
    assert!(vtt("film.cze.srt", &bytes).contains("Že ano?"));
}

#[test]
fn subrip_made_by_hand_is_read() {
    for (what, text, expected) in [
        (
            "dots, no number",
            "0:00:01.5 --> 0:00:02\nhello\n",
            "00:00:01.500 --> 00:00:02.000\nhello\n",
        ),
        (
            "no empty line between",
            "1\n00:00:01,000 --> 00:00:02,000\nhello\n2\n00:00:03,000 --> 00:00:04,000\nyou\n",
            "hello\n\n00:00:03.000 --> 00:00:04.000\nyou\n",
        ),
        (
            "an empty line in the text",
            "1\n00:00:01,000 --> 00:00:02,000\nhello\n\nyou\n\n2\n00:00:03,000 --> 00:00:04,000\nx\n",
            "hello\nyou\n\n00:00:03",
        ),
        (
            "old line ends",
            "1\r00:00:01,000 --> 00:00:02,000\rhello\r",
            "00:00:01.000 --> 00:00:02.000\nhello\n",
        ),
        (
            "coordinates",
            "1\n00:00:01,000 --> 00:00:02,000 X1:1 X2:2\nhello\n",
            "00:00:01.000 --> 00:00:02.000\nhello\n",
        ),
        (
            "a number as text",
            "1\n00:00:01,000 --> 00:00:02,000\n1984\n\n2\n00:00:03,000 --> 00:00:04,000\nx\n",
            "00:00:02.000\n1984\n\n00:00:03",
        ),
        (
            "an empty line behind each line",
            "1\n\n00:00:01,000 --> 00:00:02,000\n\nfirst\n\n1984\n\n2\n\n00:00:03,000 --> 00:00:04,000\n\nsecond\n",
            "00:00:02.000\nfirst\n1984\n\n00:00:03.000 --> 00:00:04.000\nsecond\n",
        ),
        (
            "a time before zero",
            "1\n-00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:03,000 --> 00:00:04,000\nb\n",
            "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\na\n\n00:00:03.000",
        ),
        (
            "both times before zero",
            "1\n00:00:03,000 --> 00:00:04,000\nb\n\n2\n-00:00:02,000 --> -00:00:01,000\na\n",
            "00:00:03.000 --> 00:00:04.000\nb\n\n",
        ),
        (
            "out of order",
            "2\n00:00:03,000 --> 00:00:04,000\nb\n\n1\n00:00:01,000 --> 00:00:02,000\na\n",
            "WEBVTT\n\n00:00:01.000",
        ),
        (
            "an arrow in the text",
            "1\n00:00:01,000 --> 00:00:02,000\na --> b\n",
            "a --&gt; b\n",
        ),
        (
            "signs",
            "1\n00:00:01,000 --> 00:00:02,000\n1 < 2 <3 AT&T &amp; <b>x</b>\n",
            "1 &lt; 2 &lt;3 AT&amp;T &amp; <b>x</b>\n",
        ),
    ] {
        let read = vtt("a.srt", text.as_bytes());
        assert!(read.contains(expected), "{what}: {read}");
    }
}

#[test]
fn webvtt_keeps_its_settings_and_loses_its_notes() {
    let text = "WEBVTT - title\nX-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00:00.000\n\nSTYLE\n::cue { color: red }\n\nNOTE\n00:09 later\n\nintro\n00:01.000 --> 00:02.000\talign:start line:10%\n<v Ann>Hi &amp; <c.red>bye</c>\n\n00:03.000 --> 00:02.000\nbackwards\n";
    let read = read(&name("a.vtt"), text.as_bytes()).unwrap();
    assert_eq!(
        text_of(&read, SubtitleFormat::Vtt),
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000 align:start line:10%\n<v Ann>Hi &amp; <c.red>bye</c>\n\n"
    );
    assert_eq!(
        text_of(&read, SubtitleFormat::Srt),
        "1\n00:00:01,000 --> 00:00:02,000\nHi & bye\n\n"
    );
    assert!(read.note.unwrap().starts_with("1 of its 2 cues"));
}

#[test]
fn ass_becomes_webvtt_and_stays_itself() {
    let text = "[Script Info]\nTitle: x\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\nComment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not this\nDialogue: 0,0:00:01.50,0:00:03.05,Default,,0,0,0,,{\\i1\\fs20}One, two{\\i0} <three>\\NFour\\h& five\nDialogue: 0,0:01:00.00,0:01:01.00,Default,,0,0,0,,{\\an8}up\nDialogue: 0,0:01:00.00,0:01:01.00,Default,,0,0,0,,{\\p1}m 0 0 l 9 9{\\p0}\nDialogue: 0,what,0:01:01.00,Default,,0,0,0,,odd\n";
    for file in ["a.ass", "a.ssa", "a.srt"] {
        let read = read(&name(file), text.as_bytes()).unwrap();
        assert_eq!(
            text_of(&read, SubtitleFormat::Vtt),
            "WEBVTT\n\n00:00:01.500 --> 00:00:03.050\n<i>One, two</i> &lt;three&gt;\nFour&nbsp;&amp; five\n\n\
             00:01:00.000 --> 00:01:01.000 line:0\nup\n\n"
        );
        assert_eq!(text_of(&read, SubtitleFormat::Ass), text);
        assert!(
            text_of(&read, SubtitleFormat::Srt)
                .contains("<i>One, two</i> <three>\nFour\u{a0}& five")
        );
        assert!(read.note.unwrap().starts_with("1 of its 3 cues"));
    }
    // The older form has other fields, in another order.
    let old = "[Events]\nFormat: Marked, Start, End, Style, Text\nDialogue: Marked=0,0:00:01.00,0:00:02.00,x,{\\b1}a\\nb\n";
    assert!(vtt("a.ssa", old.as_bytes()).contains("00:00:01.000 --> 00:00:02.000\n<b>a\nb</b>\n"));
}

#[test]
fn what_has_no_subtitles_says_why() {
    let reason = |bytes: &[u8]| read(&name("a.srt"), bytes).unwrap_err().to_string();
    assert!(reason(b"just a letter\nto you\n").contains("not one cue"));
    assert!(reason(&[0, 1, 2, 3, 200, 255, 7, 9].repeat(500)).contains("no text"));
    assert!(reason(b"\n\n").contains("not one cue"));
    // Every input has an answer.
    for seed in 0..200_u64 {
        let mut text = SRT.as_bytes().to_vec();
        let at = (seed as usize * 7919) % text.len();
        text[at] = (seed % 256) as u8;
        text.truncate(text.len() - (seed as usize % 40));
        let _no_panic = read(&name("a.srt"), &text);
    }
}

#[test]
fn names_say_language_and_flags() {
    let said = |file: &str| SubtitleFileName::beside(b"Heat (1995)", &name(file));
    // Language, default, forced, for the hard of hearing, title.
    for (file, expected) in [
        ("Heat (1995).srt", ("und", "", "")),
        ("Heat (1995).eng.srt", ("en", "", "")),
        ("Heat (1995).en.srt", ("en", "", "")),
        ("Heat (1995).fre.srt", ("fr", "", "")),
        ("Heat (1995).ger.ass", ("de", "", "")),
        ("Heat (1995).English.srt", ("en", "", "")),
        ("Heat (1995).pt-BR.vtt", ("pt-BR", "", "")),
        ("Heat (1995).zh-Hans.srt", ("zh-Hans", "", "")),
        ("Heat (1995).eng.default.srt", ("en", "default", "")),
        ("Heat (1995).spa.forced.srt", ("es", "forced", "")),
        ("Heat (1995).forced.spa.srt", ("es", "forced", "")),
        ("Heat (1995).foreign.eng.srt", ("en", "forced", "")),
        ("Heat (1995).eng.sdh.srt", ("en", "sdh", "")),
        ("Heat (1995).eng.cc.srt", ("en", "sdh", "")),
        ("Heat (1995).en.hi.srt", ("en", "sdh", "")),
        ("Heat (1995).hi.srt", ("hi", "", "")),
        ("Heat (1995).hi.sdh.srt", ("hi", "sdh", "")),
        (
            "Heat (1995).Director's Notes.eng.srt",
            ("en", "", "Director's Notes"),
        ),
        (
            "Heat (1995).en.default.forced.sdh.srt",
            ("en", "default forced sdh", ""),
        ),
        ("Heat (1995).2160p.srt", ("und", "", "2160p")),
    ] {
        let said = said(file).unwrap();
        let flags = [
            (said.default, "default"),
            (said.forced, "forced"),
            (said.hearing_impaired, "sdh"),
        ];
        let flags: Vec<&str> = flags
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, flag)| *flag)
            .collect();
        assert_eq!(
            (
                said.language.as_str(),
                flags.join(" ").as_str(),
                said.title.as_str()
            ),
            expected,
            "{file}"
        );
    }
    assert_eq!(said("Heat (1995) 2.eng.srt"), None);
    assert_eq!(said("Heat.eng.srt"), None);
    assert!(is_subtitle_name(&name("a.SRT")) && !is_subtitle_name(&name("a.sup")));
}

/// Layers draw one text several times: a border below, letters above.
#[test]
fn layers_of_ass_are_one_cue() {
    let line = |layer: u8, text: &str| {
        format!("Dialogue: {layer},0:00:01.00,0:00:02.00,Default,,0,0,0,,{text}\n")
    };
    let text = [
        "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n",
        &line(0, "{\\bord3\\blur2}One"),
        &line(0, "Other"),
        &line(1, "{\\bord0}One"),
        &line(2, "One"),
    ]
    .concat();
    assert_eq!(
        vtt("a.ass", text.as_bytes()),
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nOne\n\n00:00:01.000 --> 00:00:02.000\nOther\n\n"
    );
}

/// A cue that was cut inside a character must not change how the other cues are read.
#[test]
fn a_damaged_character_leaves_the_rest_in_utf8() {
    let mut bytes =
        "1\n00:00:01,000 --> 00:00:02,000\nCafé un\n\n2\n00:00:03,000 --> 00:00:04,000\ncut "
            .as_bytes()
            .to_vec();
    bytes.push(0xc3);
    bytes.extend_from_slice("\n\n3\n00:00:05,000 --> 00:00:06,000\nété\n".as_bytes());
    let text = vtt("a.srt", &bytes);
    assert!(text.contains("Café un") && text.contains("été"), "{text}");
    assert!(text.contains("cut \u{fffd}"), "{text}");
}

#[test]
fn the_columns_of_dialogue_lines_are_those_of_the_last_format_line() {
    let text = "[Events]\nFormat: Text2, End, Start, Text\n\
                Dialogue: x,0:00:02.00,0:00:01.00,one, two\n\
                Format: Start, End, Text\nDialogue: 0:00:03.00,0:00:04.00,three\n";
    let read = vtt("a.ass", text.as_bytes());
    assert!(
        read.contains("00:00:01.000 --> 00:00:02.000\none, two"),
        "{read}"
    );
    assert!(
        read.contains("00:00:03.000 --> 00:00:04.000\nthree"),
        "{read}"
    );
}

/// Texts of every format that are hostile in the same way, at half and at full length.
#[test]
fn twice_the_text_takes_twice_the_steps() {
    let cases: [(&str, &str, &str); 9] = [
        (
            "a.ass",
            "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,,,,,",
            "{\\i1",
        ),
        (
            "a.ass",
            "[Events]\n",
            "Dialogue: 0,0:00:01.00,0:00:02.00,,,,,,,{\n",
        ),
        ("a.srt", "00:00:01,000 --> 00:00:02,000\n", "<"),
        ("a.srt", "", "00:00:01,000 --> 00:00:02,000\n"),
        ("a.srt", "00:00:01,000 --> 00:00:02,000\na", "\n"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n", "<"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n", "<i\n"),
        ("a.srt", "00:00:01,000 --> 00:00:02,000\n", "-->"),
        ("a.srt", "", "1:"),
    ];
    for (file, head, part) in cases {
        let steps = |count: usize| {
            let text = format!("{head}{}", part.repeat(count));
            let mut work = ReadingWork::new(text.len(), CancelFlag::default());
            let read = SubtitleDocument::sniff(text.as_bytes(), "", &mut work);
            if let Ok(document) = read {
                let _ = document.to_srt(&mut work);
            }
            assert_eq!(work.stopped(), None);
            work.steps()
        };
        let (once, twice) = (steps(20_000), steps(40_000));
        assert!(
            twice <= once * 2 + 64,
            "{file} of {part:?}: {once}, then {twice}"
        );
    }
}

#[test]
fn a_reader_that_is_not_linear_is_stopped() {
    let mut work = ReadingWork::new(1000, CancelFlag::default());
    for _ in 0..1000 {
        work.step(1000);
    }
    assert_eq!(work.stopped(), Some(SubtitleError::TooSlow));
}

#[test]
fn reading_stops_when_nobody_waits() {
    let cancel = CancelFlag::default();
    cancel.cancel();
    for file in ["a.srt", "a.ass", "a.vtt"] {
        let read = super::read(&name(file), SRT.as_bytes(), &cancel);
        assert_eq!(read.unwrap_err(), SubtitleError::Cancelled);
    }
}

#[test]
fn cues_beyond_the_limits_are_left_out_with_a_note() {
    let many = (0..200_002).map(|at| format!("0:0-->0:1\na{at}\n"));
    let many: String = many.collect();
    let read_many = read(&name("a.srt"), many.as_bytes()).unwrap();
    assert_eq!(read_many.cues, 200_000);
    let note = read_many.note.unwrap();
    assert_eq!(
        note,
        "2 of its 200002 cues are too many or too large and are left out"
    );
    let long = format!("0:0-->0:1\n{}\n\n0:2-->0:3\nshort\n", "x".repeat(2 << 20));
    let read_long = read(&name("a.srt"), long.as_bytes()).unwrap();
    assert_eq!(read_long.cues, 1);
    assert!(
        read_long
            .note
            .unwrap()
            .starts_with("1 of its 2 cues are too")
    );
    let only_long = format!("0:0-->0:1\n{}\n", "<".repeat(2 << 20));
    let error = read(&name("a.srt"), only_long.as_bytes()).unwrap_err();
    assert_eq!(error, SubtitleError::CuesTooLarge);
}

#[test]
fn line_ends_of_all_kinds_become_one() {
    for (text, plain) in [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("\r\r\n\0x\r", "\n\nx\n"),
        ("a\u{7}b\u{85}c\td\u{c}", "abc\td"),
        ("plain", "plain"),
    ] {
        assert_eq!(with_plain_lines(text.to_owned()), plain);
    }
}
