//! `mount`, `serve`, `umount`, `stop`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;

use super::args::{MountArgs, StopArgs, UmountArgs};
use super::context::Context;
use super::files::pending_text;
use super::holders::{Holder, holders_of, names};
use super::outcome::Outcome;
use super::output::{self, Format, printable};
use super::paths::{self, TgfsMount};
use super::session::{Session, StateNeed, check_state};
use crate::app::{self, DaemonOptions, MountOptions};
use crate::config::{Config, StoreConfig, StoreOrigin};
use crate::control::{DaemonInfo, LibraryReadiness, Request, Response, UploadsAtStop};
use crate::model::shown::readable;
use crate::model::{MountAudience, PendingInfo, WriteMode};

/// Time that a daemon may take to stop. The daemon promises 30 s.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// Time after which the programs that have files open are named. Most stops take less.
const HOLDERS_PATIENCE: Duration = Duration::from_millis(500);

/// Time after which a stop that no program delays is explained.
const WORK_PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two checks whether the state is free.
const STOP_LOOK: Duration = Duration::from_millis(50);

pub(super) async fn mount(arguments: &MountArgs, context: &Context) -> Outcome {
    let options = MountOptions {
        mountpoint: paths::absolute(&arguments.mountpoint),
        writing: match arguments.read_only {
            true => WriteMode::ReadOnly,
            false => WriteMode::Writable,
        },
        audience: match arguments.allow_other {
            true => MountAudience::Everyone,
            false => MountAudience::Owner,
        },
    };
    run(Some(options), context).await
}

pub(super) async fn serve(context: &Context) -> Outcome {
    if context.config.get().http.bind == crate::config::HttpBind::Off {
        bail!("`serve` needs HTTP; give an address with --http");
    }
    run(None, context).await
}

async fn run(mount: Option<MountOptions>, context: &Context) -> Outcome {
    let config = context.config.get();
    check_state(&config.state_dir, StateNeed::MayBeMade)?;
    if let Some(session) = Session::daemon_of(&config).await? {
        bail!(
            "a daemon (pid {}) is already using the state {}; stop it with `tgfs stop`, or choose \
             another with --state",
            session.info().pid,
            config.state_dir.display()
        );
    }
    if let StoreConfig::Local {
        dir,
        origin: StoreOrigin::Default,
    } = &config.store
    {
        output::note(&format!(
            "no bot is configured: files are kept on this machine, in {}",
            dir.display()
        ));
    }
    let options = DaemonOptions {
        mount,
        config: context.config.clone(),
        inputs: context.inputs.clone(),
        log_level: context.telemetry.level_switch(),
    };
    let format = context.format;
    let ready = move |daemon: &DaemonInfo| {
        let told = match format {
            Format::Text => output::write(&ready_line(daemon, &config)).map_err(Into::into),
            Format::Json => output::json(daemon),
        };
        if let Err(error) = told {
            // Nobody reads our output. The mount works anyway.
            tracing::debug!("ready line: {error:#}");
        }
    };
    app::run_daemon(options, ready).await
}

/// Returns the line `ready mount=… http=… store=… env=… login=…`, with `library=loading` behind it while the
/// tree cannot be used.
pub(super) fn ready_line(daemon: &DaemonInfo, config: &Config) -> String {
    let none = || "none".to_owned();
    let shown = |text: Option<&str>| text.map_or_else(none, |text| printable(text).into_owned());
    let env_file = config.env_file.as_ref().map(|path| path.as_os_str());
    let env_file = env_file.map(|path| readable(path.as_bytes()));
    let login = match &daemon.login {
        Some(link) => format!(" login={link}"),
        None => String::new(),
    };
    let library = match daemon.library {
        LibraryReadiness::Usable => "",
        LibraryReadiness::Loading => " library=loading",
    };
    format!(
        "ready mount={} http={} store={} env={}{login}{library}\n",
        shown(daemon.mountpoint.as_deref()),
        daemon.http.as_deref().unwrap_or("off"),
        printable(&daemon.store),
        shown(env_file.as_deref())
    )
}

pub(super) async fn umount(arguments: &UmountArgs, context: &Context) -> Outcome {
    let mounts = paths::tgfs_mounts();
    let mountpoint = paths::mountpoint(&arguments.mountpoint, &mounts);
    let config = context.config.get();
    let daemon = Session::daemon_of(&config).await?;
    let ours = daemon.filter(|session| session.info().mountpoint().as_ref() == Some(&mountpoint));
    let Some(session) = ours else {
        return detach_without_daemon(&mountpoint, &config);
    };
    let end = Ending {
        uploads: uploads_at_stop(arguments.wait_uploads),
        mount: mounts.into_iter().rfind(|mount| mount.path == mountpoint),
    };
    let stopped = end.run(&session, &config).await?;
    stopped.report(
        &format!("unmounted {}", mountpoint.display()),
        context.format,
    )
}

pub(super) async fn stop(arguments: &StopArgs, context: &Context) -> Outcome {
    let config = context.config.get();
    let Some(session) = Session::daemon_of(&config).await? else {
        bail!(
            "no daemon runs on the state {}; choose another with --state",
            config.state_dir.display()
        );
    };
    let mountpoint = session.info().mountpoint();
    let mounts = paths::tgfs_mounts().into_iter();
    let end = Ending {
        uploads: uploads_at_stop(arguments.wait_uploads),
        mount: mountpoint.and_then(|path| mounts.rev().find(|mount| mount.path == path)),
    };
    let stopped = end.run(&session, &config).await?;
    let told = format!("stopped the daemon (pid {})", session.info().pid);
    stopped.report(&told, context.format)
}

const fn uploads_at_stop(wait: bool) -> UploadsAtStop {
    match wait {
        true => UploadsAtStop::Finish,
        false => UploadsAtStop::Leave,
    }
}

/// How a daemon is to end.
struct Ending {
    uploads: UploadsAtStop,
    mount: Option<TgfsMount>,
}

/// What is left behind by a daemon that ended.
#[derive(Debug, Serialize)]
struct Stopped {
    #[serde(flatten)]
    pending: PendingInfo,
    /// Programs that had files open, which they cannot read any more.
    held_by: Vec<Holder>,
}

impl Ending {
    /// Stops the daemon, and returns when the next one can start.
    async fn run(&self, session: &Session, config: &Config) -> anyhow::Result<Stopped> {
        let uploads = self.uploads;
        let mut pending = PendingInfo::default();
        let mut heard = |response| {
            if let Response::Pending(now) = response {
                if uploads == UploadsAtStop::Finish && now.files > 0 {
                    output::note_text(&pending_text(&now));
                }
                pending = now;
            }
            Ok(())
        };
        // A detached mount shows working directories no more.
        let before = self.mount.as_ref().map(holders_of).unwrap_or_default();
        session
            .ask(Request::Stop { uploads }, None, &mut heard)
            .await?;
        let held_by = self
            .wait_until_free(config, before, session.info().pid)
            .await?;
        Ok(Stopped { pending, held_by })
    }

    /// Waits until the daemon has let go of the state. Names the programs that it waits for. Returns those
    /// that still run at the end.
    async fn wait_until_free(
        &self,
        config: &Config,
        before: Vec<Holder>,
        pid: u32,
    ) -> anyhow::Result<Vec<Holder>> {
        let begun = Instant::now();
        let mut holders = Vec::new();
        let mut looks = [HOLDERS_PATIENCE, WORK_PATIENCE].into_iter().peekable();
        while app::is_state_held(config) {
            if looks.next_if(|at| begun.elapsed() > *at).is_some() && holders.is_empty() {
                holders = self.holders(&before);
                if !holders.is_empty() {
                    output::note(&format!(
                        "files in the mount are still in use by {}; they are cut off soon",
                        names(&holders)
                    ));
                } else if looks.peek().is_none() {
                    output::note(&format!(
                        "waiting for the daemon (pid {pid}): it ends running requests, at most 20 s, and \
                         writes its state"
                    ));
                }
            }
            if begun.elapsed() > STOP_PATIENCE {
                self.detach_if_there()?;
                bail!(
                    "the daemon has not stopped after {} s; nothing is mounted any more, but it still \
                     holds the state {}: see its log",
                    STOP_PATIENCE.as_secs(),
                    config.state_dir.display()
                );
            }
            tokio::time::sleep(STOP_LOOK).await;
        }
        holders.retain(Holder::is_alive);
        self.detach_if_there()?;
        Ok(holders)
    }

    /// Returns the programs that use the mount now.
    fn holders(&self, before: &[Holder]) -> Vec<Holder> {
        let mut all = self.mount.as_ref().map(holders_of).unwrap_or_default();
        let rest = before.iter().filter(|one| one.is_alive()).cloned();
        let rest: Vec<_> = rest.filter(|one| !all.contains(one)).collect();
        all.extend(rest);
        all
    }

    /// Detaches a mount that the daemon left behind.
    fn detach_if_there(&self) -> anyhow::Result<()> {
        match &self.mount {
            Some(mount) if paths::tgfs_mounts().contains(mount) => app::detach(&mount.path),
            _ => Ok(()),
        }
    }
}

impl Stopped {
    fn report(&self, told: &str, format: Format) -> Outcome {
        if format == Format::Json {
            return output::json(self);
        }
        let rest = match self.pending.files {
            0 => "",
            _ => "their upload goes on at the next start\n",
        };
        let told = printable(told);
        output::write(&format!("{told}\n{}{rest}", pending_text(&self.pending)))?;
        if !self.held_by.is_empty() {
            output::note(&format!(
                "warning: {} had files open, which can no longer be read",
                names(&self.held_by)
            ));
        }
        Ok(())
    }
}

/// Detaches the mount of a dead daemon, or of the daemon of another state.
fn detach_without_daemon(mountpoint: &Path, config: &Config) -> Outcome {
    let shown = mountpoint.display();
    let mounts = paths::tgfs_mounts().into_iter();
    let Some(mount) = mounts.rev().find(|mount| mount.path == mountpoint) else {
        bail!("{shown} is not a tgfs mount; list them with `findmnt -S tgfs`");
    };
    let holders = holders_of(&mount);
    app::detach(mountpoint)?;
    let used = match holders.is_empty() {
        true => String::new(),
        false => format!(" Files in it are in use by {}.", names(&holders)),
    };
    output::note(&format!(
        "no daemon of the state {} answers for {shown}: the mount was detached. If a daemon of another \
         state serves it, that one runs on until its files are closed.{used}",
        config.state_dir.display()
    ));
    Ok(())
}
