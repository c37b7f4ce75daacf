//! Views that are made again: the old ones stay until the new ones are stored, whatever happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tgfs::model::BlobId;
use tgfs::process::Launcher;

use crate::house::{House, film, path};

const FILM: &str = "heat.mkv";
const SEGMENT: &str = ".hls/heat.mkv/video/00001.m4s";

fn making(house: &House) -> BlobId {
    let id = house.attr(FILM).unwrap().id.unwrap();
    house.vfs().views(id).unwrap().derived.id
}

#[test]
fn new_views_take_over_when_they_are_stored_and_not_before() {
    let mut house = House::new();
    house.stored(FILM, &film());
    house.settled();
    let (old, packs, segment) = (
        making(&house),
        house.packs_held(),
        house.read(SEGMENT).unwrap(),
    );
    let before = house.attr(SEGMENT).unwrap();
    house.refuse_packs();
    house.vfs().retry(&path(FILM)).unwrap();
    assert_ne!(house.state(FILM), "stored", "who asked can wait for it");
    house.until("the new views wait to be sent", || {
        house.spool_used() > 0 && house.state(FILM) == "uploading"
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(making(&house), old);
    assert!(house.read(SEGMENT).unwrap() == segment);

    house.remote().heal();
    house.wait_for(FILM, "stored");
    house.settled();
    let new = making(&house);
    assert_ne!(new, old);
    assert!(house.read(SEGMENT).unwrap() == segment);
    let after = house.attr(SEGMENT).unwrap();
    assert_eq!(
        (after.size, after.mtime.seconds),
        (before.size, before.mtime.seconds)
    );
    assert_ne!(
        after.mtime, before.mtime,
        "the kernel drops the pages that it has"
    );
    assert!(house.read(FILM).unwrap() == film());
    house.until("the spool is empty", || house.spool_used() == 0);
    // Packs that only the old views needed go.
    house.cleanup_until(packs);
    house.stop();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert_eq!(making(&house), new);
    assert!(house.read(SEGMENT).unwrap() == segment);
}

#[test]
fn a_tool_that_fails_leaves_the_old_views_and_a_note() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("killed");
    fs::write(&script, "#!/bin/sh\nkill -9 $$\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut house = House::new();
    house.stored(FILM, &film());
    house.settled();
    let (old, segment) = (making(&house), house.read(SEGMENT).unwrap());
    house.settings.launcher = Launcher::Confined(script);
    house.restart();
    house.vfs().retry(&path(FILM)).unwrap();
    house.until("a note says so", || {
        let error = house.info(FILM).error.unwrap_or_default();
        error.contains("could not be made again") && error.contains("retry")
    });
    house.wait_for(FILM, "stored");
    assert_eq!(making(&house), old);
    assert!(house.read(SEGMENT).unwrap() == segment);

    house.settings.launcher = Launcher::Direct;
    house.restart();
    house.vfs().retry(&path(FILM)).unwrap();
    house.wait_for(FILM, "stored");
    assert_ne!(making(&house), old);
    assert_eq!(house.info(FILM).error, None);
}

/// A remake that took the daemon down twice must not be started a third time.
#[test]
fn what_ends_the_daemon_again_and_again_is_given_up() {
    let mut house = House::new();
    house.stored(FILM, &film());
    house.settled();
    let old = making(&house);
    let id = house.attr(FILM).unwrap().id.unwrap();
    let version = house.block_on(house.vfs().open_resource(&path(FILM)));
    let etag = version.unwrap().etag;
    let version: u64 = etag.rsplit_once('-').unwrap().1.parse().unwrap();
    // The row that two daemons left which ended in the middle: asked for, this version, begun twice.
    let mut row = vec![0];
    row.extend_from_slice(&version.to_le_bytes());
    row.extend_from_slice(&2u32.to_le_bytes());
    house
        .index()
        .rows("remakes")
        .unwrap()
        .put(id.as_bytes(), &row)
        .unwrap();
    house.restart();
    house.until("it is given up", || {
        house
            .info(FILM)
            .error
            .is_some_and(|error| error.contains("ended twice"))
    });
    house.wait_for(FILM, "stored");
    assert_eq!(making(&house), old);
}

/// A file that is written over meanwhile gets views of its new bytes; the old request is forgotten.
#[test]
fn newer_bytes_forget_what_was_wanted_for_older_ones() {
    let house = House::new();
    house.stored(FILM, &film());
    house.settled();
    house.refuse_packs();
    house.vfs().retry(&path(FILM)).unwrap();
    house.until("the new views wait to be sent", || {
        house.state(FILM) == "uploading"
    });
    house.remote().heal();
    let mut newer = film();
    newer.extend_from_slice(&[0; 1000]);
    house.write(FILM, &newer).unwrap();
    house.wait_for(FILM, "stored");
    house.settled();
    assert!(house.read(FILM).unwrap() == newer);
    house.until("the spool is empty", || house.spool_used() == 0);
    assert!(house.vfs().jobs().unwrap().is_empty());
}
