//! `mount`, `serve`, `umount`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::args::{MountArgs, UmountArgs};
use super::context::Context;
use super::files::pending_text;
use super::outcome::Outcome;
use super::output::{self, Format};
use super::paths;
use super::session::{Session, StateNeed, check_state};
use crate::app::{self, DaemonOptions, MountOptions};
use crate::config::{Config, StoreConfig, StoreOrigin};
use crate::control::{DaemonInfo, LibraryReadiness, Request, Response, UploadsAtStop};
use crate::model::{MountAudience, PendingInfo, WriteMode};

/// Time that a daemon may take to stop before its mount is detached. The daemon promises 30 s.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// Pause between two checks whether the mount is gone.
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
            "a daemon (pid {}) is already using the state {}; stop it with `tgfs umount`, or choose \
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
        eprintln!(
            "tgfs: no bot is configured: files are kept on this machine, in {}",
            dir.display()
        );
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
    let shown = |path: Option<&Path>| {
        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    };
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
        daemon.store,
        shown(config.env_file.as_deref())
    )
}

pub(super) async fn umount(arguments: &UmountArgs, context: &Context) -> Outcome {
    let mountpoint = paths::absolute(&arguments.mountpoint);
    let config = context.config.get();
    let daemon = Session::daemon_of(&config).await?;
    let ours = daemon.filter(|session| session.info().mountpoint.as_deref() == Some(&mountpoint));
    let Some(session) = ours else {
        return detach_without_daemon(&mountpoint, &config);
    };
    let uploads = match arguments.wait_uploads {
        true => UploadsAtStop::Finish,
        false => UploadsAtStop::Leave,
    };
    let mut pending = PendingInfo::default();
    let mut heard = |response| {
        if let Response::Pending(now) = response {
            if uploads == UploadsAtStop::Finish && now.files > 0 {
                eprint!("{}", pending_text(&now));
            }
            pending = now;
        }
        Ok(())
    };
    session
        .ask(Request::Stop { uploads }, None, &mut heard)
        .await?;
    wait_until_gone(&mountpoint, &config).await?;
    match context.format {
        Format::Json => output::json(&pending),
        Format::Text => {
            let rest = match pending.files {
                0 => String::new(),
                _ => "their upload goes on at the next start\n".to_owned(),
            };
            let shown = mountpoint.display();
            let text = format!("unmounted {shown}\n{}{rest}", pending_text(&pending));
            Ok(output::write(&text)?)
        }
    }
}

/// Detaches the mount of a dead daemon, or of the daemon of another state.
fn detach_without_daemon(mountpoint: &Path, config: &Config) -> Outcome {
    let shown = mountpoint.display();
    if !paths::tgfs_mounts().iter().any(|mount| mount == mountpoint) {
        bail!("{shown} is not a tgfs mount; list them with `findmnt -S tgfs`");
    }
    app::detach(mountpoint)?;
    eprintln!(
        "tgfs: no daemon of the state {} answers for {shown}: the mount was detached; if a daemon of \
         another state serves it, that one runs on until its files are closed",
        config.state_dir.display()
    );
    Ok(())
}

/// Waits until the mount is gone and the daemon no longer answers. After [`STOP_PATIENCE`], detaches the
/// mount.
async fn wait_until_gone(mountpoint: &Path, config: &Config) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let is_mounted = paths::tgfs_mounts().iter().any(|mount| mount == mountpoint);
        let is_alive = is_mounted
            || Session::daemon_of(config)
                .await
                .is_ok_and(|found| found.is_some());
        if !is_alive {
            return Ok(());
        }
        if begun.elapsed() > STOP_PATIENCE {
            if is_mounted {
                app::detach(mountpoint)?;
            }
            eprintln!("tgfs: the daemon does not stop; its mount was detached");
            return Ok(());
        }
        tokio::time::sleep(STOP_LOOK).await;
    }
}
