//! `tgfs serve` or `tgfs mount` as a child process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub struct Daemon {
    child: Child,
    address: String,
    directory: TempDir,
    has_mount: bool,
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_with(&[])
    }
    /// Starts the daemon with these settings in its environment.
    #[allow(dead_code)] // Each test binary uses its part of it.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let directory = scratch();
        let mut command = command(directory.path());
        command
            .args(["serve", "--http", "127.0.0.1:0"])
            .envs(settings.iter().copied());
        Self::of(command, directory)
    }
    /// Starts the daemon with a mount.
    #[allow(dead_code)] // Each test binary uses its part of it.
    pub fn mounted() -> Self {
        let directory = scratch();
        let mut command = command(directory.path());
        command
            .args(["mount", "--http", "127.0.0.1:0"])
            .arg(directory.path().join("mnt"));
        let mut daemon = Self::of(command, directory);
        daemon.has_mount = true;
        daemon
    }
    /// Returns the directory of the mount.
    #[allow(dead_code)] // Each test binary uses its part of it.
    pub fn mountpoint(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }
    fn of(mut command: Command, directory: TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        // Its loop ends when the daemon does not start and exits.
        let line = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("ready "))
            .expect("the daemon was never ready");
        let address = line
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("http="))
            .unwrap();
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        Self {
            child,
            address: address.to_owned(),
            directory,
            has_mount: false,
        }
    }
    /// Returns `host:port` of the gateway.
    pub fn address(&self) -> &str {
        &self.address
    }
    /// Returns the token, which opens everything: as `Authorization: Bearer …`, or in a path.
    pub fn token(&self) -> String {
        let file = self.directory.path().join("state/http-token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }
    /// Returns a URL of the gateway that needs no login: the token is in it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/t/{}{path}", self.address, self.token())
    }
    /// Returns the directory for source files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
    /// Returns the daemon's memory.
    #[allow(dead_code)] // Each test binary uses its part of it.
    pub fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }
    /// Runs another command on the same state and returns its output.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = command(self.directory.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "tgfs {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.has_mount {
            let _ = Command::new("fusermount3")
                .arg("-uzq")
                .arg(self.mountpoint())
                .status();
        }
    }
}

fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("tgfs-http-")
        .tempdir()
        .unwrap()
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tgfs"));
    command
        .arg("--state")
        .arg(directory.join("state"))
        // The machine's own configuration must not matter.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}
