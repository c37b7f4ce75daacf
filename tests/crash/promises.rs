//! Single promises of `write`, `ftruncate`, `fsync` and `close`, kept over a kill.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tgfs::index::{Index, Owner};
use tgfs::model::{Change, EntryId, EntryKind, Ino, ViewsState};

use crate::daemon::Site;
use crate::material::noise;

/// Settle time in which no test ends.
const LONG: Duration = Duration::from_secs(60);

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).open(path).unwrap()
}

fn site(settle: Duration) -> Site {
    let mut site = Site::new();
    site.settle_for(settle);
    site
}

/// Checks that a file has these bytes, and that it is known not to be whole.
fn is_interrupted(site: &Site, name: &str, bytes: &[u8]) {
    let found = fs::read(site.path(name)).unwrap();
    assert_eq!(found.len(), bytes.len(), "length of {name}");
    assert!(found == bytes, "bytes of {name}");
    let (state, error) = site.state_of(name).unwrap();
    assert_eq!(state, "failed", "{name}");
    assert!(
        error.contains("while it was being written"),
        "{name}: {error}"
    );
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let site = site(LONG);
    let daemon = site.start();
    let (old, new, more) = (noise(2_400_000, 1), noise(4096, 2), noise(4096, 3));
    let mut open = Vec::new();
    // Emptied at the open, closed, and appended to.
    fs::write(site.path("opened"), &old).unwrap();
    fs::write(site.path("opened"), &new).unwrap();
    open.push(append(&site.path("opened")));
    open[0].write_all(&more).unwrap();
    // Cut before the close, and appended to.
    let mut file = File::create(site.path("cut")).unwrap();
    file.write_all(&old).unwrap();
    file.set_len(4096).unwrap();
    drop(file);
    open.push(append(&site.path("cut")));
    open[1].write_all(&more).unwrap();
    // Cut and extended by name, then changed.
    fs::write(site.path("named"), &old).unwrap();
    let named = OpenOptions::new()
        .write(true)
        .open(site.path("named"))
        .unwrap();
    named.set_len(100).unwrap();
    named.set_len(10_000).unwrap();
    named.write_all_at(&more, 5000).unwrap();
    // Extended and not closed.
    let mut grown = File::create(site.path("grown")).unwrap();
    grown.write_all(&new).unwrap();
    grown.set_len(1 << 20).unwrap();
    let hole = File::create(site.path("hole")).unwrap();
    hole.set_len(70_000).unwrap();
    daemon.kill();
    drop((open, named, grown, hole));

    let daemon = site.start();
    is_interrupted(&site, "opened", &[&new[..], &more[..]].concat());
    is_interrupted(&site, "cut", &[&old[..4096], &more[..]].concat());
    let mut named = old[..100].to_vec();
    named.resize(10_000, 0);
    named[5000..5000 + more.len()].copy_from_slice(&more);
    is_interrupted(&site, "named", &named);
    let mut grown = new.clone();
    grown.resize(1 << 20, 0);
    is_interrupted(&site, "grown", &grown);
    is_interrupted(&site, "hole", &[0; 70_000]);
    daemon.stop();
}

#[test]
fn an_interrupted_file_of_nothing_but_a_hole_is_no_whole_one() {
    let site = site(Duration::from_millis(20));
    let daemon = site.start();
    let names = ["grown", "emptied and grown"];
    let open = names.map(|name| {
        let mut file = File::create(site.path(name)).unwrap();
        if name != names[0] {
            file.write_all(b"gone").unwrap();
            file.sync_all().unwrap();
            file.set_len(0).unwrap();
        }
        file.set_len(1612).unwrap();
        file.sync_all().unwrap();
        file
    });
    daemon.kill();
    drop(open);
    let daemon = site.start();
    for name in names {
        is_interrupted(&site, name, &[0; 1612]);
    }
    daemon.stop();
}

#[test]
fn what_grows_after_an_empty_version_keeps_its_length() {
    let site = site(LONG);
    let daemon = site.start();
    fs::write(site.path("emptied"), b"the first version").unwrap();
    let file = File::create(site.path("emptied")).unwrap();
    file.sync_all().unwrap();
    // Nothing names the spool file of the first version any more, so it goes.
    std::thread::sleep(Duration::from_secs(1));
    file.set_len(3122).unwrap();
    daemon.kill();
    drop(file);
    let daemon = site.start();
    is_interrupted(&site, "emptied", &[0; 3122]);
    daemon.stop();
}

#[test]
fn an_interrupted_file_never_passes_for_a_whole_one() {
    let site = site(Duration::from_millis(20));
    let daemon = site.start();
    let mut open = Vec::new();
    for number in 0..20 {
        let name = format!("{number}");
        let mut file = File::create(site.path(&name)).unwrap();
        match number % 4 {
            // Created, and nothing written yet.
            0 => {}
            1 => file.write_all(b"the first half").unwrap(),
            // A promise over a power cut does not make it whole.
            2 => {
                file.write_all(b"the first half").unwrap();
                file.sync_all().unwrap();
            }
            // The other handle wrote all that it wanted.
            _ => {
                file.write_all(b"the first ").unwrap();
                let mut other = append(&site.path(&name));
                other.write_all(b"half").unwrap();
                drop(other);
            }
        }
        open.push(file);
    }
    daemon.kill();
    drop(open);
    let daemon = site.start();
    for number in 0..20 {
        let bytes: &[u8] = match number % 4 {
            0 => b"",
            _ => b"the first half",
        };
        is_interrupted(&site, &format!("{number}"), bytes);
    }
    assert_eq!(
        site.run(&["status", "--wait"]).status.code(),
        Some(1),
        "failed files"
    );
    daemon.stop();
    // Nor does the next start take it for whole.
    let daemon = site.start();
    is_interrupted(&site, "1", b"the first half");
    is_interrupted(&site, "0", b"");
    daemon.stop();
}

#[test]
fn a_file_without_a_byte_is_stored_after_a_kill() {
    let site = site(LONG);
    let daemon = site.start();
    File::create(site.path("e.txt")).unwrap();
    // The manifest takes up an empty file before it has settled.
    std::thread::sleep(Duration::from_secs(5));
    daemon.kill();
    let daemon = site.start();
    let output = site.run(&["status", "--wait", "/e.txt"]);
    assert!(
        output.status.success(),
        "{}",
        crate::material::said(&output)
    );
    assert_eq!(site.state_of("e.txt").unwrap().0, "stored");
    daemon.stop();
}

/// A kill takes the rows of the last half second that are not in the journal, the notes of jobs among them.
#[test]
fn a_file_whose_job_was_forgotten_is_done_after_a_kill() {
    let site = site(Duration::ZERO);
    let daemon = site.start();
    fs::write(site.path("film.mkv"), noise(100_000, 7)).unwrap();
    assert!(
        site.run(&["status", "--wait", "/film.mkv"])
            .status
            .success()
    );
    let done = site.state_of("film.mkv").unwrap();
    daemon.stop();
    // The state that such a kill leaves: the file is stored, its views are not made, and no note says so.
    let (index, _) = Index::open(&site.state(), Owner::of_process()).unwrap();
    let child = index.children(EntryId::ROOT, Ino(0), 10).unwrap().remove(0);
    let mut entry = index.entry(child.id).unwrap().unwrap();
    let EntryKind::File(content) = &mut entry.kind else {
        panic!("{entry:?}");
    };
    content.views = ViewsState::Pending;
    index.commit(&[Change::Put(Box::new(entry))]).unwrap();
    let records = index.outbox(1 << 20).unwrap().records;
    index.acknowledge(index.log_head(), &records).unwrap();
    index.sync().unwrap();
    drop(index);
    let daemon = site.start();
    assert!(
        site.run(&["status", "--wait", "/film.mkv"])
            .status
            .success()
    );
    assert_eq!(site.state_of("film.mkv").unwrap(), done);
    daemon.stop();
}

#[test]
fn a_changed_file_that_is_changed_again_keeps_what_was_acknowledged() {
    let mut site = site(Duration::from_millis(20));
    let mut bytes = noise(3_000_000, 1);
    let daemon = site.start();
    fs::write(site.path("film"), &bytes).unwrap();
    assert!(site.run(&["status", "--wait", "/film"]).status.success());
    daemon.stop();
    site.settle_for(LONG);
    let daemon = site.start();
    let change = |file: &File, bytes: &mut Vec<u8>, at: usize, seed: u64| {
        let new = noise(10_000, seed);
        file.write_all_at(&new, at as u64).unwrap();
        bytes.resize(bytes.len().max(at + new.len()), 0);
        bytes[at..at + new.len()].copy_from_slice(&new);
    };
    let file = OpenOptions::new()
        .write(true)
        .open(site.path("film"))
        .unwrap();
    change(&file, &mut bytes, 1_000_000, 2);
    drop(file);
    let file = OpenOptions::new()
        .write(true)
        .open(site.path("film"))
        .unwrap();
    change(&file, &mut bytes, 2_000_000, 3);
    change(&file, &mut bytes, 1_005_000, 4);
    file.set_len(2_500_000).unwrap();
    bytes.truncate(2_500_000);
    change(&file, &mut bytes, 2_600_000, 5);
    daemon.kill();
    drop(file);
    let daemon = site.start();
    is_interrupted(&site, "film", &bytes);
    // Before it was closed once, the old version is the one that is kept.
    let retried = site.run(&["retry", "/film"]);
    assert!(
        retried.status.success(),
        "{}",
        crate::material::said(&retried)
    );
    assert!(site.run(&["status", "--wait", "/film"]).status.success());
    let file = OpenOptions::new()
        .write(true)
        .open(site.path("film"))
        .unwrap();
    file.write_all_at(b"not yet", 0).unwrap();
    daemon.kill();
    drop(file);
    let daemon = site.start();
    assert!(fs::read(site.path("film")).unwrap() == bytes);
    assert_eq!(site.state_of("film").unwrap().0, "stored");
    let part = site.path("lost+found").join("film");
    assert_eq!(fs::read(part).unwrap(), b"not yet");
    daemon.stop();
}

#[test]
fn a_file_that_another_program_completes_is_whole_whenever_it_does() {
    let site = site(Duration::from_secs(2));
    let daemon = site.start();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(site.mountpoint());
        command.status().unwrap()
    };
    torn(&site, "late");
    std::thread::sleep(Duration::from_secs(4));
    assert!(shell("echo end >> late").success());
    torn(&site, "soon");
    assert!(shell("echo end >> soon").success());
    // A handle that was open when the other writer was killed proves nothing.
    let mut held = File::create(site.path("held")).unwrap();
    torn(&site, "held");
    held.write_all(b"x").unwrap();
    drop(held);
    for name in ["/late", "/soon"] {
        let output = site.run(&["status", "--wait", name]);
        assert!(
            output.status.success(),
            "{name}: {}",
            crate::material::said(&output)
        );
    }
    assert_eq!(fs::read(site.path("soon")).unwrap(), b"begin\nend\n");
    assert_eq!(
        site.run(&["status", "--wait", "/held"]).status.code(),
        Some(1)
    );
    daemon.stop();
}

/// Lets a program append to a file, and kills it before it closes the file.
fn torn(site: &Site, name: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", &format!("exec cat >> {name}")])
        .current_dir(site.mountpoint())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let input = writer.stdin.as_mut().unwrap();
    input.write_all(b"begin\n").unwrap();
    while fs::metadata(site.path(name)).map_or(0, |found| found.len()) < 6 {
        std::thread::sleep(Duration::from_millis(10));
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(site.state_of(name).unwrap().0, "failed", "{name}");
}

#[test]
fn a_lost_index_brings_files_back_under_their_newest_names() {
    let site = site(LONG);
    let daemon = site.start();
    fs::create_dir(site.path("films")).unwrap();
    // Such names wait for a rename, so only the spool has the bytes.
    fs::write(site.path("old.part"), b"bytes").unwrap();
    let mut open = File::create(site.path("open.part")).unwrap();
    open.write_all(b"more bytes").unwrap();
    for (from, to) in [("old.part", "new.part"), ("open.part", "films/moved.part")] {
        fs::rename(site.path(from), site.path(to)).unwrap();
        fs::set_permissions(site.path(to), fs::Permissions::from_mode(0o640)).unwrap();
    }
    drop(open);
    // The directory reaches the store, from where it comes back.
    std::thread::sleep(Duration::from_secs(1));
    daemon.stop();
    fs::remove_dir_all(site.state().join("index")).unwrap();
    fs::remove_dir_all(site.state().join("journal")).unwrap();
    let daemon = site.start();
    for (name, bytes) in [
        ("new.part", &b"bytes"[..]),
        ("films/moved.part", b"more bytes"),
    ] {
        assert_eq!(fs::read(site.path(name)).unwrap(), bytes, "{name}");
        let mode = fs::metadata(site.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    daemon.stop();
}
