//! A machine with tgfs: state, settings, mountpoint, and its daemons one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tgfs::failpoint::Step;
use tgfs::fuse::clean_stale;

pub use crate::child::Daemon;
use crate::scratch::{Ended, Scratch};
use crate::service::Service;

/// Time limit of each wait; two cores may be shared by many.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub struct Site {
    scratch: Scratch,
    mountpoint: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    /// A machine with the settings of the service in `.env`, small packs and no limit on posts.
    pub fn new(service: &Service) -> Self {
        crate::material::need("fusermount3", "fuse3");
        let scratch = Scratch::new();
        service.write_env(&scratch.path().join(".env")).unwrap();
        let mountpoint = scratch.path().join("mnt");
        let site = Self {
            scratch,
            mountpoint,
            settings: Vec::new(),
        };
        site.with("TGFS_PACK_SIZE", "1MiB")
            .with("TGFS_PACE", "fast")
    }

    pub fn with(mut self, setting: &'static str, value: &str) -> Self {
        self.settings.retain(|(known, _)| *known != setting);
        self.settings.push((setting, value.to_owned()));
        self
    }

    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Returns a path in the mount.
    pub fn file(&self, name: &str) -> PathBuf {
        self.mountpoint.join(name)
    }

    /// Returns a path outside the mount.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.scratch.state()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(arguments);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Starts a daemon and waits until the library is in step with the channel.
    pub fn start(&self) -> Daemon {
        let daemon = self.start_as(self.mounting());
        daemon.unwrap_or_else(|| panic!("the daemon did not start: {}", self.log()))
    }

    /// Starts a daemon that dies at a failpoint; `None` when it has died already.
    pub fn start_to_die(&self, step: Step, pass: u32) -> Option<Daemon> {
        let mut command = self.mounting();
        command.env("TGFS_CRASH_AT", format!("{}:{pass}", step.as_str()));
        self.start_as(command)
    }

    fn start_as(&self, command: Command) -> Option<Daemon> {
        let daemon = Daemon::start(command)?;
        wait_for("the library is in step", || {
            !daemon.is_alive() || self.standing() == "attached"
        });
        daemon.is_alive().then_some(daemon)
    }

    /// Returns the command of a daemon, which logs to the file that [`Self::log`] reads.
    pub fn mounting(&self) -> Command {
        let mountpoint = self.mountpoint.to_str().unwrap();
        let mut command = self.command(&["mount", "--http", "127.0.0.1:0", mountpoint]);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.outside("log"))
            .unwrap();
        command.stderr(log);
        command
    }

    /// Returns the log of all daemons of this machine so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.outside("log")).unwrap_or_default()
    }

    /// Loses the machine: only the settings are left.
    pub fn lose_state(&self) {
        fs::remove_dir_all(self.state()).unwrap();
    }

    /// Copies the state, to be put back later.
    pub fn keep_state(&self) -> PathBuf {
        let kept = self.outside("kept");
        copy_tree(&self.state(), &kept);
        kept
    }

    pub fn restore_state(&self, kept: &Path) {
        self.lose_state();
        copy_tree(kept, &self.state());
    }

    /// Waits until all uploads have ended, and checks that none failed.
    pub fn settled(&self) {
        self.run(&["status", "--wait"]).ok();
    }

    /// Waits until neither spool nor journal hold anything to send.
    pub fn published(&self) {
        self.settled();
        wait_for("everything is published", || {
            self.stat("journal", "unpublished entries") == 0
                && self.stat("spool", "files only here") == 0
        });
    }

    /// Waits until everything but the last manifest is sent.
    pub fn packs_are_out(&self) {
        wait_for("all packs are out", || {
            let status = self.run(&["status", "--json"]).json();
            let jobs = status["jobs"].as_array().unwrap();
            jobs.iter().all(|job| job["step"] == "publish")
        });
    }

    /// Stops a daemon once all packs are uploaded. A stop publishes at once; a running daemon collects
    /// changes for a while.
    pub fn finish(&self, daemon: Daemon) {
        let mut daemon = Some(daemon);
        loop {
            self.packs_are_out();
            daemon.take().unwrap().stop();
            if self.stat("journal", "unpublished entries") == 0 {
                return;
            }
            // The last manifest took longer than a stop waits.
            daemon = Some(self.start());
        }
    }

    /// Returns the status of the library and its store.
    pub fn standing(&self) -> String {
        let ended = self.run(&["status", "--json"]);
        if ended.status != 0 {
            return ended.stderr;
        }
        let status = ended.json();
        status["store"]["standing"].as_str().unwrap().to_owned()
    }

    /// Returns one line of `db-stats`.
    pub fn stat(&self, part: &str, name: &str) -> u64 {
        let stats = self.run(&["db-stats", "--json"]).json();
        let stats = stats.as_array().unwrap();
        let found = stats
            .iter()
            .find(|stat| stat["part"] == part && stat["name"] == name);
        found.unwrap()["value"].as_u64().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = clean_stale(&self.mountpoint);
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.log(), self.run(&["status"]).stdout);
        }
    }
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}
