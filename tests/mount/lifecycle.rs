//! Tests of mounting and unmounting, and of refused mounts.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use tgfs::fuse::{MountError, is_tgfs_mount, mount};
use tgfs::model::WriteMode;

use crate::harness::TestMount;
use crate::material::noise;

#[test]
fn an_unmount_from_outside_is_noticed_and_open_files_are_served_on() {
    let mut test = TestMount::new();
    let bytes = noise(400_000, 1);
    fs::write(test.path.join("f"), &bytes).unwrap();
    let mut open = fs::File::open(test.path.join("f")).unwrap();
    assert!(is_tgfs_mount(&test.path).unwrap());
    test.run("umount -l \"$PWD\"");
    assert!(
        test.ends_by_itself(Duration::from_secs(20)),
        "the end was not noticed"
    );
    assert!(!is_tgfs_mount(&test.path).unwrap());
    let mut found = Vec::new();
    open.read_to_end(&mut found).unwrap();
    assert!(found == bytes);
}

#[test]
fn an_unmount_waits_for_open_files_only_so_long() {
    let mut test = TestMount::new();
    let mut open = fs::File::create(test.path.join("f")).unwrap();
    open.write_all(b"half").unwrap();
    assert_eq!(
        test.unmount(Duration::from_millis(100)),
        tgfs::fuse::DetachOutcome::StillInUse
    );
    assert!(
        !is_tgfs_mount(&test.path).unwrap(),
        "nobody can open anything any more"
    );
    assert_eq!(fs::read_dir(&test.path).unwrap().count(), 0);
    open.write_all(b" and half").unwrap();
}

#[test]
fn a_second_mount_on_the_same_place_is_refused() {
    let test = TestMount::new();
    let refused = mount(
        test.vfs(),
        &test.path,
        test.config(),
        test.runtime().handle(),
    );
    assert!(
        matches!(refused, Err(MountError::AlreadyMounted(_))),
        "{refused:?}"
    );
    fs::write(test.path.join("f"), b"the first one lives on").unwrap();
}

#[test]
fn a_mount_in_a_mount_is_refused_and_makes_nothing() {
    let test = TestMount::new();
    for inner in ["inner", ".hls", "deep/below"] {
        let refused = mount(
            test.vfs(),
            &test.path.join(inner),
            test.config(),
            test.runtime().handle(),
        );
        assert!(
            matches!(refused, Err(MountError::InsideMount { .. })),
            "{inner}: {refused:?}"
        );
    }
    assert_eq!(test.run("ls -A"), ".hls");
}

#[test]
fn a_read_only_mount_refuses_writes() {
    let test = TestMount::with(WriteMode::ReadOnly);
    let error = fs::write(test.path.join("f"), b"x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}
