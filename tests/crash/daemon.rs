//! A library on a local store, and the daemons that serve it one after the other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tgfs::failpoint::Step;
use tgfs::fuse::clean_stale;

pub use crate::child::Daemon;

/// State, store and mountpoint of one library.
pub struct Site {
    directory: TempDir,
    mountpoint: PathBuf,
    settle: Duration,
}

/// Returns the program under test: the one that cargo built, or that of `TGFS_PROGRAM`.
fn program() -> OsString {
    std::env::var_os("TGFS_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_tgfs").into())
}

impl Site {
    pub fn new() -> Self {
        crate::material::need("fusermount3", "fuse3");
        let directory = tempfile::Builder::new()
            .prefix("tgfs-crash-")
            .tempdir()
            .unwrap();
        let mountpoint = directory.path().join("mnt");
        Self {
            directory,
            mountpoint,
            settle: Duration::ZERO,
        }
    }

    /// Lets a closed file wait for so long before the daemons that start from now on take it in.
    pub fn settle_for(&mut self, time: Duration) {
        self.settle = time;
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mountpoint.join(name)
    }

    /// Runs a command beside the daemon. Fails if it does not end.
    pub fn run(&self, words: &[&str]) -> Output {
        const PATIENCE: Duration = Duration::from_secs(60);
        let mut command = self.program();
        let mut child = command
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                child.kill().unwrap();
                let jobs = self.program().arg("status").output().unwrap();
                panic!("{words:?} does not end:\n{}", crate::material::said(&jobs));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.wait_with_output().unwrap()
    }

    /// Returns state and reason of a file, as `tgfs list` names them; `None` when it is not listed.
    pub fn state_of(&self, name: &str) -> Option<(String, String)> {
        let path = format!("/{name}");
        let mut found = self.files().into_iter().filter(|(at, _, _)| *at == path);
        found.next().map(|(_, state, error)| (state, error))
    }

    /// Returns path, state and reason of all files.
    pub fn files(&self) -> Vec<(String, String, String)> {
        let output = self.run(&["list", "--json"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", crate::material::said(&output)));
        let files = json.as_array().or_else(|| json["files"].as_array());
        files
            .unwrap()
            .iter()
            .map(|file| {
                (
                    text(&file["path"]),
                    text(&file["state"]),
                    text(&file["error"]),
                )
            })
            .collect()
    }

    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Starts a daemon; returns once the mount is usable.
    pub fn start(&self) -> Daemon {
        let daemon = Daemon::start(self.command());
        daemon.unwrap_or_else(|| panic!("the daemon did not start again"))
    }

    /// Starts a daemon that dies at the given pass of a step. Returns `None` if it died before it was ready,
    /// because the previous daemon may have left enough work to reach that step.
    pub fn start_to_die(&self, step: Step, pass: u32) -> Option<Daemon> {
        let mut command = self.command();
        command.env("TGFS_CRASH_AT", format!("{}:{pass}", step.as_str()));
        Daemon::start(command)
    }

    fn command(&self) -> Command {
        let mut command = self.program();
        command
            .args(["mount", "--http", "off"])
            .arg(&self.mountpoint)
            .env("TGFS_SETTLE", format!("{}ms", self.settle.as_millis()))
            .env("TGFS_PACK_SIZE", "1MiB");
        command
    }

    fn program(&self) -> Command {
        let store = self.directory.path().join("store");
        let mut command = Command::new(program());
        command
            .arg("--state")
            .arg(self.state())
            .arg("--store")
            .arg(format!("local:{}", store.display()))
            // The machine's own configuration must not matter.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .current_dir(self.directory.path());
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = clean_stale(&self.mountpoint);
    }
}
