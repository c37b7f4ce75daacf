//! A started job: reading its output, watching its limits, ending it.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::error::ProcessError;
use super::limits::{CancelFlag, ProcessLimits};
use crate::sync::MutexExt as _;

/// Number of bytes of standard error that are kept. The rest is read and dropped, because a damaged
/// film makes ffmpeg print thousands of lines.
const MAX_STDERR: usize = 16 * 1024;
/// Size in bytes of the pipe that output comes through. It is the largest that the kernel gives to
/// everybody. With the usual 64 KiB, tool and reader mostly wake each other.
const PIPE_BYTES: i32 = 1 << 20;
/// Interval at which limits are checked.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Outcome of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit status, or `None` when a signal ended the program.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// First lines of standard error.
    pub stderr: String,
}

impl Exit {
    /// Returns whether the program ended with status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    Stalled,
    TooSlow,
    Cancelled,
}

#[derive(Debug)]
struct Watched {
    /// Set while the process exists and is not reaped, so that its group id is ours to signal.
    alive: bool,
    /// Set while we block in a read. A reader that is busy elsewhere must not make its job count as
    /// stalled.
    waiting_since: Option<Instant>,
    last_output: Instant,
    stopped: Option<StopReason>,
}

#[derive(Debug)]
struct WatchedGroup {
    group: Pid,
    state: Mutex<Watched>,
    ended: Condvar,
}

impl WatchedGroup {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.state.acquire()
    }
    fn kill(&self, state: &Watched) {
        if state.alive {
            // This fails only when the group is already gone.
            let _gone = killpg(self.group, Signal::SIGKILL);
        }
    }
    fn saw_output(&self) {
        self.lock().last_output = Instant::now();
    }
}

/// A started program. Reading it reads its standard output; dropping it ends its whole group.
#[derive(Debug)]
pub struct Running {
    name: String,
    limits: ProcessLimits,
    child: Child,
    stdout: Option<ChildStdout>,
    shared: Arc<WatchedGroup>,
    stderr: Option<JoinHandle<String>>,
    watchdog: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn spawn(
        mut command: Command,
        name: String,
        limits: ProcessLimits,
        cancel: CancelFlag,
    ) -> Result<Self, ProcessError> {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|error| ProcessError::Start {
            program: name.clone(),
            error,
        })?;
        // A process id always fits: pid_t is an i32.
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let shared = Arc::new(WatchedGroup {
            group,
            state: Mutex::new(Watched {
                alive: true,
                waiting_since: None,
                last_output: Instant::now(),
                stopped: None,
            }),
            ended: Condvar::new(),
        });
        if let Some(stdout) = &child.stdout {
            // A smaller pipe only takes longer.
            let _ = fcntl(stdout, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        }
        let stderr = child.stderr.take().map(|pipe| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || collect_stderr(pipe, &shared))
        });
        let watchdog = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || watch(&shared, limits, &cancel))
        };
        Ok(Self {
            name,
            limits,
            stdout: child.stdout.take(),
            child,
            shared,
            stderr,
            watchdog: Some(watchdog),
        })
    }

    /// Waits for the end of the program, after its output was read.
    ///
    /// # Errors
    /// When a limit was passed or the job was cancelled.
    pub fn finish(mut self) -> Result<Exit, ProcessError> {
        self.end()
    }

    /// Reads the whole output, then waits.
    ///
    /// # Errors
    /// Those of [`Self::finish`], and when there are more than `max_output` bytes.
    pub fn collect(mut self, max_output: usize) -> Result<(Exit, Vec<u8>), ProcessError> {
        let mut output = Vec::new();
        let limit = u64::try_from(max_output).unwrap_or(u64::MAX);
        let read = (&mut self)
            .take(limit.saturating_add(1))
            .read_to_end(&mut output);
        if output.len() > max_output {
            return Err(ProcessError::TooMuchOutput(self.name.clone()));
        }
        let exit = self.end()?;
        read.map_err(|error| ProcessError::Io {
            program: self.name.clone(),
            error,
        })?;
        Ok((exit, output))
    }

    fn end(&mut self) -> Result<Exit, ProcessError> {
        // The pipe is closed first, so that a program that still writes ends instead of blocking for ever.
        self.stdout = None;
        let status = self.reap();
        let stderr = self
            .stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        if let Some(thread) = self.watchdog.take() {
            let _finished = thread.join();
        }
        let program = self.name.clone();
        match self.shared.lock().stopped {
            Some(StopReason::Stalled) => {
                return Err(ProcessError::Stalled {
                    program,
                    after: self.limits.stall,
                });
            }
            Some(StopReason::TooSlow) => {
                return Err(ProcessError::TooSlow {
                    program,
                    after: self.limits.wall,
                });
            }
            Some(StopReason::Cancelled) => return Err(ProcessError::Cancelled(program)),
            None => {}
        }
        let status = status.map_err(|error| ProcessError::Io { program, error })?;
        Ok(Exit {
            code: status.code(),
            signal: status.signal(),
            stderr,
        })
    }

    /// Reaps the program. Waits without reaping first, so that the watchdog never signals a group
    /// id that the system may have given to another process.
    fn reap(&mut self) -> io::Result<std::process::ExitStatus> {
        while let Err(nix::errno::Errno::EINTR) = waitid(
            Id::Pid(self.shared.group),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
        ) {}
        let mut state = self.shared.lock();
        // Processes that the program left running in its group are killed too.
        self.shared.kill(&state);
        state.alive = false;
        let status = self.child.wait();
        drop(state);
        self.shared.ended.notify_all();
        status
    }
}

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = &mut self.stdout else {
            return Ok(0);
        };
        self.shared.lock().waiting_since = Some(Instant::now());
        let result = stdout.read(buffer);
        let mut state = self.shared.lock();
        state.waiting_since = None;
        state.last_output = Instant::now();
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        {
            let state = self.shared.lock();
            self.shared.kill(&state);
        }
        if self.watchdog.is_some() {
            let _stopped = self.end();
        }
    }
}

fn collect_stderr(mut pipe: impl Read, shared: &WatchedGroup) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = pipe.read(&mut buffer) {
        if count == 0 {
            break;
        }
        shared.saw_output();
        let room = MAX_STDERR.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn watch(shared: &WatchedGroup, limits: ProcessLimits, cancel: &CancelFlag) {
    let started = Instant::now();
    let mut state = shared.lock();
    while state.alive {
        let now = Instant::now();
        let silent = state
            .waiting_since
            .map(|since| now.saturating_duration_since(since.max(state.last_output)));
        let reason = if cancel.is_cancelled() {
            Some(StopReason::Cancelled)
        } else if now.saturating_duration_since(started) > limits.wall {
            Some(StopReason::TooSlow)
        } else if silent.is_some_and(|silent| silent > limits.stall) {
            Some(StopReason::Stalled)
        } else {
            None
        };
        if let Some(reason) = reason {
            state.stopped.get_or_insert(reason);
            shared.kill(&state);
        }
        state = shared
            .ended
            .wait_timeout(state, WATCH_INTERVAL)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}
