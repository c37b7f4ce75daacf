//! Tests of a film that is a transport stream: its segments are ranges of it, over HTTP too.

use std::path::Path;
use std::process::Command;

use crate::client::{get, request};
use crate::daemon::Daemon;
use crate::{addresses, expect_kept, film, path_of};

/// Bytes of the two tables, which have a packet each.
const TABLES: usize = 376;

/// Starts a daemon with a film in H.264 with AAC and AC-3 in two languages. Browsers take one of them from a
/// transport stream.
fn daemon_with_film() -> (Daemon, String) {
    let daemon = Daemon::start();
    let whole = daemon.directory().join("whole.mkv");
    film::make(&whole);
    let path = daemon.directory().join("film.ts");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i", whole.to_str().unwrap(), "-map", "0:v"])
        .args(["-map", "0:a", "-c", "copy", "-c:a:1", "ac3", "-f", "mpegts"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    daemon.run(&["upload", "--to", "/", path.to_str().unwrap()]);
    daemon.run(&["status", "--wait", "/film.ts"]);
    let list = daemon.run(&["list", "--json", "/film.ts"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    (daemon, id)
}

#[test]
fn a_transport_stream_is_served_from_ranges_of_itself() {
    let (daemon, id) = daemon_with_film();
    let daemon = &daemon;
    let source = std::fs::read(daemon.directory().join("film.ts")).unwrap();
    let master_at = format!("/playlist/local/{id}.m3u8");
    let master = get(daemon, &master_at).text();
    hls_m3u8::MasterPlaylist::try_from(master.as_str()).unwrap();
    let transport = get(daemon, &format!("/playlist/local/{id}.m3u8?container=ts"));
    // The playlist has the video with all audio, and nothing else.
    assert_eq!(addresses(&transport.text()).len(), 1);
    for master in [&master, &transport.text()] {
        let lists = addresses(master);
        let list = lists
            .iter()
            .find(|list| list.contains("/video.m3u8"))
            .unwrap();
        let list_at = path_of(&master_at, list);
        let list = get(daemon, &list_at);
        expect_kept(&list, "video.m3u8");
        let mut at = 0;
        for address in addresses(&list.text()) {
            let path = path_of(&list_at, &address);
            let whole = get(daemon, &path);
            expect_kept(&whole, &path);
            assert_eq!(whole.header("content-type"), Some("video/mp2t"), "{path}");
            let range = &whole.body[TABLES..];
            assert!(range == &source[at..at + range.len()], "{path}");
            at += range.len();
            let size = whole.body.len();
            for (from, to) in [(0, 0), (300, 500), (size / 2, size - 1)] {
                let asked = format!("Range: bytes={from}-{to}");
                let part = request(daemon, "GET", &path, &[&asked]);
                let announced = format!("bytes {from}-{to}/{size}");
                assert_eq!(part.header("content-range"), Some(announced.as_str()));
                assert!(part.body == whole.body[from..=to], "{path}: other bytes");
            }
            let kept = format!("If-None-Match: {}", whole.header("etag").unwrap());
            assert_eq!(request(daemon, "GET", &path, &[&kept]).status, 304);
        }
        assert_eq!(at, source.len());
    }
    // There is the rendition for browsers, and no format that the film lacks.
    let renditions = addresses(&master);
    assert_eq!(
        renditions
            .iter()
            .filter(|list| list.contains("/audio-"))
            .count(),
        1,
        "{master}"
    );
    for gone in [
        "video/init.mp4",
        "video/00001.m4s",
        "ts/audio-3/00001.ts",
        "audio-1.m3u8",
    ] {
        assert_eq!(
            get(daemon, &format!("/segment/{id}/{gone}")).status,
            404,
            "{gone}"
        );
    }
    chromium_plays_it(daemon, &id);
}

fn chromium_plays_it(daemon: &Daemon, id: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("node")
        .arg(root.join("tests/browser/play.mjs"))
        .args([daemon.url("/").as_str(), id])
        .output()
        .expect("node is missing: `apt-get install nodejs npm chromium`");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    let seen: serde_json::Value = serde_json::from_str(&said).unwrap();
    // The player switched to the other language as well.
    assert_eq!(
        seen["start"]["audio"].as_array().unwrap().len(),
        2,
        "{said}"
    );
    assert!(seen["audio"].is_string(), "{said}");
}
