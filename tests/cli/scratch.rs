//! A temporary home directory, and commands that run in it.
#![allow(dead_code)] // Each test binary uses its part of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("tgfs-cli-")
            .tempdir()
            .unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Returns the command `tgfs ARGUMENTS`, without any settings of the machine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tgfs"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TGFS_STATE_DIR", self.state())
            .env("TGFS_SETTLE", "100ms")
            .current_dir(self.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }
}

/// Result of a command.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the data of a command, which must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout
    }

    /// Returns the error of a command, which must have failed with one line per problem and no data.
    pub fn failed(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (1, ""), "{self:?}");
        for line in self.stderr.lines() {
            assert!(line.starts_with("tgfs: "), "{self:?}");
        }
        self.stderr
    }

    /// Does the same as [`Self::failed`] where hints come before the error.
    pub fn failed_with_hints(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (1, ""), "{self:?}");
        self.stderr
    }

    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}
