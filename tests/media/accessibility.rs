//! Tests of what helps viewers to choose: purposes of sound, names and languages of tracks, captions in the
//! pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::*;

const PICTURE: [&str; 12] = [
    "-f",
    "lavfi",
    "-i",
    "testsrc2=s=160x90:r=25:d=4",
    "-f",
    "lavfi",
    "-i",
    "sine=440:d=4",
    "-f",
    "lavfi",
    "-i",
    "sine=880:d=4",
];
const CODECS: [&str; 12] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-bf",
    "0",
    "-g",
    "50",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
];

fn made(path: &Path, options: &[&[&str]]) -> PathBuf {
    let mut all = options.concat();
    all.extend(["-y", path.to_str().unwrap()]);
    ffmpeg(&all);
    path.to_path_buf()
}

/// Returns the lines of the multivariant playlist that announce renditions of a kind.
fn media(built: &Built, kind: &str) -> Vec<String> {
    let start = format!("#EXT-X-MEDIA:TYPE={kind},");
    let master = built.text("master.m3u8");
    let lines = master.lines().filter(|line| line.starts_with(&start));
    lines.map(str::to_owned).collect()
}

fn assert_has(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn commentary_and_description_are_named_and_never_chosen_for_the_film_s_own_sound() {
    let directory = tempfile::tempdir().unwrap();
    let maps = [
        "-map", "1:a", "-map", "2:a", "-map", "1:a", "-map", "2:a", "-map", "0:v",
    ];
    let flags = [
        "-disposition:a:0",
        "comment",
        "-disposition:a:1",
        "visual_impaired",
        "-disposition:a:2",
        "0",
        "-disposition:a:3",
        "hearing_impaired",
        "-metadata:s:a:0",
        "language=eng",
        "-metadata:s:a:1",
        "language=eng",
        "-metadata:s:a:3",
        "language=por",
    ];
    let film = made(
        &directory.path().join("film.mkv"),
        &[&PICTURE, &maps, &CODECS, &flags],
    );
    let tag = ["--edit", "track:a4", "--set", "language-ietf=pt-BR"];
    let status = Command::new("mkvpropedit")
        .arg("-q")
        .arg(&film)
        .args(tag)
        .status();
    assert!(status.unwrap().success());
    let lines = media(&build(&film), "AUDIO");
    assert_eq!(lines.len(), 4);
    // In the film's own order.
    assert_has(
        &lines[0],
        &[
            "NAME=\"English (commentary)\"",
            "LANGUAGE=\"en\"",
            "DEFAULT=NO,AUTOSELECT=NO",
        ],
    );
    assert_has(
        &lines[1],
        &[
            "NAME=\"English (audio description)\"",
            "DEFAULT=NO,AUTOSELECT=YES",
            "CHARACTERISTICS=\"public.accessibility.describes-video\"",
        ],
    );
    assert_has(&lines[2], &["NAME=\"Track 3\"", "DEFAULT=YES"]);
    assert!(!lines[2].contains("LANGUAGE"), "{}", lines[2]);
    assert_has(
        &lines[3],
        &[
            "NAME=\"Portuguese (BR) (clear speech)\"",
            "LANGUAGE=\"pt-BR\"",
            "enhances-speech-intelligibility",
        ],
    );
}

/// Puts CTA-608 captions of channel 1 into a film without B-frames: HELLO, from its second second on.
fn with_captions(directory: &Path, name: &str) -> PathBuf {
    let plain = made(
        &directory.join("plain.h264"),
        &[
            &PICTURE[..4],
            &CODECS[..10],
            &["-bsf:v", "h264_metadata=aud=insert", "-f", "h264"],
        ],
    );
    let parity = |byte: u8| {
        if byte.count_ones().is_multiple_of(2) {
            byte | 0x80
        } else {
            byte
        }
    };
    let pairs = [
        (0x14, 0x20),
        (0x14, 0x70),
        (0x48, 0x45),
        (0x4c, 0x4c),
        (0x4f, 0x20),
        (0x14, 0x2f),
    ];
    let bytes = fs::read(plain).unwrap();
    let delimiter = [0, 0, 0, 1, 9];
    let starts: Vec<usize> = memchr::memmem::find_iter(&bytes, &delimiter).collect();
    let mut captioned = Vec::new();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(bytes.len());
        let pair = number.checked_sub(25).and_then(|at| pairs.get(at));
        let (first, second) = pair.copied().unwrap_or_default();
        captioned.extend(&bytes[*start..start + 6]);
        captioned.extend([0, 0, 0, 1, 6, 4, 14, 0xb5, 0, 0x31]);
        captioned.extend(b"GA94\x03\xc1\xff\xfc");
        captioned.extend([parity(first), parity(second), 0xff, 0x80]);
        captioned.extend(&bytes[start + 6..end]);
    }
    let path = directory.join("captioned.h264");
    fs::write(&path, captioned).unwrap();
    let input = [
        "-fflags",
        "+genpts",
        "-r",
        "25",
        "-i",
        path.to_str().unwrap(),
        "-c",
        "copy",
    ];
    made(&directory.join(name), &[&input])
}

#[test]
fn captions_in_the_pictures_are_offered_and_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let built = build(&with_captions(directory.path(), "captioned.mp4"));
    captions_are_offered(&built);
    super::check::check(&built);
    let served = build(&with_captions(directory.path(), "captioned.ts"));
    assert!(served.views.in_place.is_some());
    captions_are_offered(&served);

    let plain = made(
        &directory.path().join("plain.mp4"),
        &[&PICTURE[..4], &CODECS[..10]],
    );
    assert!(
        !build(&plain)
            .text("master.m3u8")
            .contains("CLOSED-CAPTIONS")
    );
}

fn captions_are_offered(built: &Built) {
    let lines = media(built, "CLOSED-CAPTIONS");
    assert_eq!(lines.len(), 1);
    assert_has(&lines[0], &["GROUP-ID=\"captions\"", "INSTREAM-ID=\"CC1\""]);
    let master = built.text("master.m3u8");
    let variant = master
        .lines()
        .find(|line| line.starts_with("#EXT-X-STREAM-INF"));
    assert_has(variant.unwrap(), &["CLOSED-CAPTIONS=\"captions\""]);
}
