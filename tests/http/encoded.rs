//! Tests of video that the daemon encodes: a rendition for browsers, and parts above the segment limit.

use std::process::Command;
use std::time::{Duration, Instant};

use super::client::get;
use super::daemon::Daemon;
use super::film;
use super::{hls_parser_accepts_every_playlist, play_in_chromium};

/// Timeout for encoding 20 seconds of video on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Uploads a film and returns its id.
fn take_in(daemon: &Daemon, name: &str) -> String {
    daemon.run(&[
        "upload",
        "--to",
        "/",
        film::prepared(name).to_str().unwrap(),
    ]);
    daemon.run(&["status", "--wait", &format!("/{name}")]);
    let list = daemon.run(&["list", "--json", &format!("/{name}")]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list[0]["id"].as_str().unwrap().to_owned()
}

fn master(daemon: &Daemon, id: &str) -> String {
    let reply = get(daemon, &format!("/playlist/local/{id}.m3u8"));
    assert_eq!(reply.status, 200);
    reply.text()
}

/// Waits until the film has an H.264 rendition. Returns the steps shown in the meantime, each with the
/// film's state.
fn wait_for_rendition(daemon: &Daemon, id: &str) -> Vec<(String, String)> {
    let begun = Instant::now();
    let mut steps = Vec::new();
    while !master(daemon, id).contains("avc1.64") {
        let status = daemon.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        for job in status["jobs"].as_array().unwrap() {
            let text = |key: &str| job[key].as_str().unwrap().to_owned();
            assert!(job["progress"].as_u64().unwrap() <= 100);
            steps.push((text("step"), text("state")));
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "no rendition: {steps:?}\n{status}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    steps
}

fn settings(log: &str) -> Vec<(&'static str, String)> {
    vec![
        ("TGFS_COMPAT_VIDEO", "on".to_owned()),
        ("FFMPEG_HARDWARE_ACCEL", "nvidia".to_owned()),
        ("LOG_FILE", log.to_owned()),
    ]
}

#[test]
fn video_that_browsers_refuse_plays_in_chromium() {
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("tgfs.log");
    let settings = settings(log.to_str().unwrap());
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let daemon = &Daemon::start_with(&settings);
    for (name, codec) in [("hevc.mkv", "hvc1"), ("mpeg2.ts", "mp4v")] {
        // The film is stored and has its ordinary views before anything is encoded.
        let id = take_in(daemon, name);
        let before = master(daemon, &id);
        assert!(before.contains(codec), "{before}");
        let steps = wait_for_rendition(daemon, &id);
        let encoding = ("encode".to_owned(), "stored".to_owned());
        assert!(steps.contains(&encoding), "{name}: {steps:?}");
        daemon.run(&["status", "--wait"]);
        let after = master(daemon, &id);
        // The segments of a transport stream are ranges of the original, which is not copied.
        let is_beside = after.contains("/video-2.m3u8");
        assert_eq!(is_beside, name == "hevc.mkv", "{after}");
        let uris: Vec<&str> = after
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert!(uris[0].contains("/video.m3u8"), "{after}");
        hls_parser_accepts_every_playlist(daemon, &id);
        let seen = play_in_chromium(daemon, &id, &[]);
        assert_eq!(seen["start"]["height"], 360, "{seen}");
        the_file_is_the_same(daemon, name);
    }
    // Exactly one clear line for each film.
    let texts: Vec<String> = std::fs::read_dir(logs.path())
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let told = lines
        .filter(|line| line.contains("nvidia does not work here"))
        .count();
    assert_eq!(told, 2, "{texts:?}");
}

fn the_file_is_the_same(daemon: &Daemon, name: &str) {
    let source = std::fs::read(film::prepared(name)).unwrap();
    assert!(
        get(daemon, &format!("/fs/{name}")).body == source,
        "{name}: other bytes"
    );
}

/// Without the rendition the film has no views; with it, the rendition is its only video.
#[test]
fn a_film_that_hls_cannot_carry_gets_it_by_encoding() {
    let daemon = &Daemon::start_with(&[("TGFS_COMPAT_VIDEO", "on")]);
    let id = take_in(daemon, "vp8sound.webm");
    let url = format!("/playlist/local/{id}.m3u8");
    let begun = Instant::now();
    while get(daemon, &url).status != 200 {
        assert!(begun.elapsed() < PATIENCE, "{}", daemon.run(&["status"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let seen = play_in_chromium(daemon, &id, &[]);
    assert_eq!(seen["start"]["height"], 180, "{seen}");
    // A second request does not change the views.
    daemon.run(&["retry", "/vp8sound.webm"]);
    daemon.run(&["status", "--wait", "/vp8sound.webm"]);
    assert!(master(daemon, &id).contains("avc1.64"));
    the_file_is_the_same(daemon, "vp8sound.webm");
}

#[test]
fn the_page_plays_across_what_was_encoded_again() {
    let daemon = &Daemon::start_with(&[("TGFS_OVERSIZE", "reencode"), ("MAX_CHUNK_SIZE", "3MiB")]);
    let id = take_in(daemon, "large.mkv");
    the_file_is_the_same(daemon, "large.mkv");
    hls_parser_accepts_every_playlist(daemon, &id);
    // The seeks play from the film's own frames into encoded ones, and back.
    for seek in ["5.3", "11.3"] {
        let seen = play_in_chromium(daemon, &id, &["--seek", seek]);
        let buffered = seen["buffered"].as_array().unwrap();
        // The first picture of a film with reordering is shown shortly after 0.
        let is_usual = |fault: &serde_json::Value| fault["details"] == "bufferSeekOverHole";
        let faults = seen["faults"].as_array().unwrap();
        assert!(faults.iter().all(is_usual), "{seen}");
        assert_eq!(buffered.len(), 1, "{seen}");
    }
}

/// `retry` on a film with views applies settings that changed.
#[test]
fn retry_makes_views_anew_and_keeps_the_old_ones_meanwhile() {
    let daemon = &Daemon::start();
    let id = take_in(daemon, "large.mkv");
    let list = |daemon: &Daemon| -> serde_json::Value {
        serde_json::from_str(&daemon.run(&["list", "--json", "/large.mkv"])).unwrap()
    };
    let before = (
        master(daemon, &id),
        list(daemon)[0]["segments"].as_u64().unwrap(),
    );
    let env = daemon.directory().join(".env");
    std::fs::write(
        env,
        "MAX_SEGMENT_DURATION=3s\nTGFS_OVERSIZE=reencode\nMAX_CHUNK_SIZE=2MiB\n",
    )
    .unwrap();
    daemon.run(&["reload"]);
    daemon.run(&["retry", "/large.mkv"]);
    // Old or new views are available at all times.
    assert!(master(daemon, &id).contains("video.m3u8"));
    daemon.run(&["status", "--wait", "/large.mkv"]);
    let after = (
        master(daemon, &id),
        list(daemon)[0]["segments"].as_u64().unwrap(),
    );
    assert!(after.1 > before.1, "{before:?} {after:?}");
    assert_ne!(after.0, before.0, "addresses carry the digest of the map");
    the_file_is_the_same(daemon, "large.mkv");
    let state = &list(daemon)[0]["state"];
    assert_eq!(state, "stored");
}

#[test]
fn plan_says_which_segments_are_encoded_again() {
    let film = film::prepared("large.mkv");
    let scratch = tempfile::tempdir().unwrap();
    let plan = |options: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tgfs"))
            .args(["plan", film.to_str().unwrap()])
            .args(options)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", scratch.path())
            .env("TGFS_OVERSIZE", "reencode")
            .env("MAX_CHUNK_SIZE", "3MiB")
            .current_dir(scratch.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let found: serde_json::Value = serde_json::from_str(&plan(&["--json"])).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let cuts = &found["cuts"];
    let (copied, encoded) = (number(&cuts["copied"]), number(&cuts["reencoded"]));
    assert!(copied > 0 && encoded > 0, "{found}");
    assert_eq!(copied + encoded, number(&cuts["segments"]), "{found}");
    assert!(number(&cuts["largest"]) <= 3 << 20, "{found}");
    // Quiet and large parts alternate.
    let parts = found["segments"].as_array().unwrap();
    let kinds: Vec<&str> = parts
        .iter()
        .map(|part| part["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["mapped", "reencoded", "mapped", "reencoded"],
        "{found}"
    );
    let last = number(&parts[3]["last"]);
    assert_eq!(last, number(&cuts["segments"]), "{found}");
    let text = plan(&[]);
    assert!(
        text.contains("segments: 1 mapped, 2-") && text.contains(" encoded again"),
        "{text}"
    );
}
