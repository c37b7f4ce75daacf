//! Tests of `mount` and `umount`, and of paths below the mountpoint.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::scratch::Scratch;

pub struct Mount {
    child: Child,
    pub mountpoint: PathBuf,
}

impl Mount {
    pub fn start(scratch: &Scratch, arguments: &[&str]) -> Self {
        Self::at(scratch, arguments, OsStr::new("my films"))
    }

    pub fn at(scratch: &Scratch, arguments: &[&str], place: &OsStr) -> Self {
        let mountpoint = scratch.path().canonicalize().unwrap().join(place);
        let mut all = vec!["mount", "--http", "off"];
        all.extend(arguments);
        let mut command = scratch.command(&all);
        let mut child = command.arg(place).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let shown = tgfs::model::shown::readable(mountpoint.as_os_str().as_bytes());
        let expected = format!("ready mount={shown} http=off store=");
        assert!(ready.starts_with(&expected), "{ready:?}");
        Self { child, mountpoint }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The process is already gone if the test succeeded.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = tgfs::fuse::clean_stale(&self.mountpoint);
    }
}

#[test]
fn a_path_under_the_mountpoint_is_as_good_as_one_in_the_tree() {
    let scratch = Scratch::new();
    let mut mount = Mount::start(&scratch, &[]);
    let inside = mount.mountpoint.join("a b.bin");
    std::fs::write(&inside, vec![5; 70_000]).unwrap();
    let typed = inside.to_str().unwrap();
    scratch.run(&["status", "--wait", typed]).ok();
    assert!(scratch.run(&["list", typed]).ok().starts_with("/a b.bin\n"));
    let relative = scratch.run(&["list", "--json", "my films/a b.bin"]).json();
    assert_eq!(relative[0]["path"], "/a b.bin");
    // HTTP is off, and the file has no views.
    assert!(scratch.run(&["url", typed]).ok().starts_with("no URL"));
    scratch.run(&["delete", typed]).ok();
    assert!(!inside.exists());

    let told = scratch.run(&["umount", "my films"]).ok();
    assert!(
        told.contains("unmounted ")
            && (told.contains("everything is stored")
                || told.contains("All bytes are in the store.")),
        "{told}"
    );
    assert!(mount.child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(&mount.mountpoint).unwrap().count(), 0);
    let error = scratch.run(&["umount", "my films"]).failed();
    assert!(error.contains("is not a tgfs mount"), "{error}");
}

/// `umount` returns when the state is free, so that the next command can open it.
#[test]
fn after_umount_the_state_is_free() {
    let scratch = Scratch::new();
    std::os::unix::fs::symlink("my films", scratch.path().join("link")).unwrap();
    for _ in 0..4 {
        let mut mount = Mount::start(&scratch, &[]);
        std::fs::write(mount.mountpoint.join("x"), vec![1; 100_000]).unwrap();
        assert!(scratch.run(&["list", "link"]).ok().starts_with("/x\n"));
        scratch.run(&["umount", "link"]).ok();
        scratch.run(&["list"]).ok();
        assert!(mount.child.wait().unwrap().success());
    }
}

#[test]
fn umount_names_the_programs_that_hold_files() {
    let scratch = Scratch::new();
    let mut mount = Mount::start(&scratch, &[]);
    let path = mount.mountpoint.join("x");
    std::fs::write(&path, vec![1; 100_000]).unwrap();
    let mut holder = std::process::Command::new("sleep")
        .arg("60")
        .stdin(std::fs::File::open(&path).unwrap())
        .spawn()
        .unwrap();
    let ended = scratch.run(&["umount", "--json", "my films"]);
    let name = format!("sleep (pid {})", holder.id());
    assert!(ended.stderr.contains(&name), "{ended:?}");
    let json = ended.json();
    assert_eq!(json["held_by"][0]["pid"], holder.id());
    assert_eq!(json["held_by"][0]["program"], "sleep");
    assert!(mount.child.wait().unwrap().success());
    holder.kill().unwrap();
    holder.wait().unwrap();
    scratch.run(&["list"]).ok();
}

#[test]
fn waiting_for_uploads_leaves_nothing_in_the_spool() {
    let scratch = Scratch::new();
    let mut mount = Mount::start(&scratch, &[]);
    for name in ["a", "b", "c"] {
        std::fs::write(mount.mountpoint.join(name), vec![1; 200_000]).unwrap();
    }
    let pending = scratch
        .run(&["umount", "--wait-uploads", "--json", "my films"])
        .json();
    assert_eq!(pending["files"], 0);
    assert!(mount.child.wait().unwrap().success());
    let listed = scratch.run(&["list", "--json"]).json();
    let states: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["stored", "stored", "stored"]);
}

#[test]
fn a_read_only_mount_refuses_changes() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("x"), "x").unwrap();
    scratch.run(&["upload", "x"]).ok();
    let mount = Mount::start(&scratch, &["--read-only"]);
    let refused = std::fs::write(mount.mountpoint.join("y"), "y").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(std::fs::read(mount.mountpoint.join("x")).unwrap(), b"x");
    scratch.run(&["umount", "my films"]).ok();
}

#[test]
fn a_bad_place_to_mount_is_refused() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join("full")).unwrap();
    std::fs::write(scratch.path().join("full/x"), "x").unwrap();
    let error = scratch.run(&["mount", "--http", "off", "full"]).failed();
    assert!(error.contains("not empty"), "{error}");
    let error = scratch
        .run(&["mount", "--http", "off", "state/inside"])
        .failed();
    assert!(error.contains("choose another"), "{error}");
}

#[test]
fn a_mount_says_which_directories_it_made() {
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let mut command = scratch.command(&["mount", "--http", "off", "mtn/my/films"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    assert!(ready.starts_with("ready mount="), "{ready}");
    let said = std::fs::read_to_string(&log).unwrap();
    let made: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("made the directory"))
        .collect();
    assert_eq!(made.len(), 1, "{said}");
    assert!(
        made[0].contains("mtn/my/films") && made[0].ends_with("mtn on"),
        "{made:?}"
    );
    scratch.run(&["umount", "mtn/my/films"]).ok();
    assert!(child.wait().unwrap().success());
}

/// The media tools of root run as another user, whom a mount keeps out that is for root alone.
#[test]
fn a_plan_of_a_file_in_a_closed_mount_says_what_to_do() {
    let scratch = Scratch::new();
    let film = scratch.path().join("film.mkv");
    crate::strm::film(&film);
    let mut mount = Mount::start(&scratch, &[]);
    std::fs::copy(&film, mount.mountpoint.join("film.mkv")).unwrap();
    let ended = scratch.run(&["plan", "my films/film.mkv"]);
    if nix::unistd::geteuid().is_root() {
        let error = ended.failed();
        assert!(
            error.contains("--allow-other") && error.contains("film.mkv"),
            "{error}"
        );
    } else {
        assert!(ended.ok().contains("ready"));
    }
    scratch.run(&["umount", "my films"]).ok();
    assert!(mount.child.wait().unwrap().success());
}
