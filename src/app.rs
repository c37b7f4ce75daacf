//! PLACEHOLDER of the composition root: the signatures that `cli` calls. The lead's file replaces it.

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigHandle, Inputs};
use crate::control::{DaemonInfo, PlanReport, Service};
use crate::telemetry::LevelSwitch;

/// Whether an opened state also works on its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Answers only.
    Look,
    /// Runs ingest as a daemon would.
    Ingest,
}

/// A state opened by a command because no daemon runs.
#[derive(Debug)]
pub struct App {}

/// What `mount` and `serve` run.
#[derive(Debug)]
pub struct DaemonOptions {
    /// `None`: `serve`.
    pub mount: Option<MountOptions>,
    pub config: ConfigHandle,
    /// For `tgfs reload`: where the settings are read from again.
    pub inputs: Inputs,
    pub log_level: LevelSwitch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    Allowed,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    Owner,
    Everyone,
}

#[derive(Debug, Clone)]
pub struct MountOptions {
    pub mountpoint: PathBuf,
    pub writing: Writing,
    pub audience: Audience,
}

/// Whether `recover` may end another writer's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    Keep,
    TakeOver,
}

/// What `recover` brought back.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub files: u64,
    pub directories: u64,
    /// Gaps, entries in `/lost+found`, spool files that were adopted: a line each.
    pub remarks: Vec<String>,
    /// Where the old index was put.
    pub old_index: Option<PathBuf>,
}

const NOT_WIRED: &str = "this build is not wired together yet";

#[allow(clippy::missing_errors_doc, clippy::unused_async)]
impl App {
    /// Opens the state; the error names directory and owner where it cannot.
    pub async fn open(_config: &ConfigHandle, _purpose: Purpose) -> anyhow::Result<Self> {
        anyhow::bail!(NOT_WIRED)
    }
    pub fn service(&self) -> anyhow::Result<Service> {
        anyhow::bail!(NOT_WIRED)
    }
    /// Flushes everything; what is not uploaded stays in the spool.
    pub async fn close(self) -> anyhow::Result<()> {
        anyhow::bail!(NOT_WIRED)
    }
}

/// Runs until a signal or `umount`; `ready` is called once everything answers.
#[allow(clippy::missing_errors_doc, clippy::unused_async)]
pub async fn run_daemon(
    _options: DaemonOptions,
    _ready: impl FnOnce(&DaemonInfo),
) -> anyhow::Result<()> {
    anyhow::bail!(NOT_WIRED)
}

#[allow(clippy::missing_errors_doc, clippy::unused_async)]
pub async fn recover(_config: &Config, _claim: Claim) -> anyhow::Result<Recovered> {
    anyhow::bail!(NOT_WIRED)
}

#[allow(clippy::missing_errors_doc, clippy::unused_async)]
pub async fn plan(_config: &Config, _file: &Path) -> anyhow::Result<PlanReport> {
    anyhow::bail!(NOT_WIRED)
}

/// Takes a mount out of the tree whose daemon does not answer.
#[allow(clippy::missing_errors_doc)]
pub fn detach(_mountpoint: &Path) -> anyhow::Result<()> {
    anyhow::bail!(NOT_WIRED)
}

/// The hidden command `confine`: `process` has the function.
#[must_use]
pub fn confine(_arguments: &[std::ffi::OsString]) -> std::process::ExitCode {
    eprintln!("tgfs: {NOT_WIRED}");
    std::process::ExitCode::FAILURE
}
