//! Tests of what a film's header says of its picture and sound: rotation, shape of pixels, colours, Dolby
//! Vision, channels. A form of the film either has it too or is not offered.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tgfs::media::hls::views;
use tgfs::model::TrackKind;

use super::support::*;

/// Options of a short film: 160x90, 4 s, a key frame every 2 s.
const PICTURE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=4"];
const H264: [&str; 8] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-g",
    "50",
    "-pix_fmt",
    "yuv420p",
];
const HEVC: [&str; 10] = [
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "log-level=error:keyint=50",
    "-pix_fmt",
    "yuv420p10le",
    "-tag:v",
    "hvc1",
];

fn made(directory: &Path, name: &str, options: &[&[&str]]) -> PathBuf {
    let path = directory.join(name);
    let mut all = options.concat();
    all.extend(["-y", path.to_str().unwrap()]);
    ffmpeg(&all);
    path
}

/// Returns one field of the first video stream, as ffprobe prints it.
fn probed(input: &Path, field: &str) -> String {
    let entries = format!("stream={field}");
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", &entries])
        .arg(input)
        .output()
        .unwrap();
    // A stream is printed once more for each programme that it belongs to.
    let text = String::from_utf8(output.stdout).unwrap();
    let first = text.lines().next().unwrap_or_default();
    first.trim_end_matches(',').to_owned()
}

/// Changes the 36 bytes of the first track's matrix.
fn turn(film: &Path) {
    let mut bytes = fs::read(film).unwrap();
    let header = memchr::memmem::find(&bytes, b"tkhd").unwrap() + 44;
    let matrix: [i32; 9] = [0, 1 << 16, 0, -1 << 16, 0, 0, 90 << 16, 0, 1 << 30];
    for (index, number) in matrix.into_iter().enumerate() {
        let at = header + 4 * index;
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    fs::write(film, bytes).unwrap();
}

/// Adds a box to the first sample entry, and renames that. The film has its `moov` at its end.
fn add_to_entry(film: &Path, entry: &[u8; 4], new_name: &[u8; 4], added: &[u8]) {
    let mut bytes = fs::read(film).unwrap();
    let moov = memchr::memmem::rfind(&bytes, b"moov").unwrap() - 4;
    let inside = |from: usize, kind: &[u8; 4], bytes: &[u8]| {
        from + memchr::memmem::find(&bytes[from..], kind).unwrap() - 4
    };
    let mut path = vec![moov];
    for kind in [b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry] {
        path.push(inside(path[path.len() - 1], kind, &bytes));
    }
    let size = |at: usize, bytes: &[u8]| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let last = path[path.len() - 1];
    let end = last + size(last, &bytes) as usize;
    for at in path {
        let grown = size(at, &bytes) + added.len() as u32;
        bytes[at..at + 4].copy_from_slice(&grown.to_be_bytes());
    }
    bytes[last + 4..last + 8].copy_from_slice(new_name);
    bytes.splice(end..end, added.iter().copied());
    fs::write(film, bytes).unwrap();
}

/// Returns the box of a Dolby Vision film of level 4.
fn vision(profile: u16, compatibility: u8) -> Vec<u8> {
    let kind = if profile < 8 { b"dvcC" } else { b"dvvC" };
    let fields = (profile << 9 | 4 << 3 | 0b101).to_be_bytes();
    let mut bytes = [&[0, 0, 0, 32][..], kind, &[1, 0], &fields].concat();
    bytes.push(compatibility << 4);
    bytes.resize(32, 0);
    bytes
}

fn line<'a>(text: &'a str, tag: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(tag)).unwrap()
}

fn note(built: &Built) -> &str {
    built.views.note.as_deref().unwrap_or_default()
}

#[test]
fn a_turned_film_has_its_size_as_shown_and_no_form_that_forgets_the_turn() {
    let directory = tempfile::tempdir().unwrap();
    let source = made(directory.path(), "phone.mp4", &[&PICTURE, &H264]);
    let upright = build(&source);
    assert!(views::find(&upright.views, "ts/master.m3u8").is_some());
    assert_eq!(note(&upright), "");
    turn(&source);
    let built = build(&source);
    let master = built.text("master.m3u8");
    for tag in ["#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF"] {
        assert!(line(&master, tag).contains("RESOLUTION=90x160"), "{master}");
    }
    let turned = ["-map", "0:v:0", "-frames:v", "1"];
    assert_eq!(
        digests(&built.join("video"), &turned),
        digests(&source, &turned),
        "the picture of the view is turned as that of the file"
    );
    assert!(views::find(&built.views, "ts/master.m3u8").is_none());
    assert!(note(&built).contains("no MPEG-TS form"), "{}", note(&built));
}

#[test]
fn pixels_that_are_not_square_and_colours_survive_in_both_forms() {
    let directory = tempfile::tempdir().unwrap();
    let plain = made(directory.path(), "plain.mkv", &[&PICTURE, &H264]);
    let plain = plain.to_str().unwrap();
    let copy: [&[&str]; 2] = [&["-i", plain, "-c", "copy"], &["-aspect", "4:3"]];
    let wide = made(directory.path(), "wide.mkv", &copy);
    let edits = [
        "--edit",
        "track:v1",
        "--set",
        "colour-primaries=9",
        "--set",
        "colour-transfer-characteristics=16",
        "--set",
        "colour-matrix-coefficients=9",
    ];
    let status = Command::new("mkvpropedit")
        .arg("-q")
        .arg(&wide)
        .args(edits)
        .status();
    assert!(status.unwrap().success());
    let built = build(&wide);
    let master = built.text("master.m3u8");
    let variant = line(&master, "#EXT-X-STREAM-INF");
    assert!(variant.contains("RESOLUTION=120x90"), "{variant}");
    assert!(variant.contains("VIDEO-RANGE=PQ"), "{variant}");
    let fields = "display_aspect_ratio,color_transfer,color_primaries,color_space";
    let expected = "4:3,bt2020nc,smpte2084,bt2020";
    assert_eq!(probed(&wide, fields), expected);
    for form in [built.join("video"), join_transport(&built, "video")] {
        assert_eq!(probed(&form, fields), expected, "{}", form.display());
    }
    let frames = ["-map", "0:v:0"];
    assert_eq!(
        digests(&join_transport(&built, "video"), &frames),
        digests(&wide, &frames)
    );

    // The same in a transport stream, whose parameter sets say it.
    let from = join_transport(&built, "video");
    let options: [&[&str]; 1] = [&["-i", from.to_str().unwrap(), "-c", "copy"]];
    let stream = build(&made(directory.path(), "wide.ts", &options));
    assert!(stream.views.in_place.is_some());
    let master = stream.text("master.m3u8");
    assert!(line(&master, "#EXT-X-STREAM-INF").contains("RESOLUTION=120x90"));
}

#[test]
fn dolby_vision_is_named_as_its_players_know_it() {
    for (profile, compatibility, expected, entry) in [
        (
            5,
            0,
            &["CODECS=\"dvh1.05.04\"", "VIDEO-RANGE=PQ"][..],
            b"dvh1",
        ),
        (
            8,
            1,
            &["SUPPLEMENTAL-CODECS=\"dvh1.08.04/db1p\"", "VIDEO-RANGE=PQ"],
            b"hvc1",
        ),
        (
            8,
            4,
            &["SUPPLEMENTAL-CODECS=\"dvh1.08.04/db4h\"", "VIDEO-RANGE=HLG"],
            b"hvc1",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let source = made(directory.path(), "vision.mp4", &[&PICTURE, &HEVC]);
        add_to_entry(&source, b"hvc1", entry, &vision(profile, compatibility));
        let built = build(&source);
        let master = built.text("master.m3u8");
        for tag in ["#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF"] {
            let found = line(&master, tag);
            assert!(expected.iter().all(|text| found.contains(text)), "{found}");
        }
        let init = built.read("video/init.mp4");
        assert!(memchr::memmem::find(&init, entry).is_some());
        assert_eq!(probed(&built.join("video"), "codec_name"), "hevc");
    }
}

#[test]
fn nothing_is_said_of_captions_that_nobody_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["film.mp4", "film.ts"] {
        let source = made(directory.path(), name, &[&PICTURE, &H264]);
        let built = build(&source);
        let master = built.text("master.m3u8");
        assert!(!master.contains("CLOSED-CAPTIONS"), "{master}");
    }
}

#[test]
fn sound_with_a_layout_of_its_own_is_heard_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let sound =
        "sine=440:d=4,aformat=channel_layouts=mono,pan=5.1(side)|FL=c0|FR=c0|FC=c0|SL=c0|SR=c0";
    let sound = ["-f", "lavfi", "-i", sound, "-c:a", "aac", "-ar", "48000"];
    for name in ["side.mp4", "side.ts"] {
        let source = made(
            directory.path(),
            name,
            &[&PICTURE, &sound, &["-c:v", "libx264"], &H264[2..]],
        );
        let built = build(&source);
        let in_place = built.views.in_place.is_some();
        assert_eq!(in_place, name.ends_with(".ts"));
        let rendition = built.views.tracks.last().unwrap();
        assert!(
            matches!(rendition.kind, TrackKind::Audio { channels: 2, .. }),
            "{name}: {:?}",
            rendition.kind
        );
        let number = built.views.tracks.len() - 1;
        let track = match in_place {
            true => built.join(&format!("audio-{number}")),
            false => join_transport(&built, &format!("audio-{number}")),
        };
        let heard = digests(&track, &["-map", "0:a:0"]);
        assert!(heard.len() > 150, "{name}: {} frames", heard.len());
        if !in_place {
            assert!(note(&built).contains("stereo"), "{}", note(&built));
        }
    }
}

#[test]
fn tracks_and_rates_stand_in_the_headers_as_players_expect() {
    let directory = tempfile::tempdir().unwrap();
    let sound = |rate| ["-f", "lavfi", "-i", rate];
    let source = made(
        directory.path(),
        "high.mkv",
        &[
            &PICTURE,
            &sound("sine=440:r=48000:d=4"),
            &sound("sine=880:r=96000:d=4"),
            &H264,
            &[
                "-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:a:0", "aac", "-c:a:1", "flac",
            ],
        ],
    );
    let built = build(&source);
    for track in ["video", "audio-1", "audio-2"] {
        let init = built.read(&format!("{track}/init.mp4"));
        let header = memchr::memmem::find(&init, b"tkhd").unwrap() + 4;
        assert_eq!(init[header + 3] & 3, 3, "{track} is shown, and in the film");
    }
    let init = built.read("audio-2/init.mp4");
    let entry = memchr::memmem::find(&init, b"fLaC").unwrap() + 4;
    assert_eq!(
        init[entry + 24..entry + 28],
        (48_000_u32 << 16).to_be_bytes()
    );
    let rate = |track: &tgfs::model::Track| match track.kind {
        TrackKind::Audio { sample_rate, .. } => sample_rate,
        TrackKind::Video { .. } => 0,
    };
    assert_eq!(rate(&built.views.tracks[2]), 96_000);
}

/// Joins two FLV films: the second follows the first by 40 ms.
fn joined(first: &Path, second: &Path) -> Vec<u8> {
    const HEAD: usize = 13;
    let mut all = fs::read(first).unwrap()[..HEAD].to_vec();
    let mut last = 0;
    for film in [first, second] {
        let bytes = fs::read(film).unwrap();
        let (mut at, start) = (HEAD, if last == 0 { 0 } else { last + 40 });
        while at + 11 <= bytes.len() {
            let number =
                |at: usize| u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]]);
            let end = at + 11 + number(at + 1) as usize + 4;
            let is_end_of_sequence = bytes[at] == 9 && bytes[at + 12] == 2;
            if bytes[at] != 18 && !is_end_of_sequence {
                last = start + number(at + 4);
                all.extend(&bytes[at..at + 4]);
                all.extend(&last.to_be_bytes()[1..]);
                all.extend(&bytes[at + 7..end]);
            }
            at = end;
        }
    }
    all
}

#[test]
fn a_film_whose_video_changes_its_parameters_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let other = ["-f", "lavfi", "-i", "testsrc2=s=240x136:r=25:d=4"];
    let baseline = made(
        directory.path(),
        "one.flv",
        &[&PICTURE, &H264, &["-bf", "0"]],
    );
    let main = made(
        directory.path(),
        "two.flv",
        &[
            &other,
            &H264[..2],
            &["-preset", "medium", "-bf", "0"],
            &H264[4..],
        ],
    );
    assert_eq!(note(&build(&baseline)), "");
    let path = directory.path().join("both.flv");
    fs::write(&path, joined(&baseline, &main)).unwrap();
    let built = build(&path);
    assert!(
        note(&built).contains("changes its parameters 4 s"),
        "{}",
        note(&built)
    );
    fs::write(&path, joined(&baseline, &baseline)).unwrap();
    assert_eq!(note(&build(&path)), "");
}
