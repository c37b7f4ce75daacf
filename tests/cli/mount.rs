//! Tests of `mount` and `umount`, and of paths below the mountpoint.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::scratch::Scratch;

pub struct Mount {
    child: Child,
    pub mountpoint: PathBuf,
}

impl Mount {
    pub fn start(scratch: &Scratch, arguments: &[&str]) -> Self {
        let mountpoint = scratch.path().canonicalize().unwrap().join("my films");
        let mut all = vec!["mount", "--http", "off"];
        all.extend(arguments);
        all.push("my films");
        let mut child = scratch
            .command(&all)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let expected = format!("ready mount={} http=off store=", mountpoint.display());
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
