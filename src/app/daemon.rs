//! `mount` and `serve`: starts everything, and stops it in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::operations::{AppOperations, Faces, ReloadInputs};
use super::parts::{OpenPurpose, Parts};
use super::{DaemonOptions, MountOptions};
use crate::access::Access;
use crate::cache::BlockCache;
use crate::config::{Config, ConfigHandle, HttpBind, HttpTrust};
use crate::control::{self, DaemonInfo, LibraryReadiness, Operations as _, Service};
use crate::fuse::{self, Mounted};
use crate::http;
use crate::index::Index;
use crate::model::{AttachState, TreeKnowledge};
use crate::process::{Launcher, open_files};
use crate::upkeep::cleanup::{self, CleanupReport};
use crate::vfs::{TreeUse, Vfs};

/// Time for which files that are open in the mount may be used after a stop began.
const MOUNT_DRAIN: Duration = Duration::from_secs(5);
/// Interval of the search for packs whose grace time is over.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
/// Number of files that may be open below which a start warns.
const FEW_OPEN_FILES: u64 = 1024;
/// Share of them that connections of the gateway take.
const CONNECTIONS_SHARE: u64 = 4;
/// Delay of the first search, for daemons that do not live as long as the interval.
const FIRST_CLEANUP: Duration = Duration::from_secs(5);

/// Runs until a signal, `umount`, or an unmount from outside. Calls `ready` once everything answers.
///
/// # Errors
/// The reason why it could not start, or could not stop in order.
pub async fn run_daemon(
    options: DaemonOptions,
    ready: impl FnOnce(&DaemonInfo),
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let open_files = raise_open_files();
    let config = options.config.get();
    // A port that is in use is found before anything is mounted or opened.
    let listener = bind_http(&config).await?;
    let parts = Parts::open(&config, OpenPurpose::Serve, Launcher::this_binary()).await?;
    let stop = Arc::new(Notify::new());
    let reload = ReloadInputs {
        inputs: options.inputs,
        log_level: options.log_level,
    };
    let operations = Arc::new(AppOperations::new(
        &parts,
        &options.config,
        Some(reload),
        Arc::clone(&stop),
    ));
    let (closing, closed) = watch::channel(());
    let mut faces = Faces::default();
    let gateway = match listener {
        Some(listener) => {
            let url = local_url(&config, listener.local_addr()?);
            parts.reconfigure(&config, &url);
            faces.http = Some(url);
            faces.access = open_access(&config)?;
            let mut settings = gateway_settings(&config, faces.access.clone());
            settings.limits.connections = connections_of(settings.limits.connections, open_files);
            Some(start_gateway(listener, &parts, settings, closed.clone()))
        }
        None => None,
    };
    let socket = start_socket(&parts, &operations, &config, closed.clone()).await?;
    let mounted = options.mount.as_ref();
    let mounted = mounted.map(|mount| start_mount(&parts, mount, &config));
    let mut mounted = match mounted.transpose() {
        Ok(mounted) => mounted,
        Err(error) => {
            take_down(None, closing, [gateway, Some(socket)], parts).await?;
            return Err(error);
        }
    };
    faces.mountpoint = mounted
        .as_ref()
        .map(|mounted| mounted.mountpoint().to_path_buf());
    operations.set_faces(faces);
    let confinement = operations.confinement_of_tools();
    tokio::spawn(async move { confinement.announce().await });
    let cleaning = spawn_cleanup(&parts, &options.config);
    let serving = async {
        loaded(&parts.vfs).await?;
        let daemon = introduce(&operations);
        ready(&daemon);
        tell_systemd(daemon.library);
        std::future::pending().await
    };
    let ended = tokio::select! {
        name = signals.next() => { tracing::info!("stopping on {name}"); Ok(()) },
        () = stop.notified() => { tracing::info!("stopping: a command asked for it"); Ok(()) },
        () = ended(&mut mounted) => { tracing::info!("stopping: the mount is gone"); Ok(()) },
        refused = serving => refused,
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    cleaning.abort();
    take_down(mounted, closing, [gateway, Some(socket)], parts).await?;
    ended
}

/// Lets the daemon open as many files as it may, and tells when they are few.
fn raise_open_files() -> u64 {
    let most = open_files::raise();
    if most < FEW_OPEN_FILES {
        tracing::warn!(
            most,
            "only so many files and connections may be open at a time: raise the limit (`ulimit -n`, or LimitNOFILE= of systemd)"
        );
    }
    most
}

/// Returns how many connections the gateway takes. Others need descriptors, too: the mount, the store, the spool.
fn connections_of(most: usize, open_files: u64) -> usize {
    usize::try_from(open_files / CONNECTIONS_SHARE).map_or(most, |share| most.min(share.max(1)))
}

/// Waits until the tree can be used, at most for the deadline of reads. Mount and gateway are there
/// meanwhile, and whoever uses them waits as well.
///
/// # Errors
/// When the store refuses this state while nothing is known of its library. Nobody could use the mount.
async fn loaded(vfs: &Vfs) -> anyhow::Result<()> {
    if !vfs.is_loading() {
        return Ok(());
    }
    vfs.until_loaded(TreeUse::Look).await;
    let status = vfs.store_status();
    match (status.state, status.tree) {
        (AttachState::Refused, TreeKnowledge::Partial) => {
            bail!(status.explain().unwrap_or_default())
        }
        _ => Ok(()),
    }
}

fn tell_systemd(library: LibraryReadiness) {
    let ready = sd_notify::NotifyState::Ready;
    // It fails if NOTIFY_SOCKET is not set, in which case nobody waits for it.
    let _ = match library {
        LibraryReadiness::Usable => sd_notify::notify(&[ready]),
        LibraryReadiness::Loading => {
            sd_notify::notify(&[ready, sd_notify::NotifyState::Status("library=loading")])
        }
    };
}

/// Stops everything in order: new writes, the mount, the faces, the parts. The unmount and `close` commit
/// open files.
async fn take_down(
    mounted: Option<Mounted>,
    closing: watch::Sender<()>,
    faces: [Option<JoinHandle<()>>; 2],
    parts: Parts,
) -> anyhow::Result<()> {
    drop(closing);
    if let Some(mounted) = mounted
        && let Err(error) = mounted.unmount(MOUNT_DRAIN).await
    {
        tracing::error!(%error, "the mount could not be unmounted");
    }
    for face in faces.into_iter().flatten() {
        if let Err(error) = face.await {
            tracing::error!(%error, "HTTP or the control socket stopped unexpectedly");
        }
    }
    parts.close().await
}

/// Describes the daemon for its start, with a link to sign in.
fn introduce(operations: &AppOperations) -> DaemonInfo {
    let mut info = operations.daemon();
    info.login = operations.login_link().ok().map(|link| link.url);
    if let Some(login) = &info.login {
        // Whoever may read the log may read the token, too. The link works once, for ten minutes.
        tracing::info!(%login,
            "this link signs a browser in once, within ten minutes"
        );
    }
    info
}

async fn ended(mounted: &mut Option<Mounted>) {
    match mounted {
        Some(mounted) => mounted.ended().await,
        None => std::future::pending().await,
    }
}

/// The signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns the name of the next signal. Cancel safe: a signal that comes meanwhile is kept.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

async fn bind_http(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let HttpBind::At { host, port } = &config.http.bind else {
        return Ok(None);
    };
    if let Some(files) = &config.http.tls {
        http::check_tls(files)?;
    }
    let listener = TcpListener::bind((host.as_str(), *port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on {host}:{port}; choose another address with --http, or --http off"
            )
        })?;
    let address = listener.local_addr()?;
    if config.http.trust == HttpTrust::Open {
        tracing::warn!(
            "TGFS_HTTP_OPEN is on: whoever reaches {address}, other users of this machine included, \
             reads and changes everything"
        );
    } else if !address.ip().is_loopback() {
        tracing::warn!(
            "the gateway listens on {address}, beyond this machine: anybody who reaches it can \
             play a film whose id they know; all else needs a login or the token"
        );
    }
    Ok(Some(listener))
}

fn local_url(config: &Config, address: SocketAddr) -> String {
    http::own_base(config.http.scheme(), Some(&config.http.local_host), address)
}

/// Returns who may use the gateway; `None` if TGFS_HTTP_OPEN lets everyone in.
fn open_access(config: &Config) -> anyhow::Result<Option<Arc<Access>>> {
    Ok(match config.http.trust {
        HttpTrust::Open => None,
        HttpTrust::Token => Some(Arc::new(Access::open(&config.state_dir)?)),
    })
}

fn gateway_settings(config: &Config, access: Option<Arc<Access>>) -> http::GatewayConfig {
    let trust = access.map_or(http::Trust::Open, http::Trust::Guarded);
    let mut settings = http::GatewayConfig::new(trust);
    settings.local_host = Some(config.http.local_host.clone());
    settings.public.clone_from(&config.http.public);
    settings
        .trusted_proxies
        .clone_from(&config.http.trusted_proxies);
    settings.tls.clone_from(&config.http.tls);
    settings.timers.pause = config.http.pause;
    settings
}

fn start_gateway(
    listener: TcpListener,
    parts: &Parts,
    settings: http::GatewayConfig,
    mut closed: watch::Receiver<()>,
) -> JoinHandle<()> {
    let vfs = parts.vfs.clone();
    tokio::spawn(async move {
        let shutdown = async move {
            // An error means that the sender is gone, so the stop has begun.
            let _ = closed.changed().await;
        };
        if let Err(error) = http::serve(listener, vfs, settings, shutdown).await {
            tracing::error!(%error, "the gateway stopped");
        }
    })
}

async fn start_socket(
    parts: &Parts,
    operations: &Arc<AppOperations>,
    config: &Config,
    mut closed: watch::Receiver<()>,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(std::path::PathBuf::from);
    let path = control::socket_path(&config.state_dir, runtime.as_deref())?;
    let listener = control::bind(&path).await?;
    let lent: Arc<dyn control::Operations> = Arc::<AppOperations>::clone(operations);
    let service = Service::new(parts.vfs.clone(), lent);
    Ok(tokio::spawn(async move {
        let shutdown = async move {
            let _ = closed.changed().await;
        };
        control::serve(listener, service, shutdown).await;
        // A new daemon may have bound its own socket already. Our socket is gone then.
        let _ = std::fs::remove_file(&path);
    }))
}

fn start_mount(parts: &Parts, mount: &MountOptions, config: &Config) -> anyhow::Result<Mounted> {
    parts.vfs.set_write_mode(mount.writing);
    let settings = fuse::MountConfig {
        audience: mount.audience,
        mode: mount.writing,
        deadlines: fuse::Deadlines::behind(config.read_deadline, config.write_deadline),
        private: config.own_directories(),
    };
    let tasks = tokio::runtime::Handle::current();
    // The error names the mountpoint itself.
    Ok(fuse::mount(
        parts.vfs.clone(),
        &mount.mountpoint,
        &settings,
        &tasks,
    )?)
}

fn spawn_cleanup(parts: &Parts, config: &ConfigHandle) -> JoinHandle<()> {
    let (index, remote) = (Arc::clone(&parts.index), Arc::clone(&parts.remote));
    let (config, vfs) = (config.clone(), parts.vfs.clone());
    let cache = Arc::clone(&parts.cache);
    tokio::spawn(async move {
        let mut pause = FIRST_CLEANUP;
        let mut has_deleted = true;
        loop {
            tokio::time::sleep(pause).await;
            pause = CLEANUP_INTERVAL;
            if !index.store_status().borrow().is_attached() {
                continue;
            }
            if std::mem::take(&mut has_deleted) {
                unpin(&cache, &index).await;
            }
            let keep = config.get().keep_deleted;
            let in_use = vfs.packs_in_use();
            let is_in_use = |pack| in_use.contains(&pack);
            match cleanup::delete_dying_packs(&index, &remote, keep, &is_in_use).await {
                Ok(done) => {
                    has_deleted = done.deleted + done.left > 0;
                    tell_cleaned(&done);
                }
                Err(error) => {
                    tracing::warn!(%error, "packs that nothing needs could not be deleted now")
                }
            }
        }
    })
}

/// Unpins the blocks of deleted packs.
async fn unpin(cache: &Arc<BlockCache>, index: &Arc<Index>) {
    let (cache, index) = (Arc::clone(cache), Arc::clone(index));
    cache.found().await;
    let unpinning = tokio::task::spawn_blocking(move || {
        // If the index cannot be read, the blocks stay.
        cache.unpin_unknown(|pack| index.knows_pack(pack).unwrap_or(true));
    });
    if unpinning.await.is_err() {
        tracing::warn!("blocks of deleted packs stay pinned for now");
    }
}

fn tell_cleaned(done: &CleanupReport) {
    if done.deleted > 0 {
        let (packs, bytes) = (done.deleted, done.bytes);
        tracing::info!(packs, bytes, "deleted packs that nothing needs");
    }
    if done.left > 0 {
        let packs = done.left;
        tracing::warn!(
            packs,
            "packs that nothing needs are too old to be deleted and stay"
        );
    }
    if let Some(problem) = &done.problem {
        let packs = done.failed;
        tracing::warn!(
            packs,
            "packs that nothing needs could not be deleted now: {problem}"
        );
    }
}
