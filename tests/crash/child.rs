//! A daemon as a child process: its start, its kill, its stop.
#![allow(dead_code)] // Each test binary uses its part of it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const START_PATIENCE: Duration = Duration::from_secs(60);

/// Running daemon; it is killed when this is dropped.
pub struct Daemon {
    child: Mutex<Child>,
    ready: String,
    state: Option<PathBuf>,
}

impl Daemon {
    /// Starts a daemon and returns once it reports that it is ready, or `None` if it ended before. The daemon
    /// itself cleans up a stale mount of its predecessor.
    pub fn start(mut command: Command) -> Option<Self> {
        let state = state_of(&command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self {
            child: Mutex::new(child),
            ready: String::new(),
            state,
        };
        let start = Instant::now();
        while daemon.is_alive() {
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) if line.starts_with("ready") => {
                    daemon.ready = line;
                    return Some(daemon);
                }
                _ => assert!(
                    start.elapsed() < START_PATIENCE,
                    "the daemon was not ready after {START_PATIENCE:?}"
                ),
            }
        }
        None
    }

    /// Returns the line with which it said that it is ready.
    pub fn ready(&self) -> &str {
        &self.ready
    }

    /// Returns `host:port` of its gateway.
    pub fn address(&self) -> &str {
        let words = self.ready.split_ascii_whitespace();
        let mut url = words.filter_map(|word| word.strip_prefix("http=http://"));
        url.next_back().unwrap().trim_end_matches('/')
    }

    /// Returns the token of its gateway, which opens everything: as `Authorization: Bearer …`, or in a path.
    pub fn token(&self) -> String {
        let file = self.state.as_ref().unwrap().join("http-token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Returns a URL of its gateway that needs no login: the token is in it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/t/{}{path}", self.address(), self.token())
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    pub fn is_alive(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Sends SIGTERM and expects success.
    pub fn stop(self) {
        assert!(!self.terminate(), "killed on the way to its end");
        let status = self.child.lock().unwrap().wait().unwrap();
        assert!(status.success(), "SIGTERM ended with {status}");
    }

    /// Sends SIGTERM. Returns whether the daemon was killed before it ended by itself.
    pub fn terminate(&self) -> bool {
        let pid = i32::try_from(self.child.lock().unwrap().id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
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

/// Returns the state directory that a command is told.
fn state_of(command: &Command) -> Option<PathBuf> {
    let arguments: Vec<&OsStr> = command.get_args().collect();
    let flag = arguments.iter().position(|argument| *argument == "--state");
    let by_flag = flag.and_then(|at| arguments.get(at + 1).copied());
    let by_setting = command
        .get_envs()
        .find(|(name, _)| *name == "TGFS_STATE_DIR")
        .and_then(|(_, value)| value);
    by_flag.or(by_setting).map(PathBuf::from)
}
