//! Debian's players on the URLs of a running daemon: frames are decoded,
//! each audio and subtitle track can be selected, and a table says which player plays which kind of film. The page
//! in Chromium is tested in `tests/http`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall say where"
)]

#[path = "../http/client.rs"]
mod client;
#[path = "../http/daemon.rs"]
mod daemon;
mod encoded;
mod faithful;
#[path = "../http/film.rs"]
mod film;
mod film_on_air;
mod in_place;
mod kinds;
mod kodi;
mod long;
#[path = "../mount/material.rs"]
mod material;
mod mpv;
mod players;
mod reasons;
mod seeks;
mod sources;
mod synchrony;
mod table;
mod tools;
mod vlc;

use daemon::Daemon;

/// Running daemon with the film, and the URLs at which it plays.
struct Library {
    daemon: Daemon,
}

impl Library {
    fn with_film() -> Self {
        let daemon = Daemon::start();
        let film = daemon.directory().join("film.mkv");
        film::make(&film);
        daemon.run(&["upload", "--to", "/", film.to_str().unwrap()]);
        daemon.run(&["status", "--wait", "/film.mkv"]);
        Self { daemon }
    }

    /// Returns a URL with the token, since a name and the file itself need it.
    fn url(&self, path: &str) -> String {
        self.daemon.url(&format!("/{path}"))
    }

    fn playlist(&self) -> String {
        self.url("playlist/local/film.m3u8")
    }

    fn subtitle(&self, key: &str) -> String {
        let list = self.daemon.run(&["list", "--json", "/film.mkv"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let id = list[0]["id"].as_str().unwrap();
        self.url(&format!("subtitle/{id}/{key}"))
    }
}
