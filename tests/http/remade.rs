//! A film whose views are made again while somebody plays it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::{FILM, addresses, film, get, id, playlists, source};

/// Addresses of a playlist and what came from there at first.
type Played = Vec<(String, Vec<u8>)>;

/// Resolves a relative address.
fn resolve(base: &str, address: &str) -> String {
    let mut parts: Vec<&str> = base.split('?').next().unwrap().split('/').collect();
    parts.pop();
    for part in address.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Fetches every media playlist of a film and everything in them.
fn play(daemon: &Daemon, id: &str, container: &str) -> Played {
    let master = format!("/playlist/local/{id}.m3u8");
    let text = get(daemon, &format!("{master}?container={container}")).text();
    let mut played = Vec::new();
    for playlist in playlists(&text) {
        let playlist = resolve(&master, &playlist);
        let text = get(daemon, &playlist).text();
        for address in addresses(&text) {
            let address = resolve(&playlist, &address);
            let reply = get(daemon, &address);
            assert_eq!(reply.status, 200, "{address}");
            played.push((address, reply.body));
        }
        played.push((playlist, text.into_bytes()));
    }
    assert!(played.len() > 10, "{text}");
    played
}

fn plays_on(daemon: &Daemon, played: &Played) {
    for (address, bytes) in played {
        let reply = get(daemon, address);
        assert_eq!(reply.status, 200, "{address}");
        assert!(reply.body == *bytes, "{address}: other bytes");
    }
}

#[test]
fn who_plays_sees_no_error_while_the_views_are_made_again() {
    let daemon = Daemon::start_with(&[("TGFS_KEEP_DELETED", "0"), ("TGFS_SETTLE", "0")]);
    let source = source(&daemon);
    film::make(&source);
    daemon.run(&["upload", "--to", "/Films", source.to_str().unwrap()]);
    daemon.run(&["status", "--wait", FILM]);
    let id = id(&daemon);
    let mut played = play(&daemon, &id, "fmp4");
    played.extend(play(&daemon, &id, "ts"));
    let (is_remade, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_remade.load(Ordering::Relaxed) {
                plays_on(&daemon, &played);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        remake(&daemon, &id, &played);
        is_remade.store(true, Ordering::Relaxed);
    });
    assert!(rounds.load(Ordering::Relaxed) > 0);
    // Nothing is cached any more, and clean-up has deleted what nobody needs.
    daemon.run(&["cleanup", "--hours", "0"]);
    plays_on(&daemon, &played);
    // Who begins now gets the new views.
    assert!(play(&daemon, &id, "fmp4")[0].0 != played[0].0);
}

/// Makes the views again, with shorter segments, and waits until they took over.
fn remake(daemon: &Daemon, id: &str, played: &Played) {
    let settings = daemon.directory().join(".env");
    std::fs::write(settings, "MAX_SEGMENT_DURATION=4s\n").unwrap();
    daemon.run(&["reload"]);
    daemon.run(&["retry", FILM]);
    let version = |address: &str| address.rsplit_once("v=").unwrap().1.to_owned();
    let old = version(&played[0].0);
    let begun = Instant::now();
    loop {
        let text = get(daemon, &format!("/playlist/local/{id}.m3u8")).text();
        if version(&addresses(&text)[0]) != old {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "not remade");
        std::thread::sleep(Duration::from_millis(50));
    }
}
