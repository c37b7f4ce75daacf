//! Several writers that record what was acknowledged, each in a directory of its own, and daemons that are
//! killed at random moments. `TGFS_CRASH_ROUNDS` sets the number of daemons, `TGFS_CRASH_SEED` the moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{close, truncate};

use crate::daemon::Site;
use crate::material::{Random, noise};
use crate::model::{Found, Promised, Session};

const ROUNDS: u64 = 30;
const WRITERS: u64 = 4;
/// Settle times. A closed file is still to be taken in, is being taken in, or is stored at the kill.
const SETTLES: [u64; 5] = [20, 200, 1000, 5000, 30_000];
/// Most files of one writer.
const FILES: u64 = 8;

/// Change of a name that is under way.
#[derive(Debug, Clone)]
enum NameChange {
    Create(String),
    Rename(String, String),
    Remove(String),
}

/// One writer, and everything that it was promised.
struct Writer {
    random: Random,
    directory: String,
    count: u64,
    files: BTreeMap<String, Promised>,
    under_way: Option<NameChange>,
}

#[test]
fn every_writer_finds_what_was_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let rounds = number("TGFS_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("TGFS_CRASH_SEED").unwrap_or(1);
    let mut random = Random(seed);
    let mut site = Site::new();
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer::new(number, seed))
        .collect();
    for round in 0..rounds {
        site.settle_for(Duration::from_millis(*random.pick(&SETTLES)));
        let daemon = site.start();
        check_all(&site, &mut writers, round);
        let life = Duration::from_millis(random.below(1200));
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let root = site.mountpoint().to_owned();
                scope.spawn(move || writer.write_until_killed(&root));
            }
            std::thread::sleep(life);
            daemon.kill();
        });
    }
    let daemon = site.start();
    check_all(&site, &mut writers, rounds);
    daemon.stop();
}

/// Checks all writers' files, and that every job ends.
fn check_all(site: &Site, writers: &mut [Writer], round: u64) {
    let failed = failed_files(site);
    for writer in writers.iter_mut() {
        writer.check(site, &failed, round);
    }
    let _ = fs::remove_dir_all(site.path("lost+found"));
    site.run(&["status", "--wait"]);
    let torn: BTreeSet<String> = writers.iter().flat_map(Writer::torn).collect();
    for (path, state, error) in site.files() {
        let expected: &[&str] = match torn.contains(&path) {
            true => &["failed"],
            false => &["stored", "plain"],
        };
        assert!(
            expected.contains(&state.as_str()),
            "round {round}: {path} is {state}, not {expected:?}: {error}"
        );
    }
}

fn failed_files(site: &Site) -> BTreeSet<String> {
    let files = site.files().into_iter();
    files
        .filter(|(_, state, _)| state == "failed")
        .map(|(path, _, _)| path)
        .collect()
}

impl Writer {
    fn new(number: u64, seed: u64) -> Self {
        Self {
            random: Random(seed * 1000 + number),
            directory: format!("writer {number}"),
            count: 0,
            files: BTreeMap::new(),
            under_way: None,
        }
    }

    fn path(&self, root: &Path, name: &str) -> PathBuf {
        root.join(&self.directory).join(name)
    }

    fn torn(&self) -> Vec<String> {
        let torn = self.files.iter().filter(|(_, promised)| promised.is_torn);
        torn.map(|(name, _)| format!("/{}/{name}", self.directory))
            .collect()
    }

    fn write_until_killed(&mut self, root: &Path) {
        if let Err(error) = fs::create_dir(root.join(&self.directory))
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return;
        }
        // A first error is the kill; whatever else it is shows when the promises are compared.
        while self.act(root).is_ok() {
            let pause = self.random.below(8);
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    fn act(&mut self, root: &Path) -> io::Result<()> {
        let names: Vec<String> = self.files.keys().cloned().collect();
        match self.random.below(12) {
            0 if !names.is_empty() => self.rename(root, &names),
            1 if !names.is_empty() => self.remove(root, &names),
            2 if !names.is_empty() => self.cut_by_name(root, &names),
            3..=6 if !names.is_empty() => {
                let name = self.random.pick(&names).clone();
                self.change(root, &name)
            }
            _ if names.len() as u64 >= FILES => self.remove(root, &names),
            _ => {
                self.count += 1;
                let name = format!("{}.bin", self.count);
                self.create(root, &name)
            }
        }
    }

    fn rename(&mut self, root: &Path, names: &[String]) -> io::Result<()> {
        self.count += 1;
        let from = self.random.pick(names).clone();
        let to = match self.random.below(2) {
            0 => format!("{}.bin", self.count),
            _ => self.random.pick(names).clone(),
        };
        self.under_way = Some(NameChange::Rename(from.clone(), to.clone()));
        fs::rename(self.path(root, &from), self.path(root, &to))?;
        self.renamed(&from, to);
        Ok(())
    }

    fn renamed(&mut self, from: &str, to: String) {
        self.under_way = None;
        if let Some(promised) = self.files.remove(from) {
            self.files.insert(to, promised);
        }
    }

    fn remove(&mut self, root: &Path, names: &[String]) -> io::Result<()> {
        let name = self.random.pick(names).clone();
        self.under_way = Some(NameChange::Remove(name.clone()));
        fs::remove_file(self.path(root, &name))?;
        self.under_way = None;
        self.files.remove(&name);
        Ok(())
    }

    /// Changes a file by its name, which is complete when it is acknowledged.
    fn cut_by_name(&mut self, root: &Path, names: &[String]) -> io::Result<()> {
        let name = self.random.pick(names).clone();
        let path = self.path(root, &name);
        let size = self.random.below(100_000);
        let promised = self.files.get_mut(&name).unwrap();
        let mut session = Session::over(promised.closed.as_ref());
        let mut bytes = session.bytes.clone();
        bytes.resize(usize::try_from(size).unwrap(), 0);
        if bytes.len() == session.bytes.len() {
            return Ok(());
        }
        session.under_way = Some(bytes.clone());
        session.is_closing = true;
        promised.session = Some(session);
        truncate(&path, i64::try_from(size).unwrap())?;
        promised.session = None;
        promised.closed = Some(bytes);
        promised.is_torn = false;
        Ok(())
    }

    fn create(&mut self, root: &Path, name: &str) -> io::Result<()> {
        self.under_way = Some(NameChange::Create(name.to_owned()));
        let file = File::create_new(self.path(root, name))?;
        self.under_way = None;
        let promised = Promised {
            session: Some(Session::over(None)),
            ..Promised::default()
        };
        self.files.insert(name.to_owned(), promised);
        self.write_session(name, file)
    }

    fn change(&mut self, root: &Path, name: &str) -> io::Result<()> {
        let path = self.path(root, name);
        let empties = self.random.below(3) == 0;
        let promised = self.files.get_mut(name).unwrap();
        let mut session = Session::over(promised.closed.as_ref());
        if empties {
            session.under_way = Some(Vec::new());
        }
        promised.session = Some(session);
        let opened = OpenOptions::new()
            .write(true)
            .truncate(empties)
            .open(path)?;
        if empties {
            self.acknowledged(name);
        }
        self.write_session(name, opened)
    }

    /// Changes an open file a few times, and closes it.
    fn write_session(&mut self, name: &str, file: File) -> io::Result<()> {
        for _ in 0..self.random.below(6) {
            self.step(name, &file)?;
            if self.random.below(4) == 0 {
                let pause = self.random.below(40);
                std::thread::sleep(Duration::from_millis(pause));
            }
        }
        self.session(name).is_closing = true;
        // Dropping a file would hide what `close` says.
        close(file)?;
        let promised = self.files.get_mut(name).unwrap();
        let session = promised.session.take().unwrap();
        if session.is_changed {
            promised.is_torn = false;
        }
        promised.closed = Some(session.bytes);
        Ok(())
    }

    fn session(&mut self, name: &str) -> &mut Session {
        self.files.get_mut(name).unwrap().session.as_mut().unwrap()
    }

    fn acknowledged(&mut self, name: &str) {
        let session = self.session(name);
        if let Some(bytes) = session.under_way.take() {
            session.is_changed |= bytes != session.bytes;
            session.is_emptied |= bytes.is_empty() && !session.bytes.is_empty();
            session.bytes = bytes;
        }
    }

    fn step(&mut self, name: &str, file: &File) -> io::Result<()> {
        let size = self.session(name).bytes.len() as u64;
        let mut after = self.session(name).bytes.clone();
        let len = match self.random.below(3) {
            0 => 1 + self.random.below(20),
            _ => 1 + self.random.below(60_000),
        };
        let kind = self.random.below(10);
        let at = match kind {
            0..=4 => size,
            _ => self.random.below(size + 5000),
        };
        let end = usize::try_from(at + len).unwrap();
        let start = usize::try_from(at).unwrap();
        match kind {
            0..=6 => {
                let data = noise(end - start, self.random.next());
                after.resize(after.len().max(end), 0);
                after[start..end].copy_from_slice(&data);
                self.session(name).under_way = Some(after);
                file.write_all_at(&data, at)?;
            }
            7 => {
                after.resize(start, 0);
                self.session(name).under_way = Some(after);
                file.set_len(at)?;
            }
            8 => {
                let end = end.min(after.len());
                if start >= end {
                    return Ok(());
                }
                after[start..end].fill(0);
                self.session(name).under_way = Some(after);
                let flags =
                    FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                fallocate(
                    file,
                    flags,
                    i64::try_from(at).unwrap(),
                    i64::try_from(len).unwrap(),
                )?;
                self.session(name).is_changed = true;
            }
            _ => {
                file.sync_all()?;
                let session = self.session(name);
                session.is_synced |= session.is_changed;
            }
        }
        if kind <= 6 {
            self.session(name).is_changed = true;
        }
        self.acknowledged(name);
        Ok(())
    }

    /// Compares all files with the promises, and goes on from what was found.
    fn check(&mut self, site: &Site, failed: &BTreeSet<String>, round: u64) {
        let root = site.path(&self.directory);
        let found: BTreeSet<String> = match fs::read_dir(&root) {
            Ok(items) => items
                .map(|item| item.unwrap().file_name().into_string().unwrap())
                .collect(),
            Err(_) => BTreeSet::new(),
        };
        self.settle_names(&found);
        let expected: BTreeSet<String> = self.files.keys().cloned().collect();
        assert_eq!(
            found, expected,
            "round {round}: names of {}",
            self.directory
        );
        for (name, promised) in &mut self.files {
            let path = format!("/{}/{name}", self.directory);
            let bytes = fs::read(root.join(name)).unwrap_or_else(|e| panic!("{path}: {e}"));
            let is_failed = failed.contains(&path);
            let found = Found {
                bytes: &bytes,
                is_failed,
            };
            if let Err(reason) = promised.check(&found) {
                panic!("round {round}: {path}: {reason}");
            }
            if let Some(session) = &promised.session {
                check_rest(site, &path, session, &bytes);
            }
            *promised = Promised {
                closed: Some(bytes),
                is_torn: is_failed,
                session: None,
            };
        }
        let torn: Vec<String> = self
            .files
            .iter()
            .filter(|(_, f)| f.is_torn)
            .map(|(n, _)| n.clone())
            .collect();
        for name in torn {
            // The others are written again, or completed.
            if self.random.below(2) == 0 {
                fs::remove_file(root.join(&name)).unwrap();
                self.files.remove(&name);
            }
        }
    }

    /// Finds out whether the change of a name that was under way has happened.
    fn settle_names(&mut self, found: &BTreeSet<String>) {
        match self.under_way.take() {
            Some(NameChange::Create(name)) if found.contains(&name) => {
                let mut session = Session::over(None);
                // Nobody was told that the file exists.
                session.is_closing = true;
                let promised = Promised {
                    session: Some(session),
                    ..Promised::default()
                };
                self.files.insert(name, promised);
            }
            Some(NameChange::Rename(from, to)) if from != to && !found.contains(&from) => {
                self.renamed(&from, to);
            }
            Some(NameChange::Remove(name)) if !found.contains(&name) => {
                self.files.remove(&name);
            }
            _ => {}
        }
    }
}

/// Checks that the new bytes are in `/lost+found` when a file kept its closed version and was written from
/// its beginning.
fn check_rest(site: &Site, path: &str, session: &Session, found: &[u8]) {
    // A hole has no byte that could be lost.
    let has_bytes = session.bytes.iter().any(|byte| *byte != 0);
    if session.may_have(found) || !session.is_emptied || !has_bytes {
        return;
    }
    let kept = fs::read_dir(site.path("lost+found"))
        .unwrap_or_else(|error| panic!("{path}: the received part is nowhere: {error}"))
        .map(|item| fs::read(item.unwrap().path()).unwrap());
    assert!(
        kept.into_iter().any(|bytes| session.may_have(&bytes)),
        "{path}: the received part is nowhere, {} bytes, {} of them not zero",
        session.bytes.len(),
        session.bytes.iter().filter(|byte| **byte != 0).count()
    );
}
