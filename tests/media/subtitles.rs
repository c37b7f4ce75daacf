//! Tests of text subtitles of every sort in a film: languages, names, and the contents of each segment.

use std::path::{Path, PathBuf};

use tgfs::media::subtitles;
use tgfs::model::{Name, Subtitle, SubtitleFormat};
use tgfs::process::CancelFlag;

use super::support::*;

/// Builds a film of 24 s with these cues as each of `tracks` (codec, then options of the stream).
fn film_with(directory: &Path, name: &str, cues: &str, tracks: &[(&str, &[&str])]) -> Built {
    let text = directory.join("cues.srt");
    std::fs::write(&text, cues).unwrap();
    let path: PathBuf = directory.join(name);
    let mut arguments: Vec<String> = ["-y", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=24"]
        .map(str::to_owned)
        .into();
    for _ in tracks {
        arguments.extend(["-i".to_owned(), text.to_str().unwrap().to_owned()]);
    }
    for input in 0..=tracks.len() {
        arguments.extend(["-map".to_owned(), input.to_string()]);
    }
    arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"].map(str::to_owned));
    for (number, (codec, options)) in tracks.iter().enumerate() {
        arguments.extend([format!("-c:s:{number}"), (*codec).to_owned()]);
        for pair in options.chunks(2) {
            let option = match pair[0] {
                "disposition" => format!("-disposition:s:{number}"),
                _ => format!("-metadata:s:s:{number}"),
            };
            arguments.extend([option, pair[1].to_owned()]);
        }
    }
    arguments.push(path.to_str().unwrap().to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ffmpeg(&arguments);
    build(&path)
}

const CUES: &str = "1\n00:00:01,000 --> 00:00:02,000\nFirst & <i>été</i>\n\n2\n00:00:05,000 --> 00:00:14,000\nAcross\n";

fn keys(built: &Built) -> Vec<(&str, &str)> {
    let all = built.views.subtitles.iter();
    all.map(|one: &Subtitle| (one.key.as_str(), one.language.as_str()))
        .collect()
}

/// Every text form of a container gives the same cues.
#[test]
fn forms_of_text_are_the_same_cues() {
    let directory = tempfile::tempdir().unwrap();
    for (name, codec) in [
        ("srt.mkv", "srt"),
        ("ass.mkv", "ass"),
        ("ssa.mkv", "ssa"),
        ("webvtt.mkv", "webvtt"),
        ("mov_text.mp4", "mov_text"),
    ] {
        let built = film_with(
            directory.path(),
            name,
            CUES,
            &[(codec, &["", "language=fre"])],
        );
        super::check::check(&built);
        assert_eq!(built.views.subtitles.len(), 1, "{name}");
        assert_eq!(built.views.subtitles[0].language, "fr", "{name}");
        let key = built.views.subtitles[0].key.clone();
        let vtt = built.text(&format!("{key}.vtt"));
        for expected in [
            "00:00:01.000 --> 00:00:02.000",
            "<i>été</i>",
            "00:00:05.000 --> 00:00:14.000\nAcross",
        ] {
            assert!(vtt.contains(expected), "{name}: {expected} is not in {vtt}");
        }
        let srt = built.text(&format!("{key}.srt"));
        assert!(
            srt.contains("00:00:05,000 --> 00:00:14,000"),
            "{name}: {srt}"
        );
        let has_ass = built.files("").contains(&format!("{key}.ass"));
        assert_eq!(has_ass, codec == "ass" || codec == "ssa", "{name}");
    }
}

/// RFC 8216 §3.5: a cue is in each segment during which it is shown, the same each time. A segment without a
/// cue has only a head.
#[test]
fn cues_across_borders_are_repeated_and_empty_segments_have_a_head() {
    let directory = tempfile::tempdir().unwrap();
    let built = film_with(directory.path(), "film.mkv", CUES, &[("srt", &[])]);
    let segments: Vec<String> = built
        .files("sub-1")
        .iter()
        .map(|file| built.text(file))
        .collect();
    let durations: Vec<f64> = built
        .text("sub-1.m3u8")
        .lines()
        .filter_map(|line| line.strip_prefix("#EXTINF:"))
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .collect();
    assert_eq!(segments.len(), durations.len());
    let head = format!(
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{},LOCAL:00:00:00.000\n\n",
        built.views.origin_seconds * 90_000
    );
    let across = "00:00:05.000 --> 00:00:14.000\nAcross\n\n";
    let (mut start, mut repeated, mut empty) = (0.0, 0, 0);
    for (segment, duration) in segments.iter().zip(durations) {
        let end = start + duration;
        assert!(segment.starts_with(&head), "{segment}");
        let shows = start < 13.9 && end > 5.1;
        assert_eq!(
            segment.contains(across),
            shows,
            "{start} to {end}: {segment}"
        );
        repeated += usize::from(shows);
        empty += usize::from(*segment == head);
        start = end;
    }
    assert!(repeated >= 2 && empty >= 1, "{segments:?}");
}

#[test]
fn tracks_of_one_language_stay_apart_and_codes_of_both_lists_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let built = film_with(
        directory.path(),
        "film.mkv",
        CUES,
        &[
            ("srt", &["", "language=ger"]),
            ("srt", &["", "language=ger"]),
            ("srt", &["", "language=ger", "disposition", "forced"]),
            ("srt", &["", "language=deu", "", "title=Kommentar"]),
            (
                "srt",
                &["", "language=cze", "disposition", "hearing_impaired"],
            ),
            ("srt", &["", "title=Français (SDH)"]),
            ("srt", &["", "language=und", "", "title=Forced"]),
            ("srt", &["disposition", "default", "", "language=chi"]),
        ],
    );
    super::check::check(&built);
    assert_eq!(
        keys(&built),
        [
            ("ger", "de"),
            ("ger.2", "de"),
            ("ger.forced", "de"),
            ("deu", "de"),
            ("cze.sdh", "cs"),
            ("fra.sdh", "fr"),
            ("und.forced", "und"),
            ("chi", "zh"),
        ]
    );
    let master = built.text("master.m3u8");
    let parsed = hls_m3u8::MasterPlaylist::try_from(master.as_str());
    parsed.unwrap();
    let of = |key: &str| {
        let number = 1 + keys(&built)
            .iter()
            .position(|(known, _)| *known == key)
            .unwrap();
        let uri = format!("URI=\"sub-{number}.m3u8\"");
        master.lines().find(|line| line.contains(&uri)).unwrap()
    };
    assert!(of("ger.forced").contains("FORCED=YES") && of("und.forced").contains("FORCED=YES"));
    assert!(of("ger").contains("FORCED=NO") && of("ger").contains("DEFAULT=NO"));
    assert!(of("chi").contains("DEFAULT=YES"));
    for key in ["cze.sdh", "fra.sdh"] {
        assert!(
            of(key).contains("CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,")
        );
    }
    assert!(of("deu").contains("NAME=\"Kommentar\""));
}

/// A stream in a film and a file beside it are read by the same code and show the same.
#[test]
fn a_stream_shows_what_the_same_file_beside_the_film_shows() {
    const ASS: &str = "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,16\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
        Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}\n\
        Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,one\\N\\Ntwo\n\
        Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\an8}I <3 you & me, {\\i1}ever{\\i0}\n";
    const SRT: &str = "1\n00:00:01,000 --> 00:00:02,000\none\n\ntwo\n\n2\n00:00:03,000 --> 00:00:04,000\n{\\an8}I <3 you & <b>me</b>\n\n3\n00:00:05,000 --> 00:00:06,000\n<font color=\"#ff0000\">red</font>\n1984\n";
    const VTT: &str = "WEBVTT\n\nintro\n00:00:01.000 --> 00:00:02.000 line:0 align:start\n<v Ann>1 &lt; 2 &amp; 3</v>\n\n00:00:03.000 --> 00:00:04.000\n<i>two</i>\nlines\n";
    let directory = tempfile::tempdir().unwrap();
    for (file, text, shown) in [
        (
            "a.ass",
            ASS,
            "00:00:03.000 --> 00:00:04.000\none\ntwo\n\n\
             00:00:05.000 --> 00:00:06.000 line:0\nI &lt;3 you &amp; me, <i>ever</i>\n\n",
        ),
        (
            "a.srt",
            SRT,
            "00:00:01.000 --> 00:00:02.000\none\ntwo\n\n\
             00:00:03.000 --> 00:00:04.000 line:0\nI &lt;3 you &amp; <b>me</b>\n\n\
             00:00:05.000 --> 00:00:06.000\nred\n1984\n\n",
        ),
        (
            "a.vtt",
            VTT,
            "00:00:01.000 --> 00:00:02.000 line:0 align:start\n<v Ann>1 &lt; 2 &amp; 3</v>\n\n\
             00:00:03.000 --> 00:00:04.000\n<i>two</i>\nlines\n\n",
        ),
    ] {
        let path = directory.path().join(file);
        std::fs::write(&path, text).unwrap();
        let film = directory.path().join(format!("{file}.mkv"));
        ffmpeg(&[
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=160x90:r=25:d=8",
            "-i",
            path.to_str().unwrap(),
            "-map",
            "0",
            "-map",
            "1",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "25",
            "-c:s",
            "copy",
            film.to_str().unwrap(),
        ]);
        let built = build(&film);
        super::check::check(&built);
        let inside = built.text("und.vtt");
        assert_eq!(inside, format!("WEBVTT\n\n{shown}"), "{file} in a film");
        let name = Name::new(file).unwrap();
        let beside = subtitles::read(&name, text.as_bytes(), &CancelFlag::default()).unwrap();
        let (format, range) = beside.texts[0];
        assert_eq!(format, SubtitleFormat::Vtt);
        let bytes = &beside.bytes[range.offset as usize..range.end() as usize];
        assert_eq!(
            std::str::from_utf8(bytes).unwrap(),
            inside,
            "{file} beside a film"
        );
    }
}

/// MP4's own text form has no markup: signs in it are text.
#[test]
fn signs_in_the_text_of_mp4_stay_text() {
    let directory = tempfile::tempdir().unwrap();
    let cues = "1\n00:00:01,000 --> 00:00:02,000\nI <3 you & <i>me</i>\n\n2\n00:00:03,000 --> 00:00:04,000\none\n\ntwo\n";
    let built = film_with(directory.path(), "film.mp4", cues, &[("mov_text", &[])]);
    let key = &built.views.subtitles[0].key;
    assert_eq!(
        built.text(&format!("{key}.vtt")),
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nI &lt;3 you &amp; <i>me</i>\n\n\
         00:00:03.000 --> 00:00:04.000\none\ntwo\n\n"
    );
    assert_eq!(
        built.text(&format!("{key}.srt")),
        "1\n00:00:01,000 --> 00:00:02,000\nI <3 you & <i>me</i>\n\n\
         2\n00:00:03,000 --> 00:00:04,000\none\ntwo\n\n"
    );
}
