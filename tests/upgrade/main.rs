//! Upgrades: the states, local stores and the channel in `tests/fixtures/release-0.1`, which release
//! 0.1 wrote. Today's program opens them, shows and serves the same, writes on them, and recovers
//! each library from its store alone.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

#[path = "../crash/child.rs"]
mod child;
#[path = "../http/client.rs"]
mod client;
mod daemon;
mod fixture;
mod listing;
#[path = "../mount/material.rs"]
mod material;

use std::fs;
use std::path::Path;

use daemon::{Daemon, Site};
use fixture::Place;

/// The library shows and serves what it did when `expected` was taken of it.
fn expect_listing(site: &Site, running: &Daemon, expected: &str) {
    let found = listing::of(site, running);
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// A new file, a changed file, a rename, and a delete.
fn write(root: &Path) {
    fs::write(root.join("Films/new.bin"), b"written by the newer program").unwrap();
    let changed = root.join("Notes/deep/er/notes.txt");
    let text = fs::read_to_string(&changed).unwrap();
    fs::write(&changed, format!("{text}one more line\n")).unwrap();
    fs::rename(root.join("Films/Kept"), root.join("Films/Moved again")).unwrap();
    fs::remove_file(root.join("Notes/empty.txt")).unwrap();
}

fn expect_written(root: &Path) {
    let new = fs::read(root.join("Films/new.bin")).unwrap();
    assert_eq!(new, b"written by the newer program");
    let changed = fs::read_to_string(root.join("Notes/deep/er/notes.txt")).unwrap();
    assert!(changed.ends_with("one more line\n"), "{changed}");
    assert!(!root.join("Films/Kept").exists());
    let moved = fs::read(root.join("Films/Moved again/Small (2001).mkv")).unwrap();
    assert!(moved.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]), "no Matroska");
    assert!(!root.join("Notes/empty.txt").exists());
}

fn opens_and_is_written_on(place: Place) {
    let site = Site::unpacked(place);
    let running = site.start();
    expect_listing(&site, &running, &fixture::expected(place));
    write(site.mountpoint());
    site.settled();
    let before = listing::of(&site, &running);
    running.stop();

    let running = site.start();
    expect_written(site.mountpoint());
    expect_listing(&site, &running, &before);
    running.stop();

    site.lose_state();
    site.run(&["recover"]);
    let running = site.start();
    expect_written(site.mountpoint());
    expect_listing(&site, &running, &before);
    running.stop();
}

fn is_recovered_from_the_store_alone(place: Place) {
    let site = Site::unpacked(place);
    site.lose_state();
    let told = site.run(&["recover"]);
    assert!(told.contains("recovered"), "{told}");
    let running = site.start();
    expect_listing(&site, &running, &fixture::expected(place));
    running.stop();
}

#[test]
fn a_state_and_a_local_store_of_the_first_release_open_and_are_written_on() {
    opens_and_is_written_on(Place::Local);
}

#[test]
fn a_state_and_a_channel_of_the_first_release_open_and_are_written_on() {
    opens_and_is_written_on(Place::Channel);
}

/// Its last run was killed while a file was on its way to the store.
#[test]
fn a_killed_state_of_the_first_release_is_rolled_forward() {
    opens_and_is_written_on(Place::Killed);
}

#[test]
fn a_local_store_of_the_first_release_is_recovered_from() {
    is_recovered_from_the_store_alone(Place::Local);
}

#[test]
fn a_channel_of_the_first_release_is_recovered_from() {
    is_recovered_from_the_store_alone(Place::Channel);
}

/// Writes the fixture anew, with the program that `TGFS_OLD_PROGRAM` names: see the fixture's README.
#[test]
#[ignore = "writes the fixture anew"]
fn write_the_fixture() {
    for place in [Place::Local, Place::Killed, Place::Channel] {
        fixture::write(place);
    }
}
