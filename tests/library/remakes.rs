//! Views that are made again: the old ones stay until the new ones are stored, whatever happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tgfs::model::BlobId;
use tgfs::process::Launcher;

use crate::test_library::{TestLibrary, film, path};

const FILM: &str = "heat.mkv";
const SEGMENT: &str = ".hls/heat.mkv/video/00001.m4s";

fn making(library: &TestLibrary) -> BlobId {
    let id = library.attr(FILM).unwrap().id.unwrap();
    library.vfs().views(id).unwrap().derived.id
}

#[test]
fn new_views_take_over_when_they_are_stored_and_not_before() {
    let mut library = TestLibrary::new();
    library.stored(FILM, &film());
    library.settled();
    let (old, packs, segment) = (
        making(&library),
        library.packs_held(),
        library.read(SEGMENT).unwrap(),
    );
    let before = library.attr(SEGMENT).unwrap();
    library.refuse_packs();
    library.vfs().retry(&path(FILM)).unwrap();
    assert_ne!(library.state(FILM), "stored", "who asked can wait for it");
    library.until("the new views wait to be sent", || {
        library.spool_used() > 0 && library.state(FILM) == "uploading"
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(making(&library), old);
    assert!(library.read(SEGMENT).unwrap() == segment);

    library.remote().heal();
    library.wait_for(FILM, "stored");
    library.settled();
    let new = making(&library);
    assert_ne!(new, old);
    assert!(library.read(SEGMENT).unwrap() == segment);
    let after = library.attr(SEGMENT).unwrap();
    assert_eq!(
        (after.size, after.mtime.seconds),
        (before.size, before.mtime.seconds)
    );
    assert_ne!(
        after.mtime, before.mtime,
        "the kernel drops the pages that it has"
    );
    assert!(library.read(FILM).unwrap() == film());
    library.until("the spool is empty", || library.spool_used() == 0);
    // Packs that only the old views needed go.
    library.cleanup_until(packs);
    library.stop();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert_eq!(making(&library), new);
    assert!(library.read(SEGMENT).unwrap() == segment);
}

#[test]
fn who_has_a_view_open_or_knows_its_version_reads_on_when_new_views_take_over() {
    let library = TestLibrary::new();
    library.stored(FILM, &film());
    library.settled();
    let (old, segment) = (making(&library), library.read(SEGMENT).unwrap());
    let id = library.attr(FILM).unwrap().id.unwrap();
    let version = library.vfs().map_digest(id).unwrap().to_string();
    let open = library.block_on(library.vfs().open_resource(&path(SEGMENT)));
    let open = open.unwrap();
    library.vfs().retry(&path(FILM)).unwrap();
    library.until("the new views took over", || making(&library) != old);
    library.settled();
    library.until("the spool is empty", || library.spool_used() == 0);
    library.cleanup(Duration::ZERO);
    let read = |handle| library.block_on(library.vfs().read(handle, 0, 1 << 30));
    assert!(read(open.handle).unwrap() == segment);
    library.vfs().release(open.handle);
    let again = library
        .vfs()
        .open_view(id, &version[..16], "video/00001.m4s");
    let again = again.unwrap();
    assert!(read(again.handle).unwrap() == segment);
    library.vfs().release(again.handle);
    assert!(
        library
            .vfs()
            .open_view(id, "0123456789abcdef", "master.m3u8")
            .is_err()
    );
}

#[test]
fn a_tool_that_fails_leaves_the_old_views_and_a_note() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("killed");
    fs::write(&script, "#!/bin/sh\nkill -9 $$\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut library = TestLibrary::new();
    library.stored(FILM, &film());
    library.settled();
    let (old, segment) = (making(&library), library.read(SEGMENT).unwrap());
    library.settings.launcher = Launcher::Confined(script);
    library.restart();
    library.vfs().retry(&path(FILM)).unwrap();
    library.until("a note says so", || {
        let error = library.info(FILM).error.unwrap_or_default();
        error.contains("could not be made again") && error.contains("retry")
    });
    library.wait_for(FILM, "stored");
    assert_eq!(making(&library), old);
    assert!(library.read(SEGMENT).unwrap() == segment);

    library.settings.launcher = Launcher::Direct;
    library.restart();
    library.vfs().retry(&path(FILM)).unwrap();
    library.wait_for(FILM, "stored");
    assert_ne!(making(&library), old);
    assert_eq!(library.info(FILM).error, None);
}

/// A remake that took the daemon down twice must not be started a third time.
#[test]
fn what_ends_the_daemon_again_and_again_is_given_up() {
    let mut library = TestLibrary::new();
    library.stored(FILM, &film());
    library.settled();
    let old = making(&library);
    let id = library.attr(FILM).unwrap().id.unwrap();
    let version = library.block_on(library.vfs().open_resource(&path(FILM)));
    let etag = version.unwrap().etag;
    let version: u64 = etag.rsplit_once('-').unwrap().1.parse().unwrap();
    // The row that two daemons left which ended in the middle: asked for, this version, begun twice.
    let mut row = vec![0];
    row.extend_from_slice(&version.to_le_bytes());
    row.extend_from_slice(&2u32.to_le_bytes());
    library
        .index()
        .rows("remakes")
        .unwrap()
        .put(id.as_bytes(), &row)
        .unwrap();
    library.restart();
    library.until("it is given up", || {
        library
            .info(FILM)
            .error
            .is_some_and(|error| error.contains("ended twice"))
    });
    library.wait_for(FILM, "stored");
    assert_eq!(making(&library), old);
}

/// A file that is written over meanwhile gets views of its new bytes; the old request is forgotten.
#[test]
fn newer_bytes_forget_what_was_wanted_for_older_ones() {
    let library = TestLibrary::new();
    library.stored(FILM, &film());
    library.settled();
    library.refuse_packs();
    library.vfs().retry(&path(FILM)).unwrap();
    library.until("the new views wait to be sent", || {
        library.state(FILM) == "uploading"
    });
    library.remote().heal();
    let mut newer = film();
    newer.extend_from_slice(&[0; 1000]);
    library.write(FILM, &newer).unwrap();
    library.wait_for(FILM, "stored");
    library.settled();
    assert!(library.read(FILM).unwrap() == newer);
    library.until("the spool is empty", || library.spool_used() == 0);
    assert!(library.vfs().jobs().unwrap().is_empty());
}
