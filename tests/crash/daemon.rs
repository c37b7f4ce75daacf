//! A library on a local store, and its daemons one after the other.

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

    /// Returns when the mount is usable. A plan may fire while the journal of the life before is
    /// applied; then the next life is started without one.
    pub fn start(&self, crash: Option<(Step, u32)>) -> Daemon {
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
            // Nothing of the machine's own configuration.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("TGFS_SETTLE", "0")
            .env("TGFS_PACK_SIZE", "1MiB")
            .current_dir(self.directory.path());
        if let Some((step, pass)) = crash {
            command.env("TGFS_CRASH_AT", format!("{}:{pass}", step.as_str()));
        }
        Daemon::start(command).unwrap_or_else(|| {
            assert!(crash.is_some(), "the daemon did not start again");
            self.start(None)
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = clean_stale(&self.mountpoint);
    }
}
