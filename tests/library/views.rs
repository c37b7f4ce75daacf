//! `/.hls` follows the tree, survives restarts, and says why a film has no views.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tgfs::model::{ErrorKind, HlsListing};
use tgfs::process::Launcher;
use tgfs::vfs::Attr;

use crate::library::LibrarySettings;
use crate::material::noise;
use crate::test_library::{TestLibrary, film, path};

const MASTER: &str = ".hls/Heat/heat.mkv/master.m3u8";
const SEGMENT: &str = ".hls/Heat/heat.mkv/video/00001.m4s";

/// Inode number, size and time, which must not change while the file does not.
fn identity(attr: &Attr) -> (u64, u64, tgfs::model::Timestamp) {
    (attr.ino.0, attr.size, attr.mtime)
}

#[test]
fn views_follow_renames_and_deletes_at_once() {
    let library = TestLibrary::new();
    library.stored("Heat/heat.mkv", &film());
    let segment = library.read(SEGMENT).unwrap();
    library.rename("Heat/heat.mkv", "Heat/h.mkv").unwrap();
    assert_eq!(library.attr(MASTER).unwrap_err().kind, ErrorKind::NotFound);
    assert!(library.read(".hls/Heat/h.mkv/video/00001.m4s").unwrap() == segment);
    library.rename("Heat", "Films").unwrap();
    assert_eq!(library.names(".hls/Films"), ["h.mkv"]);
    library.remove("Films/h.mkv").unwrap();
    assert!(library.names(".hls/Films").is_empty());
    assert!(library.attr(".hls/Films/h.mkv").is_err());
}

#[test]
fn views_are_the_same_after_a_restart_and_after_a_recovery() {
    let mut library = TestLibrary::new();
    library.stored("Heat/heat.mkv", &film());
    library.settled();
    let names = library.names(".hls/Heat/heat.mkv");
    let all = |library: &TestLibrary| -> Vec<_> {
        [
            MASTER,
            SEGMENT,
            "Heat/heat.mkv",
            "Heat/heat.eng.srt",
            ".hls/Heat",
        ]
        .iter()
        .map(|at| (identity(&library.attr(at).unwrap()), library.read(at).ok()))
        .collect()
    };
    let before = all(&library);
    library.restart();
    assert!(all(&library) == before, "after a restart");
    library.stop();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert!(all(&library) == before, "after a recovery");
    assert_eq!(library.names(".hls/Heat/heat.mkv"), names);
}

#[test]
fn views_are_read_only_and_can_be_hidden() {
    let mut settings = LibrarySettings::default();
    settings.vfs.hls_listing = HlsListing::Hidden;
    let library = TestLibrary::with(settings);
    library.stored("Heat/heat.mkv", &film());
    assert_eq!(library.names(""), ["Heat"]);
    let master = String::from_utf8(library.read(MASTER).unwrap()).unwrap();
    assert!(master.starts_with("#EXTM3U"), "{master}");
    assert_eq!(
        library.remove(MASTER).unwrap_err().kind,
        ErrorKind::ReadOnly
    );
    let made = library.vfs().mkdir(
        library.attr(".hls/Heat").unwrap().ino,
        b"x",
        0o755,
        crate::test_library::USER,
    );
    assert_eq!(made.unwrap_err().kind, ErrorKind::ReadOnly);
    let markers = library.names(".hls");
    for marker in [".ignore", ".nomedia", ".plexignore", "CACHEDIR.TAG"] {
        assert!(markers.iter().any(|name| name == marker), "{marker}");
    }
}

#[test]
fn a_media_name_on_other_bytes_is_plain_and_stored() {
    let mut library = TestLibrary::new();
    library.write("not.mkv", &noise(500_000, 1)).unwrap();
    library.wait_for("not.mkv", "plain");
    assert!(library.info("not.mkv").error.is_some());
    library.settled();
    library.stop();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert!(library.read("not.mkv").unwrap() == noise(500_000, 1));
    assert_eq!(library.state("not.mkv"), "plain");
}

fn with_launcher(launcher: Launcher) -> TestLibrary {
    TestLibrary::with(LibrarySettings {
        launcher,
        ..LibrarySettings::default()
    })
}

fn is_plain_with(library: &mut TestLibrary, text: &str) {
    library.write("heat.mkv", &film()).unwrap();
    library.wait_for("heat.mkv", "plain");
    let reason = library.info("heat.mkv").error.unwrap();
    assert!(
        reason.contains(text) && reason.contains("retry"),
        "{reason}"
    );
    assert!(library.read("heat.mkv").unwrap() == film());
    // The user retries once the tool works.
    library.settings.launcher = Launcher::Direct;
    library.restart();
    library.vfs().retry(&path("heat.mkv")).unwrap();
    library.wait_for("heat.mkv", "stored");
    assert!(library.attr(".hls/heat.mkv/master.m3u8").is_ok());
}

#[test]
fn a_missing_tool_leaves_a_plain_file_with_the_reason() {
    let missing = PathBuf::from("/nonexistent/launcher");
    let mut library = with_launcher(Launcher::Confined(missing));
    is_plain_with(&mut library, "ff");
}

#[test]
fn a_killed_tool_leaves_a_plain_file_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("killed");
    fs::write(&script, "#!/bin/sh\nkill -9 $$\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut library = with_launcher(Launcher::Confined(script));
    is_plain_with(&mut library, "signal 9");
}

/// Starts a library whose media tool goes on for ever over files of 1 to 4 bytes more than the film, and
/// prints something now and then, so that it never counts as stalled.
fn with_endless_tool(directory: &Path) -> TestLibrary {
    let script = directory.join("tool");
    let size = film().len();
    let (least, most) = (size + 1, size + 4);
    let text = format!(
        "#!/bin/sh\nsize=$(stat -L -c %s /proc/self/fd/0)\n\
         if [ $size -ge {least} ] && [ $size -le {most} ]; then while :; do echo; sleep 1; done; fi\n\
         while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    with_launcher(Launcher::Confined(script))
}

/// Films over which the tool never ends wait for each other, and no other film waits for them.
#[test]
fn films_behind_those_that_never_end_are_made() {
    let directory = tempfile::tempdir().unwrap();
    let library = with_endless_tool(directory.path());
    for bad in 1..=2 {
        let mut film = film();
        film.resize(film.len() + bad, 0);
        library.write(&format!("bad-{bad}.mkv"), &film).unwrap();
    }
    library.write("good.mkv", &film()).unwrap();
    library.wait_for("good.mkv", "stored");
    assert_eq!(library.state("bad-1.mkv"), "ingesting");
    // The bytes are safe all the same.
    library.until("only views are missing", || {
        library.vfs().pending().unwrap().without_views == 2
    });
}

/// A step that took the daemon down twice must not be started a third time.
#[test]
fn a_film_that_ends_the_daemon_again_and_again_is_left_without_views() {
    let library = TestLibrary::new();
    library.write("heat.mkv.part", &film()).unwrap();
    library.until("it is settled", || {
        library.vfs().pending().unwrap().files == 1
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let id = library.attr("heat.mkv.part").unwrap().id.unwrap();
    let version = library.block_on(library.vfs().open_resource(&path("heat.mkv.part")));
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
    let attempts = library.index().rows("attempts").unwrap();
    attempts.put(id.as_bytes(), &row).unwrap();
    drop(attempts);
    library.rename("heat.mkv.part", "heat.mkv").unwrap();
    library.wait_for("heat.mkv", "plain");
    let reason = library.info("heat.mkv").error.unwrap();
    assert!(reason.contains("ended twice"), "{reason}");
    assert!(library.read("heat.mkv").unwrap() == film());
    library.vfs().retry(&path("heat.mkv")).unwrap();
    library.wait_for("heat.mkv", "stored");
}
