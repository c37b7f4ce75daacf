//! Tests of sound that browsers cannot play or MP4 cannot carry: it gets an AAC stereo track beside the
//! original.

use std::fs;
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tgfs::media::container::Container;
use tgfs::media::error::MediaError;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::media::tool::task::{Pick, StreamConversion, Task};
use tgfs::media::tool::{MediaTool, ToolOutput};
use tgfs::model::TrackKind;
use tgfs::process::{CancelFlag, Launcher};

use super::support::*;

/// Seconds of one AAC frame at 48 kHz, plus one millisecond for the rounding of containers.
const FRAME: f64 = 1024.0 / 48_000.0 + 0.001;

/// Tool that records its tasks and, if told so, refuses passes that encode.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn MediaTool>,
    refuses_encoding: bool,
    tasks: Mutex<Vec<Task>>,
}

impl MediaTool for Watched {
    fn start(
        &self,
        source: &Path,
        container: Container,
        task: &Task,
        cancel: &CancelFlag,
    ) -> Result<Box<dyn ToolOutput>, MediaError> {
        self.tasks.lock().unwrap().push(task.clone());
        let mut task = task.clone();
        if let Task::Remux(picks, _) = &mut task
            && self.refuses_encoding
            && picks
                .iter()
                .any(|pick| pick.conversion == StreamConversion::Encoded)
        {
            picks.push(Pick {
                stream: 77,
                conversion: StreamConversion::Copied,
            });
        }
        self.inner.start(source, container, &task, cancel)
    }
}

fn watched(refuses_encoding: bool) -> Arc<Watched> {
    Arc::new(Watched {
        inner: tool(),
        refuses_encoding,
        tasks: Mutex::default(),
    })
}

fn codecs(built: &Built) -> Vec<&str> {
    let sound = |kind: &TrackKind| matches!(kind, TrackKind::Audio { .. });
    built
        .views
        .tracks
        .iter()
        .filter(|track| sound(&track.kind))
        .map(|track| track.codec.as_str())
        .collect()
}

/// Returns how often per second the first channel crosses zero, measured over five seconds.
fn crossings(input: &Path) -> usize {
    let raw = input.with_extension("raw");
    let path = raw.to_str().unwrap();
    let cut = ["-ss", "3", "-t", "5", "-ac", "1", "-f", "s16le", "-y", path];
    ffmpeg(&[&["-i", input.to_str().unwrap()], &cut[..]].concat());
    let samples: Vec<i16> = fs::read(&raw)
        .unwrap()
        .chunks_exact(2)
        .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
        .collect();
    let pairs = samples.windows(2);
    pairs.filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count() / 5
}

#[test]
fn each_such_stream_gets_one_rendition_in_sync_with_the_picture() {
    let films: [(&str, &[(&str, usize)]); 5] = [
        ("hevc.mkv", &[("ac-3", 0), ("mp4a.40.2", 0)]),
        ("old.avi", &[("mp4a.6B", 0), ("mp4a.40.2", 0)]),
        ("padded-mpeg2.ts", &[("mp4a.6B", 0), ("mp4a.40.2", 0)]),
        ("phone.mov", &[("mp4a.40.2", 0)]),
        (
            "bluray.mkv",
            &[
                ("mp4a.40.2", 0),
                ("dtsc", 1),
                ("mp4a.40.2", 1),
                ("ec-3", 2),
                ("mp4a.40.2", 2),
            ],
        ),
    ];
    for (name, expected) in films {
        let source = film(name);
        let built = build(&source);
        super::check::check(&built);
        let names: Vec<&str> = expected.iter().map(|(codec, _)| *codec).collect();
        assert_eq!(codecs(&built), names, "{name}");
        let picture = first_time(&built.join("video"), "v:0") - first_time(&source, "v:0");
        for (number, (codec, stream)) in expected.iter().enumerate() {
            let track = built.join(&format!("audio-{}", number + 1));
            let stream = format!("a:{stream}");
            let shift = first_time(&track, "a:0") - first_time(&source, &stream);
            assert!(
                (shift - picture).abs() <= FRAME,
                "{name} {codec}: the sound moved by {shift}, the picture by {picture}"
            );
            let kind = &built.views.tracks[number + 1].kind;
            if *codec == "mp4a.40.2" {
                assert!(
                    matches!(kind, TrackKind::Audio { channels: 2, .. }),
                    "{kind:?}"
                );
                let found = crossings(&track);
                assert!(
                    found.abs_diff(880) <= 15,
                    "{name}: {found} crossings a second"
                );
            } else {
                let packets = |input: &Path, stream: &str| {
                    digests(input, &["-map", &format!("0:{stream}"), "-c", "copy"])
                };
                assert!(
                    packets(&track, "a:0") == packets(&source, &stream),
                    "{name} {codec}: packets differ"
                );
            }
        }
    }
}

#[test]
fn sound_that_all_play_gets_none() {
    for (name, codec) in [("vp9.webm", "opus"), ("av1.mkv", "fLaC")] {
        assert_eq!(codecs(&build(&film(name))), [codec]);
    }
    assert_eq!(codecs(&build(&film("main.mkv"))), ["mp4a.40.2"; 2]);
    let song = build(&film("song.wav"));
    super::check::check(&song);
    assert_eq!(codecs(&song), ["mp4a.40.2"]);
}

#[test]
fn each_variant_names_its_own_codecs_and_the_first_is_for_browsers() {
    let master = build(&film("bluray.mkv")).text("master.m3u8");
    let variants: Vec<&str> = master
        .lines()
        .filter(|line| line.starts_with("#EXT-X-STREAM-INF"))
        .collect();
    let expected = [
        ("avc1.64001e,mp4a.40.2", "audio"),
        ("avc1.64001e,dtsc", "audio-dtsc"),
        ("avc1.64001e,ec-3", "audio-ec-3"),
    ];
    assert_eq!(variants.len(), expected.len(), "{master}");
    for (line, (codecs, group)) in variants.iter().zip(expected) {
        assert!(line.contains(&format!("CODECS=\"{codecs}\"")), "{line}");
        assert!(line.contains(&format!("AUDIO=\"{group}\"")), "{line}");
    }
    let in_group = master.matches("TYPE=AUDIO,GROUP-ID=\"audio\"").count();
    assert_eq!(in_group, 3, "{master}");
}

#[test]
fn all_of_it_is_one_pass() {
    let tool = watched(false);
    build_with(
        &(Arc::clone(&tool) as Arc<dyn MediaTool>),
        &film("bluray.mkv"),
    );
    let tasks = tool.tasks.lock().unwrap();
    assert!(
        matches!(tasks.as_slice(), [Task::Probe, Task::Remux(picks, _), Task::Picture(..)] if picks.len() == 6),
        "{tasks:?}"
    );
}

#[test]
fn what_cannot_be_encoded_beside_the_film_is_tried_alone() {
    let tool = watched(true);
    let refused = Arc::clone(&tool) as Arc<dyn MediaTool>;
    let built = build_with(&refused, &film("hevc.mkv"));
    super::check::check(&built);
    assert_eq!(codecs(&built), ["ac-3", "mp4a.40.2"]);
    let tasks = tool.tasks.lock().unwrap();
    let alone = tasks
        .iter()
        .filter(|task| matches!(task, Task::EncodeAudio(_)));
    assert_eq!(alone.count(), 1, "{tasks:?}");
    // The film is mapped as if the first pass had not happened.
    let whole = build(&film("hevc.mkv"));
    let len = whole.views.derived.len;
    assert!(built.views.derived.len.abs_diff(len) < len / 50, "{len}");
    // ffmpeg guesses decoding times, in each pass to the millisecond.
    let durations = |built: &Built| -> Vec<f64> {
        let (track, ticks) = (&built.views.tracks[0], |ticks| f64::from(ticks));
        let segments = track.segments.iter();
        segments
            .map(|segment| ticks(segment.duration) / ticks(track.timescale))
            .collect()
    };
    let (own, other) = (durations(&built), durations(&whole));
    assert_eq!(own.len(), other.len());
    let near = |(own, other): (&f64, &f64)| (own - other).abs() < 0.001;
    assert!(own.iter().zip(&other).all(near), "{own:?} {other:?}");
}

#[test]
fn decoders_and_encoders_take_the_threads_that_the_settings_say() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ffmpeg");
    let log = directory.path().join("log");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\nexec ffmpeg \"$@\"\n",
        log.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let tool = Ffmpeg::with_programs(Launcher::Direct, program, PathBuf::from("ffprobe"))
        .with_threads(NonZeroU16::new(3));
    build_with(&(Arc::new(tool) as Arc<dyn MediaTool>), &film("phone.mov"));
    let said = fs::read_to_string(&log).unwrap();
    let (before, after) = said.split_once(" -i ").unwrap();
    assert!(
        before.contains("-threads 3") && after.contains("-threads 3"),
        "{said}"
    );
}
