//! Tests of the pictures for scrubbing: a cue names the picture that the film shows at that time.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::*;

const SECONDS: u32 = 95;
/// Mean difference of brightness (of 255) below which two small pictures count as the same. Pictures of this
/// film that are ten seconds apart differ by more than 8.
const SAME: f64 = 5.0;

fn made(directory: &Path, name: &str, size: &str, options: &[&str]) -> PathBuf {
    let path = directory.join(name);
    // Each moment has a colour of its own and shows a clock.
    let picture = format!("testsrc=s={size}:r=10:d={SECONDS},hue=b='3*sin(t/7)':h='t*11'");
    let mut arguments = vec!["-y", "-f", "lavfi", "-i", &picture, "-pix_fmt", "yuv420p"];
    arguments.extend(options);
    arguments.push(path.to_str().unwrap());
    ffmpeg(&arguments);
    path
}

/// Returns the brightness of one frame, as ffmpeg gives it with these options.
fn gray(input: &Path, before: &[&str], filter: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(before)
        .arg("-i")
        .arg(input)
        .args(["-vf", filter, "-frames:v", "1", "-pix_fmt", "gray"])
        .args(["-f", "rawvideo", "-"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn difference(one: &[u8], other: &[u8]) -> f64 {
    assert!(
        one.len() == other.len() && !one.is_empty(),
        "{} and {}",
        one.len(),
        other.len()
    );
    let sum: u64 = one
        .iter()
        .zip(other)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / one.len() as f64
}

struct Cue {
    from: f64,
    until: f64,
    sheet: String,
    place: Vec<usize>,
}

fn cues(text: &str) -> Vec<Cue> {
    let time = |clock: &str| {
        let parts = clock.trim().split(':');
        parts.fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
    };
    let blocks = text.trim_end().split("\n\n").skip(1);
    blocks
        .map(|block| {
            let (times, picture) = block.split_once('\n').unwrap();
            let (from, until) = times.split_once(" --> ").unwrap();
            let (sheet, place) = picture.split_once("#xywh=").unwrap();
            Cue {
                from: time(from),
                until: time(until),
                sheet: sheet.to_owned(),
                place: place.split(',').map(|part| part.parse().unwrap()).collect(),
            }
        })
        .collect()
}

fn check_pictures(path: &Path, height: usize) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let built = build(path);
    let list = cues(&built.text("thumbnails.vtt"));
    assert!(
        (9..=10).contains(&list.len()),
        "{name}: {} pictures",
        list.len()
    );
    assert!(
        list[0].from == 0.0 && list[9.min(list.len() - 1)].until >= f64::from(SECONDS) - 0.5,
        "{name}"
    );
    for pair in list.windows(2) {
        assert!(
            pair[0].until == pair[1].from && pair[1].from - pair[0].from >= 8.0,
            "{name}"
        );
    }
    let length = list.len();
    for (number, cue) in list.iter().enumerate() {
        let sheet = built.directory.path().join(&cue.sheet);
        std::fs::write(&sheet, built.read(&cue.sheet)).unwrap();
        assert_eq!(cue.place[2..], [160, height], "{name}");
        let [x, y, w, h] = cue.place[..] else {
            panic!()
        };
        let shown = gray(&sheet, &[], &format!("crop={w}:{h}:{x}:{y}"));
        let small = format!("scale={w}:{h}:flags=bicubic");
        let at = |seconds: f64| gray(path, &["-ss", &format!("{seconds:.3}")], &small);
        let off = difference(&shown, &at(cue.from));
        assert!(off < SAME, "{name}: picture {number} differs by {off}");
        let other = list[(number + length / 2) % length].from;
        assert!(
            difference(&shown, &at(other)) > SAME,
            "{name}: all pictures look the same"
        );
    }
}

#[test]
fn a_cue_names_the_picture_that_the_film_shows_then() {
    let directory = tempfile::tempdir().unwrap();
    let film = |name, size, options| made(directory.path(), name, size, options);
    let h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "20"];
    check_pictures(&film("h264.mkv", "320x180", &h264), 90);
    check_pictures(&film("high.mp4", "180x320", &h264), 284);
    let wide = [&h264[..], &["-vf", "setsar=16/11"]].concat();
    check_pictures(&film("anamorphic.mp4", "352x288", &wide), 90);
    #[rustfmt::skip]
    check_pictures(&film("hevc.mkv", "320x180", &[
        "-c:v", "libx265", "-preset", "ultrafast",
        "-x265-params", "log-level=error:keyint=30:min-keyint=30:bframes=3:open-gop=1",
    ]), 90);
    let vp9 = [
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-g",
        "25",
        "-b:v",
        "300k",
    ];
    check_pictures(&film("vp9.webm", "320x180", &vp9), 90);
}

#[test]
fn a_film_that_is_short_or_has_no_such_pictures_has_none() {
    // A decoder would output recovery points of H.264 in another order.
    let directory = tempfile::tempdir().unwrap();
    #[rustfmt::skip]
    let open = made(directory.path(), "open.ts", "320x180", &[
        "-c:v", "libx264", "-preset", "superfast", "-bf", "3", "-g", "30",
        "-x264-params", "open-gop=1:scenecut=0",
    ]);
    assert!(
        !build(&open)
            .files("")
            .contains(&"thumbnails.vtt".to_owned())
    );
    for name in ["main.mkv", "song.m4a"] {
        let built = build(&film(name));
        assert!(
            !built.files("").contains(&"thumbnails.vtt".to_owned()),
            "{name}"
        );
    }
}

/// A decoder that fails costs only the sheets, not the film.
#[test]
fn what_cannot_be_decoded_leaves_the_film_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "20"];
    let path = made(directory.path(), "film.mkv", "320x180", &h264);
    let script = directory.path().join("ffmpeg");
    // The script behaves like ffmpeg, but fails for the sheets.
    let text = "#!/bin/sh\ncase \"$*\" in *tile=*) head -c 5000 /dev/urandom; exit 1;; esac\nexec ffmpeg \"$@\"\n";
    std::fs::write(&script, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let launcher = tgfs::process::Launcher::Direct;
    let tool = tgfs::media::tool::ffmpeg::Ffmpeg::with_programs(launcher, script, "ffprobe".into());
    let tool: std::sync::Arc<dyn tgfs::media::tool::MediaTool> = std::sync::Arc::new(tool);
    let built = build_with(&tool, &path);
    let files = built.files("");
    assert!(files.contains(&"thumbnail.jpg".to_owned()), "{files:?}");
    assert!(
        !files
            .iter()
            .any(|file| file.starts_with("sprite") || file == "thumbnails.vtt"),
        "{files:?}"
    );
    super::check::check(&built);
}
