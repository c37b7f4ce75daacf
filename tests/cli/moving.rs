//! Tests of adding bots to a library that began on this machine: it moves to Telegram.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::mount::Mount;
use crate::telegram::{Bench, PATIENCE, options};

const PASSPHRASE: (&str, &str) = ("TGFS_PASSPHRASE", "correct horse");

/// Library of two files in a local store, before bots are added.
struct Local {
    bench: Bench,
    film: Vec<u8>,
    store: PathBuf,
}

impl Local {
    fn begin(settings: &[(&str, &str)]) -> Self {
        let bench = Bench::start(options(2, 1));
        let env = bench.scratch.path().join(".env");
        std::fs::remove_file(env).unwrap();
        let film: Vec<u8> = (0..5_000_000_u32).map(|at| (at * 31 % 253) as u8).collect();
        std::fs::write(bench.scratch.path().join("film.bin"), &film).unwrap();
        std::fs::write(bench.scratch.path().join("note.txt"), b"a note").unwrap();
        let upload = ["upload", "--to", "/Films", "film.bin", "note.txt"];
        bench.run(settings, &upload).ok();
        let store = bench.scratch.state().join("store");
        assert_eq!(files(&store.join("packs")), 2);
        Self { bench, film, store }
    }

    /// Adds the bots; they are used from the next start on.
    fn add_bots(&self, settings: &[(&str, &str)]) {
        let all = [&[("TGFS_KEEP_DELETED", "0")], settings].concat();
        self.bench.configure(&all);
    }

    fn mounted(&self) -> Mount {
        Mount::start(&self.bench.scratch, &[])
    }

    fn until_moved(&self) {
        let begun = Instant::now();
        while files(&self.store.join("packs")) > 0 {
            assert!(begun.elapsed() < PATIENCE, "packs stay behind");
            // The daemon itself looks only once a minute.
            self.bench.run(&[], &["cleanup", "--hours", "0"]).ok();
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }

    fn assert_readable(&self, mount: &Mount) {
        let films = mount.mountpoint.join("Films");
        assert!(std::fs::read(films.join("film.bin")).unwrap() == self.film);
        assert_eq!(std::fs::read(films.join("note.txt")).unwrap(), b"a note");
    }

    fn end(&self, mount: Mount) {
        self.bench.run(&[], &["umount", "my films"]).ok();
        drop(mount);
    }
}

fn files(directory: &Path) -> usize {
    let items = std::fs::read_dir(directory).unwrap();
    items
        .map(|item| item.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

fn moves(before: &[(&str, &str)], after: &[(&str, &str)]) {
    let local = Local::begin(before);
    local.add_bots(after);
    let mount = local.mounted();
    local.assert_readable(&mount);
    std::fs::write(mount.mountpoint.join("new.txt"), b"new").unwrap();
    local.until_moved();
    local.assert_readable(&mount);
    local.bench.run(&[], &["status", "--wait"]).ok();
    let verified = local.bench.run(&[], &["verify", "--deep"]).ok();
    assert!(verified.contains("0 findings"), "{verified}");
    local.end(mount);
    // The old store and this state are no longer needed.
    std::fs::remove_dir_all(local.bench.scratch.state()).unwrap();
    let mount = local.mounted();
    local.assert_readable(&mount);
    assert_eq!(
        std::fs::read(mount.mountpoint.join("new.txt")).unwrap(),
        b"new"
    );
    local.end(mount);
}

#[test]
fn a_library_moves_when_bots_are_added() {
    moves(&[], &[]);
}

#[test]
fn an_encrypted_library_moves_with_its_key() {
    moves(&[PASSPHRASE], &[PASSPHRASE]);
}

#[test]
fn a_library_may_be_encrypted_as_it_moves() {
    moves(&[], &[PASSPHRASE]);
}

#[test]
fn what_has_not_moved_is_read_where_it_is() {
    let local = Local::begin(&[]);
    local.add_bots(&[("TELEGRAM_SERVER", "127.0.0.1:9")]);
    let mount = local.mounted();
    local.assert_readable(&mount);
    std::fs::write(mount.mountpoint.join("new.txt"), b"new").unwrap();
    let told = local.bench.run(&[], &["status"]).ok();
    assert!(told.contains("was not reached"), "{told}");
    local.end(mount);
    local.add_bots(&[]);
    let mount = local.mounted();
    local.until_moved();
    local.assert_readable(&mount);
    local.bench.run(&[], &["status", "--wait"]).ok();
    local.end(mount);
}

#[test]
fn an_old_store_that_is_away_is_named() {
    let local = Local::begin(&[]);
    local.add_bots(&[]);
    let aside = local.bench.scratch.path().join("aside");
    std::fs::rename(&local.store, &aside).unwrap();
    let told = local.bench.run(&[], &["mount", "my films"]).failed();
    let store = local.store.to_str().unwrap();
    assert!(told.contains(store) && told.contains("mounted?"), "{told}");
    assert!(!local.store.exists(), "an empty store was made");
    std::fs::rename(&aside, &local.store).unwrap();
    let listed = local.bench.run(&[], &["list"]).ok();
    assert!(listed.contains("2 files"), "{listed}");
    // Without the bots the library is the same as before.
    std::fs::remove_file(local.bench.scratch.path().join(".env")).unwrap();
    let verified = local.bench.run(&[], &["verify"]).ok();
    assert!(verified.contains("2 packs verified"), "{verified}");
}
