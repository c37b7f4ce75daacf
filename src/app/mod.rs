//! Composition root: the only place that wires parts together and stops them in order.

mod attach;
mod bots;
mod confinement;
mod daemon;
mod import;
mod limits;
mod operations;
mod parts;
mod plan;
mod store;
mod telegram;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::access;
use crate::config::{Config, ConfigHandle, ConfigInputs, HttpTrust};
use crate::control::Service;
use crate::index::Owner;
use crate::model::{LibraryClaim, MountAudience, WriteMode};
use crate::process::Launcher;
use crate::remote::retry::Deadline;
use crate::remote::{LockedRemote, Remote};
use crate::telemetry::LevelSwitch;
use crate::upkeep::fill::Patience;
use crate::upkeep::recover::Recovery;
pub use bots::{AccessLine, BotLine, BotReport, Test, test_bots};
pub use daemon::run_daemon;
pub use limits::{MeasuredLimits, MeasuredLine};
pub use parts::{OpenPurpose, Parts};
pub use plan::plan;

/// Time without an answer of the store after which `recover` gives up.
const RECOVER_PATIENCE: Duration = Duration::from_secs(120);

/// A state that a command opened because no daemon runs.
#[derive(Debug)]
pub struct App {
    parts: Parts,
    config: ConfigHandle,
}

/// Options of a daemon.
#[derive(Debug)]
pub struct DaemonOptions {
    /// The mount; `None` for `serve`.
    pub mount: Option<MountOptions>,
    /// The configuration in force.
    pub config: ConfigHandle,
    /// The layers that `tgfs reload` reads again.
    pub inputs: ConfigInputs,
    /// Switch of the log's level, for `tgfs reload`.
    pub log_level: LevelSwitch,
}

/// Options of a mount.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// An absolute path.
    pub mountpoint: PathBuf,
    /// Permission to change files.
    pub writing: WriteMode,
    /// The users who may use it.
    pub audience: MountAudience,
}

/// Result of `recover`.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub files: u64,
    pub directories: u64,
    /// Gaps, entries in `/lost+found`, adopted spool files: one line each.
    pub remarks: Vec<String>,
    /// Directory that now holds the old index.
    pub old_index: Option<PathBuf>,
}

impl App {
    /// Opens the state.
    ///
    /// # Errors
    /// If another process uses the state, or if it cannot be read; names the directory.
    pub async fn open(config: &ConfigHandle, purpose: OpenPurpose) -> anyhow::Result<Self> {
        let parts = Parts::open(&config.get(), purpose, Launcher::this_binary()).await?;
        Ok(Self {
            parts,
            config: config.clone(),
        })
    }

    /// Returns a service that answers requests as a daemon's would.
    ///
    /// # Errors
    /// Never at present.
    pub fn service(&self) -> anyhow::Result<Service> {
        let operations = operations::without_daemon(&self.parts, &self.config);
        Ok(Service::new(self.parts.vfs.clone(), Arc::new(operations)))
    }

    /// Writes everything to the disk. Bytes that are not uploaded stay in the spool.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn close(self) -> anyhow::Result<()> {
        self.parts.close().await
    }
}

/// Rebuilds the index from the store, and keeps the old one beside it.
///
/// # Errors
/// If a daemon runs, or the store cannot be read; the old index then stays in place.
pub async fn recover(config: &Config, claim: LibraryClaim) -> anyhow::Result<Recovered> {
    let recovery = Recovery::begin(&config.state_dir, Owner::of_process())?;
    let own = recovery.store_description();
    let remote = store::open_unmoved(config, &own, recovery.key_store())?;
    let shared: Arc<dyn Remote> = Arc::<LockedRemote>::clone(&remote);
    let settled = async { remote.settle(Deadline::after(RECOVER_PATIENCE)).await };
    let patience = Patience::Limited(RECOVER_PATIENCE);
    let report = recovery.run(&shared, claim, patience, settled).await?;
    drop((remote, shared));
    let lost = report.attach.lost_and_found();
    let mut recovered = Recovered {
        remarks: report.attach.notes.into_iter().chain(lost).collect(),
        old_index: report.old_index,
        ..Recovered::default()
    };
    // Opening adopts spool files that the new index does not know.
    let parts = Parts::open(config, OpenPurpose::Look, Launcher::this_binary()).await?;
    let resumed = parts
        .vfs
        .resume()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    parts
        .vfs
        .submit_pending_views()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    if resumed.adopted > 0 {
        recovered.remarks.push(format!(
            "{} files found in the spool were adopted",
            resumed.adopted
        ));
    }
    let (files, directories) = parts
        .vfs
        .count()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    (recovered.files, recovered.directories) = (files, directories);
    parts.close().await?;
    Ok(recovered)
}

/// Returns the mistakes in the settings that only their users can find. Needs no network.
#[must_use]
pub fn check_settings(config: &Config) -> Vec<String> {
    let tls = config.http.tls.as_ref();
    let tls = tls.and_then(|files| crate::http::check_tls(files).err());
    telegram::check_settings(config)
        .into_iter()
        .chain(tls.map(|error| error.to_string()))
        .collect()
}

/// Returns a URL of the gateway with the token in its path, for programs that cannot sign in.
///
/// # Errors
/// If the token cannot be read, or made.
pub fn with_token(config: &Config, url: &str) -> anyhow::Result<String> {
    if config.http.trust == HttpTrust::Open {
        return Ok(url.to_owned());
    }
    let token = access::read_token(&config.state_dir)?;
    let (base, path) = match url.split_once("/fs/") {
        Some((base, path)) => (base, format!("/fs/{path}")),
        None => (url, String::new()),
    };
    Ok(format!("{base}/t/{}{path}", token.reveal()))
}

/// Detaches a mount whose daemon does not answer.
///
/// # Errors
/// If it is not a mount of tgfs, or if the kernel refuses.
pub fn detach(mountpoint: &std::path::Path) -> anyhow::Result<()> {
    if !crate::fuse::is_tgfs_mount(mountpoint)? {
        anyhow::bail!("{} is not a tgfs mount", mountpoint.display());
    }
    crate::fuse::detach(mountpoint)?;
    Ok(())
}

/// Returns whether a process uses the state, so that another would be refused.
#[must_use]
pub fn is_state_held(config: &Config) -> bool {
    crate::disk::is_held(&config.state_dir)
}

/// Runs the hidden command `confine`, which restricts itself and then becomes the media tool.
#[must_use]
pub fn confine(arguments: &[std::ffi::OsString]) -> std::process::ExitCode {
    crate::process::confine::confine_main(arguments)
}
