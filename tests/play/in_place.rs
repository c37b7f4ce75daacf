//! Playback of a transport stream that is served as ranges of its file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::film::{self, FRAMES};
use crate::mpv::frames;
use crate::vlc::Vlc;

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes an MPEG-TS version of the common film, with audio that browsers do not play.
fn make(daemon: &Daemon) -> PathBuf {
    let (whole, path) = (
        daemon.directory().join("whole.mkv"),
        daemon.directory().join("film.ts"),
    );
    film::make(&whole);
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i", whole.to_str().unwrap(), "-map", "0:v"])
        .args(["-map", "0:a", "-c:v", "copy", "-c:a", "ac3", "-f", "mpegts"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    path
}

fn start_time(path: &Path, entry: &str) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", entry])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

#[test]
fn mpv_and_vlc_play_and_seek_in_ranges_of_a_transport_stream() {
    let daemon = Daemon::start();
    let film = make(&daemon);
    daemon.run(&["upload", "--to", "/", film.to_str().unwrap()]);
    daemon.run(&["status", "--wait", "/film.ts"]);
    let playlist = daemon.url("/playlist/local/film.m3u8");
    let transport = format!("{playlist}?container=ts");
    let all = daemon.directory().join("all");
    assert_eq!(frames(&all, &[&transport]), FRAMES);
    let plain = daemon.directory().join("plain");
    assert_eq!(frames(&plain, &[&playlist]), FRAMES);
    let delay = start_time(&film, "stream=start_time") - start_time(&film, "format=start_time");
    let mut state = 20_261_125_u64;
    for number in 0..10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let frame = usize::try_from(state >> 33).unwrap() % (FRAMES - 2);
        // mpv shows the first frame at or after the seek target.
        let start = format!("--start={:.3}", (frame as f64 - 0.4) / 25.0 + delay);
        let directory = daemon.directory().join(format!("seek-{number}"));
        let only = ["--no-audio", "--sid=no", "--frames=1", &start, &transport];
        assert_eq!(frames(&directory, &only), 1, "{start}");
        let found = std::fs::read(directory.join("00000001.jpg")).unwrap();
        let expected = std::fs::read(all.join(format!("{:08}.jpg", frame + 1))).unwrap();
        assert!(found == expected, "another picture at {start}");
    }
    for url in [&playlist, &transport] {
        let mut vlc = Vlc::play(url);
        let begun = Instant::now();
        while vlc.counted("video decoded") < 50 || vlc.counted("audio decoded") < 50 {
            assert!(begun.elapsed() < PATIENCE, "vlc shows nothing of {url}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
