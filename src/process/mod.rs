//! The one place that spawns processes. A [`Job`] runs in its own process group with bounded
//! output, a stall timeout and a wall limit, and dies when its handle is dropped.
//!
//! Jobs that read files of unknown origin run *confined*: the spawner starts
//! `<launcher> confine --spec JSON -- program args…`, and that process (single-threaded, freshly
//! executed) restricts itself and then executes the program; see [`confine`]. Doing it there
//! instead of between fork and exec needs no unsafe code.
//!
//! The input is opened by the parent and becomes the child's standard input, which the program
//! opens again by the name [`INPUT_PATH`]. That gives it a position of its own and keeps it
//! seekable (ffmpeg's `pipe:` is not, and `fd:` is absent before ffmpeg 6), and the path of the
//! file, which lies in a directory that only we may enter, never has to be walked by the child.

pub mod arenas;
pub mod confine;
mod running;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use running::{Exit, Running};

/// The job's input file, as the program sees it.
pub const INPUT_PATH: &str = "/proc/self/fd/0";

/// How programs are started.
#[derive(Debug, Clone)]
pub enum Launcher {
    /// Through `<path> confine …`; the path is normally this binary.
    Confined(PathBuf),
    /// As they are, without confinement. For unit tests, which have no `confine` command.
    Direct,
}

impl Launcher {
    /// This very binary.
    #[must_use]
    pub fn this_binary() -> Self {
        Self::Confined(PathBuf::from("/proc/self/exe"))
    }
}

/// What bounds a job.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time without a byte of output while we wait for one.
    pub stall: Duration,
    /// Longest time from start to end.
    pub wall: Duration,
    /// Address space of the program in bytes (`RLIMIT_AS`).
    pub memory: u64,
}

/// How much a job may hold up others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Usual,
    /// It takes only what nobody else wants.
    Low,
}

/// Which devices a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Devices {
    #[default]
    None,
    /// Graphics processors, which want much address space too.
    Graphics,
}

/// Tells a job to stop, from another thread.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One run of one program.
#[derive(Debug, Clone)]
pub struct Job {
    /// Name (looked up in PATH) or path.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The only file that it may read besides the system's libraries; see [`INPUT_PATH`].
    pub input: Option<PathBuf>,
    pub limits: Limits,
    pub priority: Priority,
    pub devices: Devices,
    pub cancel: CancelFlag,
}

/// Why a job did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{0} is not installed, or not in PATH")]
    ProgramMissing(String),
    #[error("{program} could not be started: {error}")]
    Start {
        program: String,
        error: std::io::Error,
    },
    #[error("{0} could not be opened: {1}")]
    Input(String, std::io::Error),
    #[error("{program} gave no output for {} seconds and was stopped", after.as_secs())]
    Stalled { program: String, after: Duration },
    #[error("{program} ran for longer than {} seconds and was stopped", after.as_secs())]
    TooSlow { program: String, after: Duration },
    #[error("{0} wrote more than expected and was stopped")]
    TooMuchOutput(String),
    #[error("{0} was stopped on request")]
    Cancelled(String),
    #[error("{program}: {error}")]
    Io {
        program: String,
        error: std::io::Error,
    },
}

impl ProcessError {
    /// Whether the same job can succeed later, with nothing changed about its input.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::ProgramMissing(_)
            | Self::Start { .. }
            | Self::Input(..)
            | Self::Stalled { .. }
            | Self::TooSlow { .. }
            | Self::Cancelled(_)
            | Self::Io { .. } => true,
            Self::TooMuchOutput(_) => false,
        }
    }
}

/// Starts jobs.
#[derive(Debug, Clone)]
pub struct Spawner {
    launcher: Launcher,
}

impl Spawner {
    #[must_use]
    pub const fn new(launcher: Launcher) -> Self {
        Self { launcher }
    }

    /// Starts `job`; its output is read from the handle.
    ///
    /// # Errors
    /// When the program or the input does not exist, or the system refuses to start one.
    pub fn start(&self, job: &Job) -> Result<Running, ProcessError> {
        let program = find_program(&job.program)?;
        let name = program_name(&job.program);
        let mut command = self.command(&program, job);
        command.env_clear().env("LC_ALL", "C");
        match &job.input {
            Some(path) => {
                let file = File::open(path)
                    .map_err(|error| ProcessError::Input(path.display().to_string(), error))?;
                command.stdin(Stdio::from(file))
            }
            None => command.stdin(Stdio::null()),
        };
        Running::spawn(command, name, job.limits, job.cancel.clone())
    }

    /// Runs `job` to its end and returns how it ended, and its output of at most `max_output` bytes.
    ///
    /// # Errors
    /// As [`Self::start`], and when a limit was passed.
    pub fn run(&self, job: &Job, max_output: usize) -> Result<(Exit, Vec<u8>), ProcessError> {
        self.start(job)?.collect(max_output)
    }

    fn command(&self, program: &Path, job: &Job) -> Command {
        match &self.launcher {
            Launcher::Direct => {
                let mut command = Command::new(program);
                command.args(&job.args);
                command
            }
            Launcher::Confined(launcher) => {
                let spec = confine::Spec {
                    input: match job.input {
                        Some(_) => confine::Input::Stdin,
                        None => confine::Input::None,
                    },
                    memory: job.limits.memory,
                    nice: match job.priority {
                        Priority::Usual => None,
                        Priority::Low => find_program(Path::new("nice")).ok(),
                    },
                    devices: job.devices,
                };
                let mut command = Command::new(launcher);
                command
                    .args(["confine", "--spec", &spec.to_json(), "--"])
                    .arg(program)
                    .args(&job.args);
                command
            }
        }
    }
}

fn program_name(program: &Path) -> String {
    program.file_name().map_or_else(
        || program.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The absolute path of `program`, so that the child needs no PATH.
fn find_program(program: &Path) -> Result<PathBuf, ProcessError> {
    let missing = || ProcessError::ProgramMissing(program.display().to_string());
    if program.components().count() > 1 {
        return if program.is_file() {
            Ok(program.to_path_buf())
        } else {
            Err(missing())
        };
    }
    let path = std::env::var_os("PATH").ok_or_else(missing)?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(missing)
}

#[cfg(test)]
mod tests;
