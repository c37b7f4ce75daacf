//! Tests of a subtitle file beside a film, in players and on the page: it is shown at its time and
//! disappears when it is removed. The thumbnails for scrubbing are tested, too.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::{get, request};
use crate::daemon::Daemon;
use crate::{addresses, path_of};

const FILM: &str = "/Films/Heat.mkv";
const SUBTITLES: &str = "/Films/Heat.fre.forced.srt";
const SECONDS: u32 = 75;

fn make_film(path: &Path) {
    let picture = format!("testsrc2=s=320x180:r=10:d={SECONDS}");
    let tone = format!("sine=440:d={SECONDS}");
    #[rustfmt::skip]
    let arguments = [
        "-v", "error", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone,
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "20", "-c:a", "aac",
    ];
    let status = Command::new("ffmpeg")
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(status.success());
}

/// Uploads a subtitle file in Latin-1 beside the film and waits until it is taken in.
fn drop_subtitles(daemon: &Daemon, second: &str) {
    let text = format!(
        "1\r\n00:00:02,500 --> 00:00:06,000\r\nD\u{e9}j\u{e0} vu \u{e0} N\u{ee}mes\r\n\r\n2\r\n00:01:05,000 --> 00:01:10,000\r\n{second}\r\n"
    );
    let latin: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let source = daemon.directory().join("Heat.fre.forced.srt");
    std::fs::write(&source, latin).unwrap();
    daemon.run(&["upload", "--to", "/Films", source.to_str().unwrap()]);
    daemon.run(&["status", "--wait", SUBTITLES]);
}

fn play(daemon: &Daemon, id: &str) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("node")
        .arg(root.join("tests/browser/play.mjs"))
        .args([&daemon.url("/"), id])
        .output()
        .expect("node is missing: `apt-get install nodejs npm chromium`");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_dropped_subtitle_is_shown_at_its_time_and_goes_with_its_file() {
    let daemon = &Daemon::start();
    let source = daemon.directory().join("Heat.mkv");
    make_film(&source);
    daemon.run(&["upload", "--to", "/Films", source.to_str().unwrap()]);
    daemon.run(&["status", "--wait", FILM]);
    let files: serde_json::Value =
        serde_json::from_slice(&get(daemon, "/files.json").body).unwrap();
    let id = files["files"][0]["id"].as_str().unwrap().to_owned();
    let master_at = format!("/playlist/local/{id}.m3u8");
    let master = get(daemon, &master_at);
    assert!(!master.text().contains("SUBTITLES"));

    drop_subtitles(daemon, "Fin");
    let tag = format!("If-None-Match: {}", master.header("etag").unwrap());
    let with = request(daemon, "GET", &master_at, &[&tag]);
    assert_eq!(
        with.status, 200,
        "the tag of the playlist without subtitles still holds"
    );
    assert_eq!(with.header("cache-control"), Some("no-cache"));
    hls_m3u8::MasterPlaylist::try_from(with.text().as_str()).unwrap();
    // Existing URLs stay valid, so that running players are not disturbed.
    for address in addresses(&master.text()) {
        assert!(with.text().contains(&address), "{address} is another now");
    }
    let playlist = addresses(&with.text())
        .into_iter()
        .find(|at| at.contains("/sub-"))
        .unwrap();
    let playlist_at = path_of(&master_at, &playlist);
    let media = get(daemon, &playlist_at);
    assert!(media.header("cache-control").unwrap().contains("immutable"));
    let segment_at = path_of(&playlist_at, &addresses(&media.text())[0]);
    let segment = get(daemon, &segment_at);
    assert!(
        segment
            .header("cache-control")
            .unwrap()
            .contains("immutable")
    );
    assert_eq!(
        segment.header("content-type"),
        Some("text/vtt; charset=utf-8")
    );
    assert_eq!(segment.header("access-control-allow-origin"), Some("*"));
    assert!(
        segment.text().contains("Déjà vu à Nîmes"),
        "{}",
        segment.text()
    );
    it_is_listed_and_comes_by_language(daemon, &id, &playlist);
    let transport = get(daemon, &format!("{master_at}?container=ts")).text();
    assert!(addresses(&transport).contains(&playlist), "{transport}");

    let seen = play(daemon, &id);
    let cue = &seen["cues"][0];
    assert_eq!(cue["language"], "fr", "{seen}");
    let first = cue["first"].as_array().unwrap();
    for (at, expected) in [(0, 2.5), (1, 6.0)] {
        let shift = first[at].as_f64().unwrap() - expected;
        assert!(shift.abs() < 0.05, "{shift} s late: {seen}");
    }
    assert_eq!(first[2], "Déjà vu à Nîmes");
    // Hovering over the bar below the film shows a thumbnail.
    assert_eq!(seen["preview"]["width"], 160, "{seen}");
    assert_eq!(seen["preview"]["sheet"][0], 1600, "{seen}");

    // A file with other bytes has another URL.
    drop_subtitles(daemon, "Fin.");
    let replaced = get(daemon, &master_at).text();
    assert!(
        replaced.contains("/sub-") && !replaced.contains(&playlist),
        "{replaced}"
    );
    assert_eq!(get(daemon, &segment_at).status, 404);

    daemon.run(&["delete", SUBTITLES]);
    let gone = get(daemon, &master_at);
    assert_eq!(gone.body, master.body);
    assert_eq!(get(daemon, &playlist_at).status, 404);
    let seen = play(daemon, &id);
    assert_eq!(seen["start"]["subtitles"], serde_json::json!([]), "{seen}");
}

fn it_is_listed_and_comes_by_language(daemon: &Daemon, id: &str, playlist: &str) {
    let list = get(daemon, &format!("/subtitles/{id}"));
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    let one = &list[0];
    assert_eq!(
        (&one["language"], &one["forced"], &one["hearing_impaired"]),
        (&"fr".into(), &true.into(), &false.into())
    );
    assert_eq!(one["file"], "Heat.fre.forced.srt");
    let by_language = get(daemon, &format!("/subtitle/{id}/fr"));
    assert_eq!(by_language.status, 200);
    assert!(
        by_language.text().starts_with("WEBVTT\n\n00:00:02.500"),
        "{}",
        by_language.text()
    );
    let version = playlist.split_once("?v=").unwrap().1;
    let srt_at = format!("/subtitle/{id}/fra.forced.srt?v={version}");
    let srt = get(daemon, &srt_at);
    assert!(srt.text().contains("Nîmes"), "{}", srt.text());
    // A cache must ask again each time, because another file may have this name later.
    assert_eq!(srt.header("cache-control"), Some("no-cache"));
    // The same holds for the multivariant playlist, even with the map's digest in its URL.
    let master = get(daemon, &format!("/segment/{id}/master.m3u8?v={version}"));
    assert_eq!(master.header("cache-control"), Some("no-cache"));
    let text = daemon.run(&["list", "/Films"]);
    assert!(text.contains("subtitles fra.forced"), "{text}");
}
