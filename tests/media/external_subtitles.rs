//! Tests of subtitles against sound: a cue is shown when its sound is heard, both for subtitles in the film
//! and for files beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tgfs::media::hls::external_subtitles::{self, ExternalView, FileBeside};
use tgfs::media::hls::tags::ExternalSubtitle;
use tgfs::media::hls::view::{Piece, ViewBody, ViewNode};
use tgfs::media::subtitles;
use tgfs::model::{Blob, BlobId, EntryId, Name, SubtitleTexts};
use tgfs::process::CancelFlag;

use super::support::*;

/// Time at which the sound begins, in seconds.
const SOUND_AT: f64 = 5.0;
/// Largest distance of a cue from its sound, in seconds.
const TOLERANCE: f64 = 0.05;
const CUE: &str = "1\n00:00:05,000 --> 00:00:05,500\nBeep\n";

/// Makes a film of twelve seconds with half a second of sound and a cue for it, written with `options`.
fn film(directory: &Path, name: &str, options: &[&str]) -> PathBuf {
    let cues = directory.join("cue.srt");
    std::fs::write(&cues, CUE).unwrap();
    let path = directory.join(name);
    let sound = "aevalsrc='if(between(t,5,5.5),0.8*sin(2*PI*440*t),0)':d=12:s=48000";
    let text = if name.ends_with("mp4") {
        "mov_text"
    } else {
        "srt"
    };
    #[rustfmt::skip]
    let mut arguments = vec![
        "-y", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=12", "-f", "lavfi", "-i", sound,
        "-i", cues.to_str().unwrap(), "-map", "0", "-map", "1", "-map", "2",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-c:s", text,
    ];
    arguments.extend(options);
    arguments.push(path.to_str().unwrap());
    ffmpeg(&arguments);
    path
}

/// Returns the seconds on the segments' time line at which a track's silence ends.
fn heard_at(track: &Path) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-copyts", "-i"])
        .arg(track)
        .args(["-af", "silencedetect=n=-20dB:d=0.3", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = said
        .split_once("silence_end: ")
        .unwrap_or_else(|| panic!("{said}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the seconds on the same time line at which the first cue of a WebVTT segment starts.
fn shown_at(segment: &str) -> f64 {
    let (_, rest) = segment.split_once("MPEGTS:").unwrap();
    let origin: f64 = rest.split(',').next().unwrap().parse().unwrap();
    let cue = segment.lines().find(|line| line.contains(" --> ")).unwrap();
    let clock = cue.split(" --> ").next().unwrap();
    let seconds = clock
        .split(':')
        .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap());
    origin / 90_000.0 + seconds
}

fn drop_beside(
    built: &Built,
    bytes: &[u8],
) -> (Vec<ExternalSubtitle>, subtitles::SubtitleFileContent) {
    let name = Name::new("film.eng.srt").unwrap();
    let read = subtitles::read(&name, bytes, &CancelFlag::default()).unwrap();
    let texts = SubtitleTexts {
        derived: Blob {
            id: BlobId::random(),
            len: read.bytes.len() as u64,
            digest: None,
            slices: Vec::new(),
        },
        texts: read.texts.clone(),
        encoding: read.encoding.to_owned(),
        cues: read.cues,
        note: None,
    };
    let files = vec![FileBeside {
        file: EntryId::ROOT,
        name,
        texts: &texts,
    }];
    (
        external_subtitles::attach(&built.views, b"film", files),
        read,
    )
}

fn external_segment(built: &Built, bytes: &[u8]) -> String {
    let (list, read) = drop_beside(built, bytes);
    let path = format!("{}/00001.vtt", list[0].name);
    let Some(ExternalView::OfFile(_, view)) = external_subtitles::find(&built.views, &list, &path)
    else {
        panic!("no {path}");
    };
    let ViewBody::Pieces(pieces) = view.body else {
        panic!("{:?}", view.body);
    };
    let mut text = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => text.extend_from_slice(&bytes),
            Piece::Derived(range) => {
                text.extend_from_slice(&read.bytes[range.offset as usize..range.end() as usize]);
            }
            Piece::Content(_) => panic!("a part of the film"),
        }
    }
    assert_eq!(text.len() as u64, view.size);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_cue_is_shown_when_its_sound_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str]); 5] = [
        ("plain.mkv", &[]),
        ("plain.mp4", &[]),
        ("late.mkv", &["-output_ts_offset", "7"]),
        ("late.ts.mkv", &["-output_ts_offset", "1.4", "-bf", "2"]),
        ("bframes.mp4", &["-bf", "3"]),
    ];
    for (name, options) in cases {
        let built = build(&film(directory.path(), name, options));
        let heard = heard_at(&built.join("audio-1"));
        let origin = f64::from(built.views.origin_seconds);
        assert!(
            (heard - origin - SOUND_AT).abs() < TOLERANCE,
            "{name}: heard at {heard}"
        );
        // The subtitles in the film.
        let own = built
            .files("sub-1")
            .into_iter()
            .map(|file| built.text(&file));
        let own: Vec<String> = own.filter(|text| text.contains("Beep")).collect();
        assert!(!own.is_empty(), "{name}");
        for segment in own {
            let shift = shown_at(&segment) - heard;
            assert!(shift.abs() < TOLERANCE, "{name}: {shift} s late");
        }
        // A file beside it.
        let shift = shown_at(&external_segment(&built, CUE.as_bytes())) - heard;
        assert!(
            shift.abs() < TOLERANCE,
            "{name}: a file beside it is {shift} s late"
        );
    }
}

/// The playlist lasts exactly as long as the film.
#[test]
fn the_playlist_of_an_external_file_lasts_as_long_as_the_film() {
    let built = build(&super::support::film("main.mkv"));
    let (list, _) = drop_beside(&built, CUE.as_bytes());
    let path = format!("{}.m3u8", list[0].name);
    let Some(ExternalView::OfFilm(ViewNode::File(file))) =
        external_subtitles::find(&built.views, &list, &path)
    else {
        panic!("no {path}");
    };
    let ViewBody::Inline(text) = file.body else {
        panic!("{:?}", file.body);
    };
    let text = String::from_utf8(text.to_vec()).unwrap();
    hls_m3u8::MediaPlaylist::try_from(text.as_str()).unwrap();
    let sum = |text: &str| -> f64 {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("#EXTINF:"));
        lines
            .map(|line| line.trim_end_matches(',').parse::<f64>().unwrap())
            .sum()
    };
    let video = sum(&built.text("video.m3u8"));
    assert!((sum(&text) - video).abs() < 0.01, "{text}");
    let target = text
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:"));
    assert!(target.unwrap().parse::<f64>().unwrap() >= sum(&text));
}
