//! Tests of films that are transport streams: their segments are ranges of the file, and ffmpeg finds in
//! them what it finds in the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tgfs::media::hls::view::{Piece, ViewBody, ViewNode};
use tgfs::media::hls::views;
use tgfs::media::in_place;
use tgfs::model::{ByteRange, FilePurpose};

use super::support::*;

const PACKET: usize = 188;
/// Largest derived blob without the thumbnail, as a share of the film. A film without renditions stores only
/// the data that makes its segments.
const MOST_DERIVED: f64 = 0.001;

/// Returns stream, presentation time and digest of each packet, as ffmpeg reads `input`.
fn packets(input: &Path, streams: &[&str]) -> Vec<(String, String, String)> {
    let mut arguments = vec!["-v", "error", "-copyts", "-i", input.to_str().unwrap()];
    for stream in streams {
        arguments.extend(["-map", stream]);
    }
    arguments.extend(["-c", "copy", "-f", "framemd5", "-"]);
    let output = Command::new("ffmpeg").args(&arguments).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut list: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let field = |at: usize| line.split(',').nth(at).unwrap().trim().to_owned();
            (field(0), field(2), field(5))
        })
        .collect();
    // The order among streams is chosen by the muxer.
    list.sort_by(|one, other| one.0.cmp(&other.0));
    list
}

fn thumbnail(built: &Built) -> u64 {
    let files = built.views.files.iter();
    let pictures = files.filter(|file| file.purpose == FilePurpose::Picture);
    pictures.map(|file| file.range.len).sum()
}

/// Builds a film whose segments must be ranges of it.
fn build_in_place(name: &str) -> (Built, PathBuf) {
    let built = build(&film(name));
    assert!(
        built.views.in_place.is_some(),
        "{name}: {:?}",
        built.views.note
    );
    // The note names the other program's video.
    assert!(
        built.views.note.is_none() || name == "programs.ts",
        "{name}"
    );
    let root = built.lay_out();
    (built, root)
}

/// Asserts that each segment is two tables and one range of the file, and that the ranges together are the
/// whole file.
fn are_ranges(name: &str, built: &Built) {
    let text = built.text("video.m3u8");
    let list = hls_m3u8::MediaPlaylist::try_from(text.as_str()).unwrap();
    for (_, segment) in &list.segments {
        let rounded = segment.duration.duration().as_secs_f64().round();
        assert!(
            rounded <= list.target_duration.as_secs_f64(),
            "{name}: {text}"
        );
    }
    let sum: f64 = list
        .segments
        .iter()
        .map(|(_, s)| s.duration.duration().as_secs_f64())
        .sum();
    let seconds = built.views.duration_ms as f64 / 1000.0;
    assert!(
        (sum - seconds).abs() < 0.2,
        "{name}: {sum} s in {seconds} s"
    );
    let source = fs::read(&built.source).unwrap();
    let mut at = 0;
    for part in built.files("video") {
        let segment = built.read(&part);
        let range = &segment[2 * PACKET..];
        assert!(range == &source[at..at + range.len()], "{name}: {part}");
        at += range.len();
        assert_eq!(segment, built.read(&format!("ts/{part}")), "{name}: {part}");
        let Some(ViewNode::File(file)) = views::find(&built.views, &part) else {
            panic!("{part}");
        };
        let ViewBody::InPlace(number) = file.body else {
            panic!("{part}");
        };
        let (picker, pieces) = in_place::segment(&built.views, number).unwrap();
        assert!(picker.is_none());
        assert!(matches!(
            pieces.as_slice(),
            [Piece::Literal(_), Piece::Content(_)]
        ));
    }
    assert_eq!(at, source.len() / PACKET * PACKET, "{name}");
}

#[test]
fn packets_and_their_times_are_those_of_the_file() {
    for (name, streams) in [
        ("dvb.ts", 2),
        ("plain.ts", 2),
        ("opengop.ts", 2),
        ("mpeg2.ts", 2),
        ("dolby.ts", 2),
        ("hevc.ts", 2),
        ("tracks.ts", 4),
        ("late.ts", 2),
        ("wrap.ts", 2),
    ] {
        let (built, root) = build_in_place(name);
        are_ranges(name, &built);
        let maps = ["0:0", "0:1", "0:2", "0:3"];
        let expected = packets(&built.source, &maps[..streams]);
        assert!(!expected.is_empty());
        for playlist in ["ts/master.m3u8", "ts/video.m3u8", "video.m3u8"] {
            let found = packets(&root.join(playlist), &maps[..streams]);
            assert_eq!(found.len(), expected.len(), "{name} {playlist}: packets");
            assert!(found == expected, "{name} {playlist}: packets differ");
        }
        let beside: usize =
            built.views.tracks.len() - built.views.in_place.as_ref().unwrap().inside as usize;
        let own = built.views.derived.len - thumbnail(&built);
        let size = built.source.metadata().unwrap().len();
        if beside == 0 {
            assert!(
                (own as f64) < size as f64 * MOST_DERIVED,
                "{name}: {own} of {size}"
            );
        }
    }
}

/// The standard allows two values of a counter (2.4.3.3): one more than the last, or the same with an exact
/// repetition of the packet, once.
#[test]
fn counters_of_all_packets_are_legal() {
    for name in [
        "dvb.ts",
        "mpeg2.ts",
        "programs.ts",
        "disc.m2ts",
        "many.m2ts",
    ] {
        let built = build(&film(name));
        assert!(built.views.in_place.is_some(), "{name}");
        let mut last: std::collections::HashMap<u16, (Vec<u8>, bool)> = Default::default();
        for part in built.files("video") {
            let segment = built.read(&part);
            assert_eq!(segment.len() % PACKET, 0);
            for (place, packet) in segment.chunks(PACKET).enumerate() {
                assert_eq!(packet[0], 0x47, "{name} {part}");
                let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
                if place == 0 {
                    assert_eq!(pid, 0, "{name} {part}");
                }
                if pid == 0x1fff || packet[3] & 0x10 == 0 {
                    continue;
                }
                let before = last.get(&pid);
                let next = before.is_none_or(|(before, _)| packet[3] & 15 == (before[3] + 1) & 15);
                let again = before.is_some_and(|(before, twice)| before == packet && !twice);
                assert!(next || again, "{name} {part}: packet {place} of {pid:#x}");
                last.insert(pid, (packet.to_vec(), again && !next));
            }
        }
    }
}

/// The segments have one of several programs, and leave out the time stamps of discs.
#[test]
fn one_program_is_picked_out_of_more() {
    for (name, inside) in [("programs.ts", 2), ("disc.m2ts", 2)] {
        let (built, root) = build_in_place(name);
        let film = built.views.in_place.as_ref().unwrap();
        assert!(!film.is_plain());
        assert_eq!(film.inside, inside, "{name}");
        let maps = ["0:0", "0:1"];
        let expected = packets(&built.source, &maps);
        let found = packets(&root.join("ts/master.m3u8"), &maps);
        assert_eq!(found.len(), expected.len(), "{name}: packets");
        assert!(found == expected, "{name}: packets differ");
        // ffprobe lists a program's streams with the program, and once more.
        let streams = streams(&root.join("ts/video.m3u8"));
        assert_eq!(streams, ["0", "1"], "{name}");
        // Any range equals the same part of the whole.
        let whole = built.read("video/00002.ts");
        let (picker, pieces) = in_place::segment(&built.views, 1).unwrap();
        let picker = picker.unwrap();
        let [Piece::Content(range)] = pieces.as_slice() else {
            panic!("{pieces:?}");
        };
        let source = fs::read(&built.source).unwrap();
        let offset = usize::try_from(range.offset).unwrap();
        for (from, len) in [(0, 1), (300, 200), (377, 10_000), (whole.len() - 1, 1)] {
            let part = picker.part(ByteRange::new(from as u64, len as u64));
            let first = offset + usize::try_from(part.data.offset).unwrap();
            let data = &source[first..first + usize::try_from(part.data.len).unwrap()];
            let made = picker.pick(&part, data);
            let skip = from - usize::try_from(part.start).unwrap();
            assert!(
                made[skip..skip + len] == whole[from..from + len],
                "{name}: {from}+{len}"
            );
        }
    }
}

/// Returns the numbers of the streams that ffmpeg finds.
fn streams(input: &Path) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "stream=index",
            "-of",
            "csv=p=0",
        ])
        .arg(input)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut list: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    list.sort();
    list.dedup();
    list
}

/// Browsers take one stream of sound from a transport stream, and only AAC and MP3.
#[test]
fn sound_that_browsers_do_not_take_is_made_beside() {
    let (built, root) = build_in_place("tracks.ts");
    let master = built.text("master.m3u8");
    let parsed = hls_m3u8::MasterPlaylist::try_from(master.as_str()).unwrap();
    assert_eq!(parsed.media.len(), 3, "{master}");
    let addresses: Vec<&str> = master
        .lines()
        .filter_map(|l| l.split_once("URI=\"")?.1.split('"').next())
        .collect();
    assert_eq!(addresses, ["audio-4.m3u8", "audio-5.m3u8"], "{master}");
    assert_eq!(
        built
            .text("ts/master.m3u8")
            .lines()
            .filter(|l| !l.starts_with('#'))
            .count(),
        1
    );
    for (rendition, stream) in [("audio-4", 1), ("audio-5", 3)] {
        let list = root.join(format!("{rendition}.m3u8"));
        let playing = first_time(&list, "a:0");
        let inside = first_time(&built.source, &format!("{stream}"));
        // The encoder's own priming comes first.
        let priming = inside - playing;
        assert!(
            (0.0..0.03).contains(&priming),
            "{rendition}: {inside} became {playing}"
        );
        let (_, complaints) = ffmpeg(&["-i", list.to_str().unwrap(), "-f", "null", "-"]);
        assert_eq!(complaints, "", "{rendition}");
    }
    // MPEG-2 is for players that take any sound.
    let (built, _) = build_in_place("dolby.ts");
    assert_eq!(built.views.tracks.len(), 2);
    assert!(!built.text("master.m3u8").contains("EXT-X-MEDIA"));
}

fn changed(name: &str, change: impl Fn(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = fs::read(film(name)).unwrap();
    change(&mut bytes);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("film.ts");
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// Streams that are not intact are copied, as before. Streams that are only short, or damaged inside
/// pictures, are not.
#[test]
fn damaged_streams_play_in_one_form_or_the_other() {
    let pid = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at + 1] & 0x1f, bytes[at + 2]]);
    let middle = |bytes: &[u8]| bytes.len() / 2 / PACKET * PACKET;
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, bool, Change<'_>); 6] = [
        ("a truncated end", true, &|b| b.truncate(b.len() - 1000)),
        ("noise in pictures", true, &|b| {
            let at = middle(b);
            b[at + 40..at + 180].fill(0x55);
        }),
        ("lost packets", true, &|b| {
            let at = middle(b);
            b.drain(at..at + 9 * PACKET);
        }),
        ("lost bytes", false, &|b| {
            let at = middle(b);
            b.drain(at..at + 100);
        }),
        ("scrambled packets", false, &|b| {
            let at = middle(b);
            for at in (at..at + 400 * PACKET).step_by(PACKET) {
                if pid(b, at) == 0x100 {
                    b[at + 3] |= 0x80;
                }
            }
        }),
        ("two films in a row", false, &|b| {
            let second = b.clone();
            b.extend(second);
        }),
    ];
    for (what, in_place, change) in cases {
        let (_directory, path) = changed("dvb.ts", change);
        let built = build(&path);
        assert_eq!(
            built.views.in_place.is_some(),
            in_place,
            "{what}: {:?}",
            built.views.note
        );
        let root = built.lay_out();
        let list = root.join("master.m3u8");
        let output = Command::new("ffmpeg")
            .args(["-v", "quiet", "-i", list.to_str().unwrap(), "-map", "0:v:0"])
            .args(["-c", "copy", "-f", "framemd5", "-"])
            .output()
            .unwrap();
        let frames = String::from_utf8_lossy(&output.stdout);
        let frames = frames.lines().filter(|line| !line.starts_with('#')).count();
        assert!(frames > 500, "{what}: {frames} frames");
    }
}
