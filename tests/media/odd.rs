//! Tests of files as people have them: of odd containers, with odd streams, cut at odd places. Each has views,
//! or a sentence that says why not.

use std::fs;
use std::path::{Path, PathBuf};

use tgfs::media::build::BuildOutcome;

use super::support::*;

/// Makes a file of 6 s with ffmpeg from a picture (input 0) and a tone (input 1).
fn made(directory: &Path, name: &str, options: &[&str]) -> PathBuf {
    let path = directory.join(name);
    let mut all = vec!["-y", "-f", "lavfi", "-i", "testsrc2=s=176x144:r=25:d=6"];
    all.extend(["-f", "lavfi", "-i", "sine=440:d=6:r=48000", "-threads", "2"]);
    all.extend(options);
    all.push(path.to_str().unwrap());
    ffmpeg(&all);
    path
}

const H264: [&str; 10] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-g",
    "25",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
];

fn film_of(directory: &Path, name: &str) -> PathBuf {
    made(directory, name, &H264)
}

/// Returns the sentence about a file without views.
fn sentence(path: &Path) -> String {
    match refused(path) {
        BuildOutcome::Unsupported(reason) => reason.to_string(),
        BuildOutcome::Unreadable(reason) => reason.to_string(),
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn note(built: &Built) -> &str {
    built.views.note.as_deref().unwrap_or_default()
}

fn has_video_and_sound(built: &Built, what: &str) {
    let names = built.directories();
    assert!(names.contains(&"video".to_owned()), "{what}: {names:?}");
    assert!(built.views.tracks.len() >= 2, "{what}");
}

#[test]
fn a_film_whose_subtitles_outlast_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let film = film_of(directory.path(), "film.mkv");
    let text = directory.path().join("late.srt");
    fs::write(&text, "1\n00:00:01,000 --> 00:00:20,000\nlate\n").unwrap();
    let late = directory.path().join("late.mkv");
    ffmpeg(&[
        "-i",
        film.to_str().unwrap(),
        "-i",
        text.to_str().unwrap(),
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        late.to_str().unwrap(),
    ]);
    assert_eq!(build(&late).views.note, None);
    // Without its subtitles' bytes it is not whole: then it says what is missing of the tracks.
    let bytes = fs::read(&late).unwrap();
    fs::write(&late, &bytes[..bytes.len() / 2]).unwrap();
    let cut = build(&late);
    assert!(
        note(&cut).contains("of 6 seconds can be played"),
        "{}",
        note(&cut)
    );
}

/// Writers that do not know the duration leave all bits set.
#[test]
fn a_duration_that_was_never_set_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = film_of(directory.path(), "film.flv");
    let mut bytes = fs::read(&path).unwrap();
    let at = memchr::memmem::find(&bytes, b"duration").unwrap() + 9;
    bytes[at..at + 8].copy_from_slice(&47_721.858_f64.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    assert_eq!(build(&path).views.note, None);
    let path = film_of(directory.path(), "film.mp4");
    let mut bytes = fs::read(&path).unwrap();
    for kind in [b"mvhd", b"mdhd"] {
        let at = memchr::memmem::rfind(&bytes, kind).unwrap() + 20;
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(build(&path).views.note, None);
}

#[test]
fn a_picture_before_the_video_is_its_cover() {
    let directory = tempfile::tempdir().unwrap();
    let film = film_of(directory.path(), "film.mkv");
    let picture = directory.path().join("c.jpg");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x96",
        "-frames:v",
        "1",
        picture.to_str().unwrap(),
    ]);
    let covered = directory.path().join("covered.mkv");
    ffmpeg(&[
        "-i",
        picture.to_str().unwrap(),
        "-i",
        film.to_str().unwrap(),
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:0",
        "default",
        covered.to_str().unwrap(),
    ]);
    let built = build(&covered);
    super::check::check(&built);
    assert_eq!(built.views.note, None);
    assert_eq!(
        digests(&built.join("video"), &["-map", "0:v", "-c", "copy"]).len(),
        150
    );
    assert_eq!(built.read("cover.jpg"), fs::read(&picture).unwrap());
    // Of music, the cover is the picture.
    let song = directory.path().join("song.mp3");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "sine=440:d=6",
        "-i",
        picture.to_str().unwrap(),
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
        song.to_str().unwrap(),
    ]);
    let built = build(&song);
    assert_eq!(built.read("cover.jpg"), fs::read(&picture).unwrap());
    assert!(built.read("thumbnail.jpg").starts_with(b"\xff\xd8"));
    assert_eq!(built.views.note, None);
}

#[test]
fn what_no_view_shows_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let film = film_of(directory.path(), "film.mkv");
    let text = directory.path().join("read me.txt");
    fs::write(&text, "thank you").unwrap();
    let with = directory.path().join("with.mkv");
    ffmpeg(&[
        "-i",
        film.to_str().unwrap(),
        "-attach",
        text.to_str().unwrap(),
        "-metadata:s:t",
        "mimetype=text/plain",
        "-c",
        "copy",
        with.to_str().unwrap(),
    ]);
    assert_eq!(
        note(&build(&with)),
        "in the file only: attachment \"read me.txt\""
    );
    let with = directory.path().join("with.mov");
    ffmpeg(&[
        "-i",
        film.to_str().unwrap(),
        "-c",
        "copy",
        "-timecode",
        "01:00:00:00",
        with.to_str().unwrap(),
    ]);
    assert_eq!(
        note(&build(&with)),
        "in the file only: data in stream 2 (tmcd)"
    );
}

/// ffmpeg reads all of these, so they have views.
#[test]
fn files_with_something_in_front_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("front");
    let garbage: Vec<u8> = (0..3000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8)
        .collect();
    let tag = [&b"ID3\x04\0\0\0\0\x02\0"[..], &[0; 256]].concat();
    let stream = fs::read(film_of(directory.path(), "film.ts")).unwrap();
    for (what, bytes) in [
        ("a cut packet", stream[100..].to_vec()),
        ("noise", [&garbage, &stream[..]].concat()),
        ("a tag", [&tag, &stream[..]].concat()),
    ] {
        fs::write(&path, bytes).unwrap();
        has_video_and_sound(&build(&path), what);
    }
    for name in ["a.flac", "a.mp3", "a.aac"] {
        let sound = fs::read(made(directory.path(), name, &["-map", "1"])).unwrap();
        fs::write(&path, [&tag, &sound[..]].concat()).unwrap();
        assert!(!build(&path).views.tracks.is_empty(), "{name}");
        if name != "a.flac" {
            fs::write(&path, [&garbage, &sound[..]].concat()).unwrap();
            assert!(!build(&path).views.tracks.is_empty(), "{name} behind noise");
        }
    }
}

/// Containers that the sniffer does not know are read as ffprobe says.
#[test]
fn other_containers_of_ffmpeg_are_read() {
    let directory = tempfile::tempdir().unwrap();
    for (name, options, tracks) in [
        ("a.nut", &H264[..], 2),
        ("a.mxf", &["-c:v", "mpeg2video", "-c:a", "pcm_s16le"], 2),
        ("a.caf", &["-map", "1", "-c:a", "alac"], 2),
        ("a.aiff", &["-map", "1"], 1),
        ("a.wv", &["-map", "1"], 1),
        ("a.ac3", &["-map", "1"], 2),
    ] {
        let built = build(&made(directory.path(), name, options));
        assert_eq!(built.views.tracks.len(), tracks, "{name}");
    }
}

#[test]
fn each_file_without_views_has_a_plain_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str, options: &[&str]| made(directory.path(), name, options);
    let old = |video: &'static str| ["-c:v", video, "-c:a", "aac"];
    for (path, expected) in [
        (
            make("a.h264", &["-map", "0", "-c:v", "libx264"]),
            "no HLS: it is H264 video without a container, so it has no times; put it into MP4 or Matroska",
        ),
        (
            make("a.rm", &["-c:v", "rv10", "-c:a", "ac3"]),
            "no HLS: MP4 cannot carry RV10 video; play the file itself",
        ),
        (
            make(
                "a.dv",
                &["-s", "720x576", "-pix_fmt", "yuv420p", "-map", "0"],
            ),
            "no HLS: MP4 cannot carry DVVIDEO video; play the file itself",
        ),
        (
            make("a.wmv", &["-c:v", "wmv2", "-c:a", "wmav2"]),
            "no HLS: MP4 cannot carry WMV2 video; play the file itself",
        ),
        (
            make("a.avi", &old("mjpeg")),
            "no HLS: MP4 cannot carry MJPEG video; play the file itself",
        ),
        (
            make("a.3gp", &["-c:v", "h263", "-c:a", "aac"]),
            "no HLS: MP4 cannot carry H263 video; play the file itself",
        ),
    ] {
        assert_eq!(sentence(&path), expected, "{}", path.display());
    }
}

#[test]
fn sound_that_ffmpeg_does_not_know_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = film_of(directory.path(), "film.mp4");
    let renamed = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        while let Some(at) = memchr::memmem::find(&bytes, b"mp4a") {
            bytes[at..at + 4].copy_from_slice(b"ac-4");
        }
        fs::write(path, bytes).unwrap();
    };
    renamed(&path);
    assert_eq!(
        note(&build(&path)),
        "audio stream 1 (ac-4) is in the file only: ffmpeg does not know its codec"
    );
    let alone = made(directory.path(), "alone.mp4", &["-map", "1", "-c:a", "aac"]);
    renamed(&alone);
    assert_eq!(
        sentence(&alone),
        "no HLS: ffmpeg does not know the codec of its sound (AC-4); play the file itself"
    );
}

#[test]
fn a_picture_is_no_film() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.heic");
    let mut bytes = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x20meta".to_vec();
    bytes.resize(24 + 32, 0);
    bytes.extend(b"\0\0\x10\x08mdat");
    bytes.resize(bytes.len() + 4096, 0x11);
    fs::write(&path, bytes).unwrap();
    assert_eq!(sentence(&path), "no HLS: it is a still picture");
}

/// WebM names the key of each encrypted track (ContentEncryption in Matroska).
#[test]
fn an_encrypted_webm_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let options = [
        "-map",
        "0",
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
    ];
    let path = made(directory.path(), "a.webm", &options);
    let mut bytes = fs::read(&path).unwrap();
    let element = |id: &[u8], data: &[u8]| {
        let size = (1 << 14 | data.len() as u16).to_be_bytes();
        [id, &size, data].concat()
    };
    let key = element(&[0x47, 0xe2], &[7; 16]);
    let encryption = element(&[0x50, 0x35], &[element(&[0x47, 0xe1], &[5]), key].concat());
    let encoding = [element(&[0x50, 0x33], &[1]), encryption].concat();
    let encodings = element(&[0x6d, 0x80], &element(&[0x62, 0x40], &encoding));
    // It goes behind the codec's name, and the sizes around it grow.
    let codec = memchr::memmem::find(&bytes, b"\x86\x85V_VP8").unwrap() + 7;
    for (start, id) in [
        (&b"\xae\x01\0\0"[..], 1),
        (b"\x16\x54\xae\x6b", 4),
        (b"\x18\x53\x80\x67", 4),
    ] {
        let at = memchr::memmem::rfind(&bytes[..codec], start).unwrap() + id;
        let len = bytes[at].leading_zeros() as usize + 1;
        let mut size = [0; 8];
        size[8 - len..].copy_from_slice(&bytes[at..at + len]);
        let size = u64::from_be_bytes(size) + encodings.len() as u64;
        bytes[at..at + len].copy_from_slice(&size.to_be_bytes()[8 - len..]);
    }
    bytes.splice(codec..codec, encodings);
    fs::write(&path, bytes).unwrap();
    assert_eq!(sentence(&path), "it is encrypted");
}

#[test]
fn a_second_track_of_a_moment_opens_with_the_film() {
    let directory = tempfile::tempdir().unwrap();
    for (name, seconds, codec) in [
        ("short.ts", "0.25", "ac3"),
        ("short.mkv", "0.25", "ac3"),
        ("short.mp4", "0.01", "aac"),
    ] {
        let tone = format!("sine=660:d={seconds}:r=48000");
        let mut options = vec!["-f", "lavfi", "-i", &tone];
        options.extend(["-map", "0", "-map", "1", "-map", "2"]);
        options.extend(H264);
        options.extend(["-c:a:1", codec]);
        let built = build(&made(directory.path(), name, &options));
        let root = built.lay_out();
        let source = digests(&built.source, &["-map", "0:v:0", "-c", "copy"]);
        for list in ["master.m3u8", "ts/master.m3u8"] {
            let list = root.join(list);
            let served = digests(&list, &["-map", "0:v:0", "-c", "copy"]);
            assert_eq!(served.len(), source.len(), "{}", list.display());
            // All tracks of the film, the short one too, have what a player must know of them.
            assert!(!digests(&list, &["-map", "0:a", "-c", "copy"]).is_empty());
        }
    }
}
