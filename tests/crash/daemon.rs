//! A library on a local store, and the daemons that serve it one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tgfs::failpoint::Step;
use tgfs::fuse::clean_stale;

pub use crate::child::Daemon;

/// State, store and mountpoint of one library.
pub struct Site {
    directory: TempDir,
    mountpoint: PathBuf,
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
        }
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_tgfs"));
        command
            .arg("--state")
            .arg(self.directory.path().join("state"))
            .arg("--store")
            .arg(format!(
                "local:{}",
                self.directory.path().join("store").display()
            ))
            .args(["mount", "--http", "off"])
            .arg(&self.mountpoint)
            // The machine's own configuration must not matter.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("TGFS_SETTLE", "0")
            .env("TGFS_PACK_SIZE", "1MiB")
            .current_dir(self.directory.path());
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = clean_stale(&self.mountpoint);
    }
}
