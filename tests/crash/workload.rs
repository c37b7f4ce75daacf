//! A program that writes and records which bytes were reported to it as safe.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, Site};
use crate::material::{Random, noise};

/// Promised files: name to (length, seed) of the bytes.
type Promised = BTreeMap<String, Content>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    len: usize,
    seed: u64,
}

impl Content {
    fn bytes(self) -> Vec<u8> {
        noise(self.len, self.seed)
    }
}

/// Step of the program; each is one promise, kept as a whole or not at all.
#[derive(Debug, Clone)]
enum Act {
    Write { name: String, content: Content },
    Rename { from: String, to: String },
    Remove { name: String },
}

pub struct Workload {
    random: Random,
    count: u64,
    promised: Promised,
    /// Step that was under way at the kill. It may or may not have happened.
    open: Option<Act>,
}

impl Workload {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            count: 0,
            promised: Promised::new(),
            open: None,
        }
    }

    /// Writes until the daemon dies; returns whether it did within `patience`.
    pub fn write_until_it_dies(
        &mut self,
        site: &Site,
        daemon: &Daemon,
        patience: Duration,
    ) -> bool {
        let start = Instant::now();
        while start.elapsed() < patience && daemon.is_alive() {
            if !self.act(site.mountpoint()) {
                break;
            }
        }
        // The kill closes the connection before the process is reported as gone.
        let grace = Instant::now();
        while daemon.is_alive() && grace.elapsed() < Duration::from_secs(2) && self.open.is_some() {
            std::thread::sleep(Duration::from_millis(10));
        }
        !daemon.is_alive()
    }

    /// Writes while another thread waits and kills.
    pub fn write_and_kill_after(&mut self, site: &Site, daemon: &Daemon, life: Duration) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(life);
                daemon.kill();
            });
            while self.act(site.mountpoint()) {}
        });
    }

    /// Does one step; returns `false` when the daemon died before it answered.
    fn act(&mut self, root: &Path) -> bool {
        let act = self.next();
        self.open = Some(act.clone());
        match perform(root, &act) {
            Ok(()) => {
                self.keep(&act);
                self.open = None;
                true
            }
            Err(error) => {
                let died = [
                    nix::libc::ENOTCONN,
                    nix::libc::ECONNABORTED,
                    nix::libc::ENODEV,
                ];
                let code = error.raw_os_error().unwrap_or(0);
                // A request that is handed over at the moment of the kill ends with EIO.
                assert!(
                    died.contains(&code) || code == nix::libc::EIO && is_dead(root),
                    "{act:?}: {error}"
                );
                false
            }
        }
    }

    fn next(&mut self) -> Act {
        self.count += 1;
        let names: Vec<String> = self.promised.keys().cloned().collect();
        let largest = if self.random.below(10) == 0 {
            2_500_000
        } else {
            40_000
        };
        let content = Content {
            len: usize::try_from(self.random.below(largest)).unwrap_or(0),
            seed: self.random.next(),
        };
        let new = format!("file {}.bin", self.count);
        match self.random.below(10) {
            // The files stay few enough to compare all of them under each daemon.
            _ if names.len() > 40 => Act::Remove {
                name: self.random.pick(&names).clone(),
            },
            0 | 1 if !names.is_empty() => Act::Rename {
                from: self.random.pick(&names).clone(),
                to: new,
            },
            2 if names.len() > 1 => {
                let (from, to) = (
                    self.random.pick(&names).clone(),
                    self.random.pick(&names).clone(),
                );
                Act::Rename { from, to }
            }
            3 if !names.is_empty() => Act::Remove {
                name: self.random.pick(&names).clone(),
            },
            _ => Act::Write { name: new, content },
        }
    }

    fn keep(&mut self, act: &Act) {
        match act {
            Act::Write { name, content } => {
                self.promised.insert(name.clone(), *content);
            }
            Act::Rename { from, to } => {
                if let Some(content) = self.promised.remove(from) {
                    self.promised.insert(to.clone(), content);
                }
            }
            Act::Remove { name } => {
                self.promised.remove(name);
            }
        }
    }

    /// Compares every promised byte, and finds out whether the step under way happened.
    pub fn check(&mut self, root: &Path) {
        if let Some(act) = self.open.take() {
            self.settle(root, &act);
        }
        let mut found: Vec<String> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".hls")
            .collect();
        found.sort();
        let expected: Vec<&String> = self.promised.keys().collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "names");
        for (name, content) in &self.promised {
            let bytes = fs::read(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(bytes.len(), content.len, "length of {name}");
            assert!(bytes == content.bytes(), "bytes of {name}");
        }
    }

    /// Checks that the step under way happened completely or not at all. Only a file that was being written
    /// for the first time may be there in part.
    fn settle(&mut self, root: &Path, act: &Act) {
        let whole = |name: &str, content: Content| {
            fs::read(root.join(name)).is_ok_and(|bytes| bytes == content.bytes())
        };
        let happened = match act {
            Act::Write { name, content } => {
                let is_whole = whole(name, *content);
                if !is_whole {
                    let _ = fs::remove_file(root.join(name));
                }
                is_whole
            }
            Act::Rename { from, to } => from == to || !root.join(from).exists(),
            Act::Remove { name } => !root.join(name).exists(),
        };
        if happened {
            self.keep(act);
        }
    }
}

/// Returns whether nobody answers for the mount any more, now or in a moment.
fn is_dead(root: &Path) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        nix::sys::statvfs::statvfs(root).is_err()
    })
}

fn perform(root: &Path, act: &Act) -> io::Result<()> {
    match act {
        Act::Write { name, content } => {
            let mut file = fs::File::create_new(root.join(name))?;
            file.write_all(&content.bytes())?;
            // `close` makes the promise, but dropping a file hides its result: fsync gives the same
            // promise and reports it.
            file.sync_all()
        }
        Act::Rename { from, to } => fs::rename(root.join(from), root.join(to)),
        Act::Remove { name } => fs::remove_file(root.join(name)),
    }
}
