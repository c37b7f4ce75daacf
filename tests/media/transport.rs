//! Tests of a film's MPEG-TS form: it has the packets of the file, they are in order, and ffmpeg 5.1 seeks
//! in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tgfs::media::hls::view::{ViewBody, ViewNode};
use tgfs::media::hls::views;
use tgfs::model::{ByteRange, TrackKind};

use super::support::*;

const PACKET: usize = 188;

/// Fields of a packet.
struct Packet<'a> {
    pid: u16,
    starts: bool,
    counter: u8,
    clock: Option<u64>,
    is_random_access: bool,
    payload: &'a [u8],
}

/// Parses a packet by the standard, independently of the writer.
fn parse(bytes: &[u8]) -> Packet<'_> {
    assert_eq!(bytes[0], 0x47);
    let (mut at, mut clock, mut flags) = (4, None, 0);
    if bytes[3] & 0x20 != 0 {
        let length = usize::from(bytes[4]);
        if length > 0 {
            flags = bytes[5];
        }
        if flags & 0x10 != 0 {
            let high = u32::from_be_bytes(bytes[6..10].try_into().unwrap());
            clock = Some(u64::from(high) << 1 | u64::from(bytes[10] >> 7));
        }
        at += 1 + length;
    }
    assert!(bytes[3] & 0x10 != 0 && at < PACKET, "no payload");
    Packet {
        pid: u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]),
        starts: bytes[1] & 0x40 != 0,
        counter: bytes[3] & 15,
        clock,
        is_random_access: flags & 0x40 != 0,
        payload: &bytes[at..],
    }
}

fn stamp(bytes: &[u8]) -> u64 {
    let part = |at: usize| u64::from(bytes[at]);
    (part(0) >> 1 & 7) << 30 | part(1) << 22 | (part(2) >> 1) << 15 | part(3) << 7 | part(4) >> 1
}

/// Asserts that counters go on over all segments, that clocks come often enough and are earlier than the
/// times of their data, and that each segment begins with its tables and a random access point.
fn check_packets(built: &Built, track: &str) {
    let is_video = track == "video";
    let mut counters = std::collections::HashMap::new();
    let mut last_clock: Option<u64> = None;
    for (number, part) in built.files(&format!("ts/{track}")).iter().enumerate() {
        let segment = built.read(part);
        assert_eq!(segment.len() % PACKET, 0);
        for (place, bytes) in segment.chunks(PACKET).enumerate() {
            let packet = parse(bytes);
            if let Some(before) = counters.insert(packet.pid, packet.counter) {
                assert_eq!(packet.counter, (before + 1) % 16, "{part}: packet {place}");
            }
            match place {
                0 => assert_eq!((packet.pid, packet.starts), (0, true)),
                1 => assert_eq!((packet.pid, packet.starts), (0x1000, true)),
                2 => assert!(packet.starts && packet.is_random_access, "{part}"),
                _ => {}
            }
            let Some(clock) = packet.clock else { continue };
            assert!(packet.starts);
            let pes = packet.payload;
            assert_eq!(pes[..3], [0, 0, 1]);
            let show = stamp(&pes[9..]);
            let decode = if is_video { stamp(&pes[14..]) } else { show };
            assert!(
                clock < decode && decode <= show,
                "{part}: {clock} {decode} {show}"
            );
            if let Some(last) = last_clock {
                assert!(
                    clock >= last && clock - last <= 9000,
                    "{part}: {last} to {clock}"
                );
            }
            last_clock = Some(clock);
        }
        assert!(number < 100);
    }
}

/// Asserts that packets of the elementary streams equal those of the source, as ffmpeg reads both.
fn packets_equal(name: &str, tracks: &[(&str, &str, &str, &str)]) -> Built {
    let source = film(name);
    let built = build(&source);
    for (track, stream, of_source, of_transport) in tracks {
        check_packets(&built, track);
        let packets = |input: &Path, stream: &str, filter: &str| {
            let copied = ["-map", stream, "-c", "copy"];
            let kind = if stream.contains(":v") {
                "-bsf:v"
            } else {
                "-bsf:a"
            };
            let filters: &[&str] = if filter.is_empty() {
                &[]
            } else {
                &[kind, filter]
            };
            digests(input, &[&copied, filters].concat())
        };
        let expected = packets(&source, stream, of_source);
        let kind = if stream.contains(":v") {
            "0:v:0"
        } else {
            "0:a:0"
        };
        let found = packets(&join_transport(&built, track), kind, of_transport);
        assert!(!expected.is_empty());
        assert_eq!(
            found.len(),
            expected.len(),
            "{name} {track}: number of packets"
        );
        assert!(found == expected, "{name} {track}: packets differ");
    }
    built
}

/// Filters (for the source, for the views) that remove what a transport stream adds: delimiters and parameter
/// sets.
const AVC: (&str, &str) = (
    "h264_mp4toannexb,filter_units=remove_types=7-9",
    "filter_units=remove_types=7-9",
);
const HEVC: (&str, &str) = (
    "hevc_mp4toannexb,filter_units=remove_types=32-35|39",
    "filter_units=remove_types=32-35|39",
);
const AAC: (&str, &str) = ("", "aac_adtstoasc");

#[test]
fn packets_are_those_of_the_source() {
    let built = packets_equal(
        "main.mkv",
        &[
            ("video", "0:v:0", AVC.0, AVC.1),
            ("audio-1", "0:a:0", AAC.0, AAC.1),
            ("audio-2", "0:a:1", AAC.0, AAC.1),
        ],
    );
    let master = built.text("ts/master.m3u8");
    hls_m3u8::MasterPlaylist::try_from(master.as_str()).unwrap();
    assert!(master.contains("URI=\"../sub-1.m3u8\""), "{master}");
    hls_m3u8::MediaPlaylist::try_from(built.text("ts/video.m3u8").as_str()).unwrap();
    packets_equal(
        "hevc.mkv",
        &[
            ("video", "0:v:0", HEVC.0, HEVC.1),
            ("audio-1", "0:a:0", "", ""),
        ],
    );
    packets_equal("bluray.mkv", &[("audio-4", "0:a:2", "", "")]);
    packets_equal("song.mp3", &[("audio-1", "0:a:0", "", "")]);
    // A film that is in a transport stream already has its own delimiters and parameter sets.
    packets_equal("padded-dvb.ts", &[("video", "0:v:0", AVC.1, AVC.1)]);
    packets_equal("padded-opengop.ts", &[("video", "0:v:0", AVC.1, AVC.1)]);
}

#[test]
fn frames_and_their_times_are_those_of_the_film() {
    for name in ["main.mkv", "delay.mkv", "padded-opengop.ts", "hevc.mkv"] {
        let built = build(&film(name));
        let root = built.lay_out();
        let master = root.join("ts/master.m3u8");
        let (_, complaints) = ffmpeg(&[
            "-i",
            master.to_str().unwrap(),
            "-vsync",
            "0",
            "-f",
            "framemd5",
            "-",
        ]);
        assert_eq!(complaints, "", "{name}");
        for stream in ["0:v:0", "0:a:0"] {
            let frames = |input: &Path| digests(input, &["-map", stream, "-vsync", "0"]);
            // Sound that ffmpeg decodes differs by the container if the codec is not lossless.
            if stream == "0:v:0" || name == "main.mkv" {
                assert!(frames(&master) == frames(&built.source), "{name} {stream}");
            }
        }
        let (video, audio) = (
            join_transport(&built, "video"),
            join_transport(&built, "audio-1"),
        );
        // MPEG-TS has a header before each frame of AAC.
        let bare: &[&str] = match name {
            "hevc.mkv" => &["-map", "0:a:0"],
            _ => &["-map", "0:a:0", "-bsf:a", "aac_adtstoasc"],
        };
        let of_film = packets(&built.source, bare);
        let begins = begin_of(&of_film, &packets(&audio, bare));
        let served = begins - first_time(&video, "v:0");
        let source = of_film[0].0 - first_time(&built.source, "v:0");
        assert!(
            (source - served).abs() < 0.002,
            "{name}: {source} became {served}"
        );
    }
}

/// Any range has the same bytes as that part of the whole.
#[test]
fn a_range_is_a_part_of_the_whole() {
    let built = build(&film("main.mkv"));
    for track in ["video", "audio-1"] {
        let path = format!("ts/{track}/00002.ts");
        let whole = built.read(&path);
        let Some(ViewNode::File(file)) = views::find(&built.views, &path) else {
            panic!("no {path}");
        };
        let ViewBody::Transport(mapped) = file.body else {
            panic!("{path}");
        };
        let derived = fs::read(built.directory.path().join("derived")).unwrap();
        let from = usize::try_from(mapped.frame.offset).unwrap();
        let frame = &derived[from..from + usize::try_from(mapped.frame.len).unwrap()];
        let (layout, _) =
            views::transport(&built.views, mapped.track, mapped.segment, frame).unwrap();
        let all = layout.part(ByteRange::new(0, layout.size()));
        assert_eq!(all.output, ByteRange::new(0, whole.len() as u64));
        let size = whole.len() as u64;
        for (offset, len) in [
            (0, 1),
            (375, 2),
            (376, 188),
            (5000, 130_000),
            (size - 1, 1),
            (size / 2, size / 2),
            (189 * 188 + 3, 4096),
        ] {
            let end = (offset + len).min(size);
            let part = layout.part(ByteRange::new(offset, end - offset));
            assert!(
                part.output.offset <= offset && part.output.end() >= end,
                "{part:?} for {offset}+{len}"
            );
        }
    }
}

/// Returns presentation time in seconds and digest of each decoded picture.
fn pictures(input: &Path, seek: &[&str], rest: &[&str]) -> Vec<(f64, String)> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-copyts"])
        .args(seek)
        .args([
            "-i",
            input.to_str().unwrap(),
            "-map",
            "0:v:0",
            "-vsync",
            "0",
        ])
        .args(rest)
        .args(["-enc_time_base", "1/90000", "-f", "framemd5", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (
                fields[2].parse::<f64>().unwrap() / 90_000.0,
                fields[5].to_owned(),
            )
        })
        .collect()
}

/// Seeks are exact in MPEG-TS, while ffmpeg 5.1 finds no frame at all behind a seek in MP4 segments.
#[test]
fn ffmpeg_seeks_to_the_frame() {
    for name in ["main.mkv", "padded-opengop.ts", "hevc.mkv"] {
        seeks_are_to_the_frame(name, 0);
    }
}

/// Seeks are exact where segments are ranges of the film, too.
#[test]
fn ffmpeg_seeks_to_the_frame_in_films_that_are_transport_streams() {
    // If sound comes first, this ffmpeg drops the first key frame. It does the same in the file.
    #[rustfmt::skip]
    let names = [
        ("dvb.ts", 0), ("plain.ts", 0), ("opengop.ts", 0), ("mpeg2.ts", 12), ("dolby.ts", 12), ("hevc.ts", 0),
        ("tracks.ts", 0), ("late.ts", 0), ("wrap.ts", 0), ("programs.ts", 0), ("disc.m2ts", 0),
    ];
    for (name, from) in names {
        seeks_are_to_the_frame(name, from);
    }
}

/// Asserts that seeks to ten places, none before picture `from`, find the exact frame.
fn seeks_are_to_the_frame(name: &str, from: usize) {
    let built = build(&film(name));
    let root = built.lay_out();
    let master = root.join("ts/master.m3u8");
    let all = pictures(&master, &[], &[]);
    // The time from which ffmpeg counts `-ss`.
    let start = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "format=start_time",
            "-of",
            "csv=p=0",
        ])
        .arg(&master)
        .output()
        .unwrap();
    let start: f64 = String::from_utf8(start.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut state = 20_261_124_u64;
    for _ in 0..10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The place is between two pictures, so that rounding has no effect.
        let picture = from + usize::try_from(state >> 33).unwrap() % (all.len() - from - 2) + 1;
        let second = (all[picture - 1].0 + all[picture].0) / 2.0 - start;
        let seek = format!("{second:.4}");
        let found = pictures(&master, &["-ss", &seek], &["-frames:v", "1"]);
        assert_eq!(found.len(), 1, "{name}: nothing behind {second} s");
        assert_eq!(found[0].1, all[picture].1, "{name}: at {second} s");
    }
}

#[test]
fn what_a_transport_stream_cannot_carry_has_none() {
    for name in ["vp9.webm", "av1.mkv", "old.avi"] {
        let built = build(&film(name));
        assert_eq!(views::find(&built.views, "ts"), None, "{name}");
        assert_eq!(views::entries(&built.views, "ts"), None, "{name}");
        let root = views::entries(&built.views, "").unwrap();
        assert!(root.iter().all(|entry| entry.name != "ts"), "{name}");
    }
    // DTS is only in the MP4 form; its AAC rendition is in both.
    let built = build(&film("bluray.mkv"));
    let names = built.directories_in("ts");
    assert_eq!(
        names,
        [
            "ts/video",
            "ts/audio-1",
            "ts/audio-3",
            "ts/audio-4",
            "ts/audio-5"
        ]
    );
    assert_eq!(views::find(&built.views, "ts/audio-2"), None);
    assert!(matches!(
        built.views.tracks[2].kind,
        TrackKind::Audio { .. }
    ));
    // Views of the release before have no sizes, and keep their bytes.
    let mut older = built.views.clone();
    for track in &mut older.tracks {
        track.transport_sizes.clear();
        track.first_pictures.clear();
    }
    assert_eq!(views::find(&older, "ts/master.m3u8"), None);
    for path in ["video.m3u8", "video/init.mp4", "video/00001.m4s"] {
        let found = views::find(&older, path);
        assert_eq!(found, views::find(&built.views, path), "{path}");
    }
    let master = |views: &tgfs::model::Views| match views::find(views, "master.m3u8") {
        Some(ViewNode::File(file)) => match file.body {
            ViewBody::Inline(text) => String::from_utf8(text.to_vec()).unwrap(),
            body => panic!("{body:?}"),
        },
        other => panic!("{other:?}"),
    };
    let newer = master(&built.views);
    let lines = newer.lines().filter(|line| !line.contains("I-FRAME"));
    assert!(lines.eq(master(&older).lines()));
}
