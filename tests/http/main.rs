//! Tests of the gateway of a real daemon: a film is uploaded on the command line and comes back as a file,
//! as HLS, as subtitles, and on the page in a browser.
//!
//! The rules of HTTP itself (ranges, validators, trust, timers) are tested in `src/http/tests`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall say where"
)]

mod client;
mod daemon;
mod encoded;
mod external_subtitles;
mod film;
mod floods;
mod h2_frames;
mod hostile;
mod in_place;
mod names;
mod nginx;
mod private;
mod proxies;
mod remade;
mod sign_in;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use client::{Reply, as_stranger, get, request};
use daemon::Daemon;

const FILM: &str = "/Films/Heat & Dust #1.mkv";

/// Returns a daemon that has stored the film.
fn daemon_with_film() -> Daemon {
    let daemon = Daemon::start();
    let film = source(&daemon);
    film::make(&film);
    daemon.run(&["upload", "--to", "/Films", film.to_str().unwrap()]);
    daemon.run(&["status", "--wait", FILM]);
    daemon
}

fn source(daemon: &Daemon) -> PathBuf {
    daemon.directory().join("Heat & Dust #1.mkv")
}

#[test]
fn a_film_comes_out_in_every_form() {
    let daemon = daemon_with_film();
    the_file_comes_back_byte_for_byte(&daemon);
    every_address_of_the_playlists_answers_and_may_be_kept(&daemon);
    ffmpeg_plays_the_playlist(&daemon);
    transport_streams_have_the_size_and_the_ranges_that_they_announce(&daemon);
    subtitles_come_by_language(&daemon);
    chapters_come_as_json_and_webvtt(&daemon);
}

fn chapters_come_as_json_and_webvtt(daemon: &Daemon) {
    let film = listed(daemon);
    assert_eq!(film["chapters"][1]["title"], "Heat", "{film}");
    assert_eq!(film["chapters"][1]["start"], 10.0, "{film}");
    let at = |name: &str| get(daemon, &format!("/segment/{}/{name}", id(daemon)));
    let (json, webvtt) = (at("chapters.json"), at("chapters.vtt"));
    assert_eq!(json.header("content-type"), Some("application/json"));
    let list: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(list[1]["start-time"], 10.0, "{list}");
    assert_eq!(list[1]["titles"][0]["title"], "Heat", "{list}");
    let webvtt = String::from_utf8(webvtt.body).unwrap();
    assert!(
        // The sound ends some milliseconds after the last picture.
        webvtt.contains("\n00:00:10.000 --> 00:00:20.") && webvtt.ends_with("\nHeat\n"),
        "{webvtt}"
    );
}

fn listed(daemon: &Daemon) -> serde_json::Value {
    let reply = get(daemon, "/files.json");
    let list: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    list["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"] == FILM)
        .unwrap_or_else(|| panic!("the film is not listed: {list}"))
        .clone()
}

fn id(daemon: &Daemon) -> String {
    listed(daemon)["id"].as_str().unwrap().to_owned()
}

fn the_file_comes_back_byte_for_byte(daemon: &Daemon) {
    let source = std::fs::read(source(daemon)).unwrap();
    let direct = listed(daemon)["direct"].as_str().unwrap().to_owned();
    assert_eq!(direct, "/fs/Films/Heat%20%26%20Dust%20%231.mkv");
    let whole = get(daemon, &direct);
    assert_eq!(whole.status, 200);
    assert!(whole.body == source, "other bytes came back");
    let middle = request(daemon, "GET", &direct, &["Range: bytes=70000-900000"]);
    assert_eq!(middle.status, 206);
    assert!(
        middle.body == source[70_000..=900_000],
        "other bytes came back"
    );
    let tag = format!("If-None-Match: {}", whole.header("etag").unwrap());
    assert_eq!(request(daemon, "GET", &direct, &[&tag]).status, 304);
    let folder = request(daemon, "GET", "/fs/", &["Accept: application/json"]);
    assert!(folder.text().contains("\"Films/\""), "{}", folder.text());
}

/// Returns the URIs in a playlist: on lines of their own, and in `URI="…"`.
fn addresses(playlist: &str) -> Vec<String> {
    playlist
        .lines()
        .filter_map(|line| match line.strip_prefix('#') {
            None => Some(line),
            Some(tag) => tag.split_once("URI=\"")?.1.split('"').next(),
        })
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the addresses of the playlists in a multivariant one, which may name a file of chapters too.
fn playlists(master: &str) -> Vec<String> {
    let is_playlist = |address: &String| !address.contains("chapters.json");
    addresses(master).into_iter().filter(is_playlist).collect()
}

/// Returns the path that a relative address in the playlist at `base` leads to.
fn path_of(base: &str, address: &str) -> String {
    assert!(
        !address.contains("://") && !address.starts_with('/'),
        "{address} is not relative"
    );
    let mut names: Vec<&str> = base.split('?').next().unwrap().split('/').collect();
    names.pop();
    for name in address.split('/') {
        match name {
            ".." => {
                names.pop().unwrap();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

fn expect_kept(reply: &Reply, path: &str) {
    assert_eq!(reply.status, 200, "{path}");
    let kept = reply.header("cache-control").unwrap_or_default();
    assert!(kept.contains("immutable"), "{path}: {kept}");
}

/// Returns the addresses of the playlists in a multivariant one. The address of its chapters must answer.
fn playlists_of(daemon: &Daemon, master_at: &str, master: &Reply) -> Vec<String> {
    let all = addresses(&master.text());
    let chapters = all
        .iter()
        .find(|address| address.contains("chapters.json"))
        .unwrap();
    let at = path_of(master_at, chapters);
    expect_kept(&as_stranger(daemon, "GET", &at, &[]), &at);
    playlists(&master.text())
}

fn every_address_of_the_playlists_answers_and_may_be_kept(daemon: &Daemon) {
    let id = id(daemon);
    let master_at = format!("/playlist/local/{id}.m3u8");
    // Whoever knows the id plays.
    let get = |daemon: &Daemon, path: &str| as_stranger(daemon, "GET", path, &[]);
    let master = get(daemon, &master_at);
    assert_eq!(
        master.header("content-type"),
        Some("application/vnd.apple.mpegurl")
    );
    hls_m3u8::MasterPlaylist::try_from(master.text().as_str()).unwrap();
    let playlists = playlists_of(daemon, &master_at, &master);
    // The playlists are those of the video and its key frames, of two languages, and of two subtitles.
    assert_eq!(playlists.len(), 6, "{}", master.text());
    let mut segments = 0;
    for address in playlists {
        let playlist_at = path_of(&master_at, &address);
        let playlist = get(daemon, &playlist_at);
        expect_kept(&playlist, &address);
        hls_m3u8::MediaPlaylist::try_from(playlist.text().as_str()).unwrap();
        for address in addresses(&playlist.text()) {
            let path = path_of(&playlist_at, &address);
            let whole = get(daemon, &path);
            expect_kept(&whole, &path);
            let end = as_stranger(daemon, "GET", &path, &["Range: bytes=-7"]);
            assert_eq!(end.status, 206, "{path}");
            assert!(
                whole.body.ends_with(&end.body) && end.body.len() == 7,
                "{path}"
            );
            let by_tree = path.split_once(&id).unwrap().1.split('?').next().unwrap();
            let twin = client::get(
                daemon,
                &format!("/fs/.hls/Films/Heat%20%26%20Dust%20%231.mkv{by_tree}"),
            );
            assert!(twin.body == whole.body, "{path} differs from the mount's");
            segments += 1;
        }
    }
    assert!(segments > 10, "{segments} segments");
    let slug = listed(daemon)["slug"].as_str().unwrap().to_owned();
    let by_slug = format!("/playlist/local/{slug}.m3u8");
    assert_eq!(get(daemon, &by_slug).status, 401);
    assert_eq!(client::get(daemon, &by_slug).body, master.body);
    let stale = format!("/segment/{id}/video/00001.m4s?v=0123456789abcdef");
    assert_eq!(get(daemon, &stale).status, 404);
}

fn transport_streams_have_the_size_and_the_ranges_that_they_announce(daemon: &Daemon) {
    let id = id(daemon);
    let master_at = format!("/playlist/local/{id}.m3u8?container=ts");
    let master = get(daemon, &master_at);
    assert_eq!(master.status, 200);
    let playlists: Vec<String> = playlists_of(daemon, &master_at, &master)
        .iter()
        .map(|address| path_of(&master_at, address))
        .collect();
    // The playlists are those of the video, of two languages, and of the two subtitles of the other format.
    assert_eq!(playlists.len(), 5, "{}", master.text());
    let mut segments = 0;
    for playlist in &playlists {
        let text = get(daemon, playlist).text();
        for address in addresses(&text) {
            let path = path_of(playlist, &address);
            let whole = get(daemon, &path);
            expect_kept(&whole, &path);
            if !path.contains("/ts/") {
                continue;
            }
            segments += 1;
            assert_eq!(whole.header("content-type"), Some("video/mp2t"), "{path}");
            let size = whole.body.len();
            for (from, to) in [(0, 0), (100, 40_000), (size / 2, size - 1)] {
                let to = to.min(size - 1);
                let range = format!("Range: bytes={from}-{to}");
                let part = request(daemon, "GET", &path, &[&range]);
                let announced = format!("bytes {from}-{to}/{size}");
                assert_eq!(part.header("content-range"), Some(announced.as_str()));
                assert!(part.body == whole.body[from..=to], "{path}: other bytes");
            }
        }
    }
    assert!(segments >= 9, "{segments} segments");
}

fn ffmpeg_plays_the_playlist(daemon: &Daemon) {
    let url = format!(
        "http://{}/playlist/local/{}.m3u8",
        daemon.address(),
        id(daemon)
    );
    #[rustfmt::skip]
    let arguments = ["-v", "error", "-i", &url, "-map", "0:v", "-map", "0:a", "-f", "null", "-"];
    let output = Command::new("ffmpeg")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    // ffmpeg before 7 prints this for every subtitle rendition.
    let complaints: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| !line.contains("Can't support the subtitle"))
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

fn subtitles_come_by_language(daemon: &Daemon) {
    let id = id(daemon);
    let list = get(daemon, &format!("/subtitles/{id}"));
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    let english = get(daemon, &format!("/subtitle/{id}/eng.srt"));
    assert!(english.text().contains("English one"), "{}", english.text());
    let spanish = get(daemon, &format!("/subtitle/{id}/spa"));
    assert_eq!(
        spanish.header("content-type"),
        Some("text/vtt; charset=utf-8")
    );
    assert!(spanish.text().contains("Español two"), "{}", spanish.text());
}

/// Reads playlists with the strictest parser available.
fn hls_parser_accepts_every_playlist(daemon: &Daemon, id: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("node")
        .arg(root.join("tests/browser/playlists.mjs"))
        .arg(format!(
            "http://{}/playlist/local/{id}.m3u8",
            daemon.address()
        ))
        .output()
        .expect("node is missing: `apt-get install nodejs npm chromium`");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_page_plays_the_film_in_chromium() {
    let daemon = &daemon_with_film();
    hls_parser_accepts_every_playlist(daemon, &id(daemon));
    let seen = play_in_chromium(daemon, &id(daemon), &[]);
    assert_eq!(
        seen["start"]["audio"].as_array().unwrap().len(),
        2,
        "{seen}"
    );
    assert_eq!(seen["cues"].as_array().unwrap().len(), 2, "{seen}");
    assert!(seen.to_string().contains("Español"), "{seen}");
    let chapters = serde_json::json!(["0:00 Dust", "0:10 Heat"]);
    assert_eq!(seen["start"]["chapters"], chapters, "{seen}");
    // The second chapter was chosen, and the film went there.
    assert!(seen["chapter"].as_f64().unwrap() >= 9.9, "{seen}");
}

/// Plays a file on the page and returns what the script saw; fails if it saw a fault.
fn play_in_chromium(daemon: &Daemon, id: &str, options: &[&str]) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        root.join("ui/node_modules/playwright-core").is_dir()
            && get(daemon, "/hls.min.js").status == 200,
        "the player or playwright-core is missing: run `scripts/setup-ui --test` and build again"
    );
    let shots = daemon.directory().join("shots");
    let output = Command::new("node")
        .arg(root.join("tests/browser/play.mjs"))
        .arg(daemon.url("/"))
        .arg(id)
        .arg("--shots")
        .arg(&shots)
        .args(options)
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
