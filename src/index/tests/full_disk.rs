use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;

const DISK: &str = "size=48m,mode=0700";

/// A small disk of its own; it is taken away at the end.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        mount(
            Some("none"),
            at,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(DISK),
        )
        .unwrap();
        Self(directory)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let file = std::fs::File::create(self.0.path().join("ballast")).unwrap();
        let mut bytes = 64 * 1024 * 1024;
        let mut offset = 0;
        while bytes >= 4096 {
            match nix::fcntl::posix_fallocate(&file, offset, bytes) {
                Ok(()) => offset += bytes,
                Err(_) => bytes /= 2,
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// Commits entries until the disk refuses one, and returns those that were accepted.
fn commit_until_full(index: &Index, named: &str) -> Vec<Entry> {
    let mut accepted = Vec::new();
    for number in 0..20_000 {
        let name = format!("{named}-{number}-{}", "x".repeat(200));
        let entry = file(index, EntryId::ROOT, &name, spooled(1));
        match index.commit(&[put(&entry)]) {
            Ok(_) => accepted.push(entry),
            Err(error) => {
                assert!(matches!(error, IndexError::NoSpace { .. }), "{error}");
                return accepted;
            }
        }
    }
    panic!("the disk never filled up");
}

fn assert_readable(index: &Index, entries: &[Entry], when: &str) {
    for entry in entries {
        let found = index.entry(entry.id);
        assert!(
            found.is_ok_and(|found| found.as_ref() == Some(entry)),
            "{when}: {:?}",
            entry.name
        );
    }
}

#[test]
fn a_full_disk_stops_changes_and_no_reads() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can mount a disk of its own
    }
    let disk = Disk::new();
    let (index, _) = open(&disk.state());
    let mut kept = vec![file(&index, EntryId::ROOT, "first", spooled(1))];
    index.commit(&[put(&kept[0])]).unwrap();
    disk.fill();
    kept.extend(commit_until_full(&index, "a"));
    // The database writes behind by itself, and meets the full disk there.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert_readable(&index, &kept, "on the full disk");
    drop(index);

    let (index, report) = open(&disk.state());
    assert!(report.set_aside.is_none(), "{:?}", report.notes);
    assert_readable(&index, &kept, "after a start on the full disk");
    let late = file(&index, EntryId::ROOT, "late", spooled(1));
    let refused = index.commit(&[put(&late)]).unwrap_err();
    assert!(matches!(refused, IndexError::NoSpace { .. }), "{refused}");
    disk.free();
    index.commit(&[put(&late)]).unwrap();
    kept.push(late);
    index.shutdown().unwrap();
    drop(index);
    let (index, _) = open(&disk.state());
    assert_readable(&index, &kept, "at the end");
}
