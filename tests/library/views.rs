//! `/.hls` follows the tree, survives restarts, and says why a film has no views.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tgfs::model::{ErrorKind, HlsListing};
use tgfs::process::Launcher;
use tgfs::vfs::Attr;

use crate::house::{House, film, path};
use crate::library::LibrarySettings;
use crate::material::noise;

const MASTER: &str = ".hls/Heat/heat.mkv/master.m3u8";
const SEGMENT: &str = ".hls/Heat/heat.mkv/video/00001.m4s";

/// Inode number, size and time, which must not change while the file does not.
fn identity(attr: &Attr) -> (u64, u64, tgfs::model::Timestamp) {
    (attr.ino.0, attr.size, attr.mtime)
}

#[test]
fn views_follow_renames_and_deletes_at_once() {
    let house = House::new();
    house.stored("Heat/heat.mkv", &film());
    let segment = house.read(SEGMENT).unwrap();
    house.rename("Heat/heat.mkv", "Heat/h.mkv").unwrap();
    assert_eq!(house.attr(MASTER).unwrap_err().kind, ErrorKind::NotFound);
    assert!(house.read(".hls/Heat/h.mkv/video/00001.m4s").unwrap() == segment);
    house.rename("Heat", "Films").unwrap();
    assert_eq!(house.names(".hls/Films"), ["h.mkv"]);
    house.remove("Films/h.mkv").unwrap();
    assert!(house.names(".hls/Films").is_empty());
    assert!(house.attr(".hls/Films/h.mkv").is_err());
}

#[test]
fn views_are_the_same_after_a_restart_and_after_a_recovery() {
    let mut house = House::new();
    house.stored("Heat/heat.mkv", &film());
    house.settled();
    let names = house.names(".hls/Heat/heat.mkv");
    let all = |house: &House| -> Vec<_> {
        [
            MASTER,
            SEGMENT,
            "Heat/heat.mkv",
            "Heat/heat.eng.srt",
            ".hls/Heat",
        ]
        .iter()
        .map(|at| (identity(&house.attr(at).unwrap()), house.read(at).ok()))
        .collect()
    };
    let before = all(&house);
    house.restart();
    assert!(all(&house) == before, "after a restart");
    house.stop();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert!(all(&house) == before, "after a recovery");
    assert_eq!(house.names(".hls/Heat/heat.mkv"), names);
}

#[test]
fn views_are_read_only_and_can_be_hidden() {
    let mut settings = LibrarySettings::default();
    settings.vfs.hls_listing = HlsListing::Hidden;
    let house = House::with(settings);
    house.stored("Heat/heat.mkv", &film());
    assert_eq!(house.names(""), ["Heat"]);
    let master = String::from_utf8(house.read(MASTER).unwrap()).unwrap();
    assert!(master.starts_with("#EXTM3U"), "{master}");
    assert_eq!(house.remove(MASTER).unwrap_err().kind, ErrorKind::ReadOnly);
    let made = house.vfs().mkdir(
        house.attr(".hls/Heat").unwrap().ino,
        b"x",
        0o755,
        crate::house::USER,
    );
    assert_eq!(made.unwrap_err().kind, ErrorKind::ReadOnly);
    let markers = house.names(".hls");
    for marker in [".ignore", ".nomedia", ".plexignore", "CACHEDIR.TAG"] {
        assert!(markers.iter().any(|name| name == marker), "{marker}");
    }
}

#[test]
fn a_media_name_on_other_bytes_is_plain_and_stored() {
    let mut house = House::new();
    house.write("not.mkv", &noise(500_000, 1)).unwrap();
    house.wait_for("not.mkv", "plain");
    assert!(house.info("not.mkv").error.is_some());
    house.settled();
    house.stop();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert!(house.read("not.mkv").unwrap() == noise(500_000, 1));
    assert_eq!(house.state("not.mkv"), "plain");
}

fn with_launcher(launcher: Launcher) -> House {
    House::with(LibrarySettings {
        launcher,
        ..LibrarySettings::default()
    })
}

fn is_plain_with(house: &mut House, text: &str) {
    house.write("heat.mkv", &film()).unwrap();
    house.wait_for("heat.mkv", "plain");
    let reason = house.info("heat.mkv").error.unwrap();
    assert!(
        reason.contains(text) && reason.contains("retry"),
        "{reason}"
    );
    assert!(house.read("heat.mkv").unwrap() == film());
    // The user retries once the tool works.
    house.settings.launcher = Launcher::Direct;
    house.restart();
    house.vfs().retry(&path("heat.mkv")).unwrap();
    house.wait_for("heat.mkv", "stored");
    assert!(house.attr(".hls/heat.mkv/master.m3u8").is_ok());
}

#[test]
fn a_missing_tool_leaves_a_plain_file_with_the_reason() {
    let missing = PathBuf::from("/nonexistent/launcher");
    let mut house = with_launcher(Launcher::Confined(missing));
    is_plain_with(&mut house, "ff");
}

#[test]
fn a_killed_tool_leaves_a_plain_file_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("killed");
    fs::write(&script, "#!/bin/sh\nkill -9 $$\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut house = with_launcher(Launcher::Confined(script));
    is_plain_with(&mut house, "signal 9");
}

/// A step that took the daemon down twice must not be started a third time.
#[test]
fn a_film_that_ends_the_daemon_again_and_again_is_left_without_views() {
    let house = House::new();
    house.write("heat.mkv.part", &film()).unwrap();
    house.until("it is settled", || {
        house.vfs().pending().unwrap().files == 1
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let id = house.attr("heat.mkv.part").unwrap().id.unwrap();
    let version = house.block_on(house.vfs().open_resource(&path("heat.mkv.part")));
    let version: u64 = version
        .unwrap()
        .etag
        .rsplit_once('-')
        .unwrap()
        .1
        .parse()
        .unwrap();
    // The row that two daemons left which ended in the middle.
    let mut row = version.to_le_bytes().to_vec();
    row.extend_from_slice(&2u32.to_le_bytes());
    let attempts = house.index().rows("attempts").unwrap();
    attempts.put(id.as_bytes(), &row).unwrap();
    drop(attempts);
    house.rename("heat.mkv.part", "heat.mkv").unwrap();
    house.wait_for("heat.mkv", "plain");
    let reason = house.info("heat.mkv").error.unwrap();
    assert!(reason.contains("ended twice"), "{reason}");
    assert!(house.read("heat.mkv").unwrap() == film());
    house.vfs().retry(&path("heat.mkv")).unwrap();
    house.wait_for("heat.mkv", "stored");
}
