//! Composition root: the only place that wires parts together, and the order in which they stop.

mod attach;
mod bots;
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

use crate::config::{Config, ConfigHandle, ConfigInputs};
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
pub use telegram::check_settings;

/// `recover` gives up when the store has not answered a request for so long.
const RECOVER_PATIENCE: Duration = Duration::from_secs(120);

/// A state opened by a command because no daemon runs.
#[derive(Debug)]
pub struct App {
    parts: Parts,
    config: ConfigHandle,
}

/// What `mount` and `serve` run.
#[derive(Debug)]
pub struct DaemonOptions {
    /// `None`: `serve`.
    pub mount: Option<MountOptions>,
    pub config: ConfigHandle,
    /// For `tgfs reload`: where the settings are read from again.
    pub inputs: ConfigInputs,
    pub log_level: LevelSwitch,
}

#[derive(Debug, Clone)]
pub struct MountOptions {
    pub mountpoint: PathBuf,
    pub writing: WriteMode,
    pub audience: MountAudience,
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

impl App {
    /// Opens the state; the error names directory and owner where it cannot.
    ///
    /// # Errors
    /// When another process has the state, or it cannot be read.
    pub async fn open(config: &ConfigHandle, purpose: OpenPurpose) -> anyhow::Result<Self> {
        let parts = Parts::open(&config.get(), purpose, Launcher::this_binary()).await?;
        Ok(Self {
            parts,
            config: config.clone(),
        })
    }

    /// What answers requests, as a daemon's would.
    ///
    /// # Errors
    /// Never at present.
    pub fn service(&self) -> anyhow::Result<Service> {
        let operations = operations::without_daemon(&self.parts, &self.config);
        Ok(Service::new(self.parts.vfs.clone(), Arc::new(operations)))
    }

    /// Flushes everything; what is not uploaded stays in the spool.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn close(self) -> anyhow::Result<()> {
        self.parts.close().await
    }
}

/// Rebuilds the index from the store alone, beside the old one.
///
/// # Errors
/// When a daemon runs, or the store cannot be read; the old index then stays in place.
pub async fn recover(config: &Config, claim: LibraryClaim) -> anyhow::Result<Recovered> {
    let recovery = Recovery::begin(&config.state_dir, Owner::of_process())?;
    let own = recovery.store_description();
    let remote = store::open_unmoved(config, &own, recovery.key_store())?;
    let shared: Arc<dyn Remote> = Arc::<LockedRemote>::clone(&remote);
    let report = recovery
        .run(&shared, claim, Patience::Limited(RECOVER_PATIENCE))
        .await?;
    remote.settle(Deadline::after(RECOVER_PATIENCE)).await?;
    drop((remote, shared));
    let mut recovered = Recovered {
        remarks: report.attach.notes,
        old_index: report.old_index,
        ..Recovered::default()
    };
    // The spool comes on top: opening adopts what the new index does not know.
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

/// Takes a mount out of the tree whose daemon does not answer.
///
/// # Errors
/// When it is not ours, or the kernel refuses.
pub fn detach(mountpoint: &std::path::Path) -> anyhow::Result<()> {
    if !crate::fuse::is_tgfs_mount(mountpoint)? {
        anyhow::bail!("{} is no tgfs mount", mountpoint.display());
    }
    crate::fuse::detach(mountpoint)?;
    Ok(())
}

/// The hidden command `confine`: restricts itself, then becomes the media tool.
#[must_use]
pub fn confine(arguments: &[std::ffi::OsString]) -> std::process::ExitCode {
    crate::process::confine::confine_main(arguments)
}
