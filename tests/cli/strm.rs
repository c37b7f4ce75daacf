//! Tests of `strm`: it writes files with URLs, for media libraries that play from them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::daemon::Serving;
use crate::scratch::Scratch;

pub fn film(path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-y",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x90:d=4",
    ]);
    command.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
    ]);
    let status = command.arg(path).stdin(Stdio::null()).status();
    let status = status.expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(status.success());
}

#[test]
fn each_film_has_a_file_that_plays_and_goes_with_it() {
    let scratch = Scratch::new();
    let (heat, other) = ("Heat (1995).mkv", "Heat (1995).mp4");
    film(&scratch.path().join(heat));
    film(&scratch.path().join(other));
    std::fs::write(scratch.path().join("note.txt"), b"no film").unwrap();
    let serving = Serving::start(&scratch);
    let upload = ["upload", "--to", "/Films/Heat (1995)", heat, "note.txt"];
    scratch.run(&upload).ok();
    let library = scratch.path().join("library");
    let write = || {
        let arguments = ["strm", "--json", "--base-url", serving.base(), "library"];
        let told = scratch.run(&arguments).json();
        let numbers = ["films", "written", "kept", "removed"];
        numbers.map(|name| told[name].as_u64().unwrap())
    };

    assert_eq!(write(), [1, 1, 0, 0]);
    let alone = library.join("Films/Heat (1995)/Heat (1995).strm");
    let url = std::fs::read_to_string(&alone).unwrap();
    let played = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
        ])
        .arg(url.trim())
        .output()
        .unwrap();
    let played = String::from_utf8_lossy(&played.stdout).into_owned();
    assert!(played.contains("h264"), "{url}: {played}");
    assert_eq!(write(), [1, 0, 1, 0]);

    // Two films with the same name keep their suffixes. A rename changes no URL.
    scratch
        .run(&["upload", "--to", "/Films/Heat (1995)", other])
        .ok();
    assert_eq!(write(), [2, 2, 0, 1]);
    let renamed = std::fs::read_to_string(alone.with_file_name("Heat (1995).mkv.strm")).unwrap();
    assert_eq!(renamed, url);

    // Files of others stay.
    let foreign = library.join("Films/Heat (1995)/Radio.strm");
    std::fs::write(&foreign, "http://radio.example/").unwrap();
    scratch.run(&["delete", "/Films/Heat (1995)"]).ok();
    assert_eq!(write(), [0, 0, 0, 2]);
    assert!(foreign.exists() && !alone.exists());
    assert_eq!(serving.stop(), 0);
}
