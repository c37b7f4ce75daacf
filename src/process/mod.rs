//! The one place that spawns processes. A [`ProcessJob`] runs in its own process group with bounded
//! output, a stall timeout and a wall limit, and dies when its handle is dropped.
//!
//! Jobs that read files of unknown origin run *confined*. The spawner starts
//! `<launcher> confine --spec JSON -- program args…`. That process is single-threaded and freshly
//! executed. It restricts itself and then executes the program; see [`confine`]. Doing this there
//! instead of between fork and exec needs no unsafe code.
//!
//! The parent opens the input and makes it the child's standard input. The program opens it again
//! by the name [`INPUT_PATH`]. That gives it a position of its own and keeps it seekable (ffmpeg's
//! `pipe:` is not seekable, and `fd:` does not exist before ffmpeg 6). The child also never has to
//! walk the path of the file, which lies in a directory that only we may enter.

pub mod arenas;
pub mod confine;
mod error;
mod limits;
pub mod open_files;
mod running;
mod syscalls;
mod tool_user;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub use error::ProcessError;
pub use limits::{CancelFlag, CancelOnDrop, Devices, INPUT_PATH, Priority, ProcessLimits};
pub use running::{Exit, Running};

use crate::model::ConfinementInfo;

/// Limits of the process that reports how tools are confined.
const REPORT_LIMITS: ProcessLimits = ProcessLimits {
    stall: Duration::from_secs(30),
    wall: Duration::from_secs(30),
    memory: 4 << 30,
};
/// Most bytes of that report.
const MAX_REPORT: usize = 64 << 10;

/// Way to start programs.
#[derive(Debug, Clone)]
pub enum Launcher {
    /// Programs are started through `<path> confine …`. The path is normally this binary.
    Confined(PathBuf),
    /// Programs are started as they are, without confinement. For unit tests, which have no
    /// `confine` command.
    Direct,
}

impl Launcher {
    /// Returns a launcher that uses this very binary.
    #[must_use]
    pub fn this_binary() -> Self {
        Self::Confined(PathBuf::from("/proc/self/exe"))
    }
}

/// One run of one program.
#[derive(Debug, Clone)]
pub struct ProcessJob {
    /// Name of the program (looked up in PATH), or its path.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The only file that the program may read besides the system's libraries; see [`INPUT_PATH`].
    pub input: Option<PathBuf>,
    pub limits: ProcessLimits,
    pub priority: Priority,
    pub devices: Devices,
    pub cancel: CancelFlag,
}

/// Launcher of jobs.
#[derive(Debug, Clone)]
pub struct Spawner {
    launcher: Launcher,
}

impl Spawner {
    #[must_use]
    pub const fn new(launcher: Launcher) -> Self {
        Self { launcher }
    }

    /// Starts `job`. Its output is read from the handle.
    ///
    /// # Errors
    /// When the program or the input does not exist, or the system refuses to start one.
    pub fn start(&self, job: &ProcessJob) -> Result<Running, ProcessError> {
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

    /// Runs `job` to its end. Returns how it ended, and its output of at most `max_output` bytes.
    ///
    /// # Errors
    /// Those of [`Self::start`], and when a limit was passed.
    pub fn run(
        &self,
        job: &ProcessJob,
        max_output: usize,
    ) -> Result<(Exit, Vec<u8>), ProcessError> {
        self.start(job)?.collect(max_output)
    }

    /// Returns what confines the tools on this machine: starts a process that confines itself as a tool
    /// would, with an input that only its owner may read, and reports.
    #[must_use]
    pub fn confinement(&self) -> ConfinementInfo {
        match self.report() {
            Ok(info) => info,
            Err(reason) => ConfinementInfo::failed(reason),
        }
    }

    fn report(&self) -> Result<ConfinementInfo, String> {
        let Launcher::Confined(launcher) = &self.launcher else {
            return Err("they are started as they are".to_owned());
        };
        let spec = confine::ConfineSpec {
            input: confine::Input::None,
            memory: REPORT_LIMITS.memory,
            nice: None,
            devices: Devices::None,
        };
        let mut command = Command::new(launcher);
        command
            .args(["confine", "--spec", &spec.to_json(), confine::REPORT])
            .env_clear()
            .stdin(Stdio::null());
        let running = Running::spawn(
            command,
            "confine".to_owned(),
            REPORT_LIMITS,
            CancelFlag::default(),
        );
        let (exit, output) = running
            .and_then(|running| running.collect(MAX_REPORT))
            .map_err(|error| error.to_string())?;
        serde_json::from_slice(&output).map_err(|_| match exit.stderr.trim() {
            "" => format!("the report ended with {:?}", exit.code.or(exit.signal)),
            said => said.to_owned(),
        })
    }

    fn command(&self, program: &Path, job: &ProcessJob) -> Command {
        match &self.launcher {
            Launcher::Direct => {
                let mut command = Command::new(program);
                command.args(&job.args);
                command
            }
            Launcher::Confined(launcher) => {
                let spec = confine::ConfineSpec {
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

/// Returns the absolute path of `program`, so that the child needs no PATH.
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
