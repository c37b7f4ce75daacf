//! Files that their modes close to other users of the machine are closed over HTTP, too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::client::{as_stranger, get};
use crate::daemon::Daemon;
use crate::film;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_private_file_plays_for_its_owner_only() {
    let daemon = Daemon::mounted();
    let source = daemon.directory().join("film.mkv");
    film::make(&source);
    let folder = daemon.mountpoint().join("Films");
    fs::create_dir(&folder).unwrap();
    let inside = folder.join("film.mkv");
    fs::copy(&source, &inside).unwrap();
    daemon.run(&["status", "--wait", "/Films/film.mkv"]);
    let listed = daemon.run(&["list", "--json", "/Films/film.mkv"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    let paths = [
        format!("/playlist/local/{id}.m3u8"),
        format!("/segment/{id}/video/00001.m4s"),
        format!("/thumbnail/{id}.jpg"),
        format!("/subtitles/{id}"),
        format!("/subtitle/{id}/eng"),
    ];
    let strangers_get = |expected: u16| {
        for path in &paths {
            let seen = as_stranger(&daemon, "GET", path, &[]);
            assert_eq!(seen.status, expected, "{path}");
            assert_eq!(get(&daemon, path).status, 200, "{path}");
        }
    };
    chmod(&folder, 0o755);
    chmod(&inside, 0o644);
    strangers_get(200);
    // A media server has no login, so it gets no address that it cannot open.
    let shelf = daemon.directory().join("shelf");
    let films_and_private = || {
        let base = daemon.url("");
        let shelf = shelf.to_str().unwrap();
        let told = daemon.run(&[
            "strm",
            "--json",
            "--base-url",
            base.trim_end_matches('/'),
            shelf,
        ]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        (
            told["films"].as_u64().unwrap(),
            told["private"].as_u64().unwrap(),
        )
    };
    assert_eq!(films_and_private(), (1, 0));
    chmod(&inside, 0o600);
    strangers_get(404);
    assert_eq!(films_and_private(), (0, 1));
    assert!(!shelf.join("Films/film.strm").exists());
    chmod(&inside, 0o644);
    chmod(&folder, 0o700);
    strangers_get(404);
    assert_eq!(films_and_private(), (0, 1));
    chmod(&folder, 0o711);
    strangers_get(200);
}
