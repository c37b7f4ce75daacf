//! The daemon as a child, and what outlives it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tgfs::failpoint::Step;
use tgfs::fuse::clean_stale;

const START_PATIENCE: Duration = Duration::from_secs(60);

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
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = clean_stale(&self.mountpoint);
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: std::sync::Mutex<Child>,
}

impl Daemon {
    /// Returns when the mount is usable. A stale mount of the life before is the daemon's own
    /// business.
    pub fn start(site: &Site, crash: Option<(Step, u32)>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tgfs"));
        command
            .arg("--state")
            .arg(site.directory.path().join("state"))
            .arg("--store")
            .arg(format!(
                "local:{}",
                site.directory.path().join("store").display()
            ))
            .args(["mount", "--http", "off"])
            .arg(&site.mountpoint)
            // Nothing of the machine's own configuration.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", site.directory.path())
            .env("TGFS_SETTLE", "0")
            .env("TGFS_PACK_SIZE", "1MiB")
            .current_dir(site.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some((step, pass)) = crash {
            command.env("TGFS_CRASH_AT", format!("{}:{pass}", step.as_str()));
        }
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let daemon = Self {
            child: std::sync::Mutex::new(child),
        };
        let start = Instant::now();
        // A plan may fire while the journal of the life before is applied.
        while start.elapsed() < START_PATIENCE && daemon.is_alive() {
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) if line.starts_with("ready") => return daemon,
                _ => {}
            }
        }
        assert!(
            !daemon.is_alive(),
            "the daemon was not ready after {START_PATIENCE:?}"
        );
        assert!(crash.is_some(), "the daemon did not start again");
        drop(daemon);
        Self::start(site, None)
    }

    pub fn is_alive(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// SIGTERM, and success as its answer.
    pub fn stop(self) {
        assert!(!self.terminate(), "killed on the way to its end");
        let status = self.child.lock().unwrap().wait().unwrap();
        assert!(status.success(), "SIGTERM ended with {status}");
    }

    /// SIGTERM; whether it was killed before it came to its end.
    pub fn terminate(&self) -> bool {
        let pid = i32::try_from(self.child.lock().unwrap().id()).unwrap();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        let status = self.child.lock().unwrap().wait().unwrap();
        status.signal() == Some(nix::libc::SIGKILL)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        if matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
