//! Frame-exact seeks over HLS in a film of 24000/1001 frames per second. Matroska rounds the times
//! to milliseconds, so no time is a whole number of frames.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::daemon::Daemon;
use crate::sources;
use crate::tools;

const RATE: f64 = 24_000.0 / 1001.0;
const FRAMES: usize = 599;

/// Returns digests of the pictures from `seconds` on.
fn pictures(program: &Path, input: &str, seconds: f64, count: usize) -> Vec<String> {
    let (from, count) = (format!("{seconds:.4}"), count.to_string());
    let mut command = Command::new(program);
    command.args(["-v", "error", "-nostdin"]);
    if seconds > 0.0 {
        command.args(["-ss", &from]);
    }
    let output = command
        .args(["-i", input, "-map", "0:v:0", "-vsync", "0"])
        .args(["-frames:v", &count, "-f", "framemd5", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(',').nth(5).unwrap().trim().to_owned())
        .collect()
}

#[test]
fn both_ffmpegs_seek_to_the_frame_in_what_they_can_read() {
    let daemon = Daemon::start();
    let place = daemon.directory();
    let film = "-f lavfi -i testsrc2=s=320x180:r=24000/1001:d=25 -f lavfi -i sine=d=25 -c:v libx264 -preset superfast -bf 2 -g 90 -keyint_min 30 -c:a aac";
    sources::ffmpeg(place, film, "film.mkv");
    let file = place.join("film.mkv");
    let source = file.to_str().unwrap();
    daemon.run(&["upload", "--to", "/", source]);
    let listed: Value = serde_json::from_str(&daemon.run(&["list", "--json", "/"])).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    let url = format!("http://{}/playlist/local/{id}.m3u8", daemon.address());
    let all = pictures(Path::new("ffmpeg"), source, 0.0, FRAMES);
    assert_eq!(all.len(), FRAMES);
    let ways = [
        (tools::ffmpeg_8(), url.clone()),
        ("ffmpeg".into(), format!("{url}?container=ts")),
    ];
    // Targets lie between two frames, so rounding cannot matter. Every 53rd frame covers all positions in segments.
    for frame in (7..FRAMES - 2).step_by(53) {
        let seconds = (frame as f64 - 0.4) / RATE;
        for (program, url) in &ways {
            let found = pictures(program, url, seconds, 1);
            let at = all
                .iter()
                .position(|picture| found.first() == Some(picture));
            assert_eq!(at, Some(frame), "{url} from {seconds}");
        }
    }
}
