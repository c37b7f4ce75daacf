//! Sends requests to a running daemon, or to a service of this process if none runs.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::app::{App, OpenPurpose};
use crate::config::{Config, ConfigHandle};
use crate::control::{
    self, ControlConnection, DaemonInfo, REPLY_QUEUE, Request, Response, Service, WirePath,
};

use super::context::Context;
use super::output::Format;
use super::paths;
use super::progress::{self, ProgressDisplay};

/// Need for an existing state directory; a command may otherwise create it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateNeed {
    MustExist,
    MayBeMade,
}

/// A party that answers requests.
#[derive(Debug)]
pub(super) struct Session {
    kind: SessionKind,
    daemon: DaemonInfo,
}

#[derive(Debug)]
enum SessionKind {
    Daemon { socket: PathBuf },
    Own { app: App, service: Service },
}

/// Bytes that are sent with a request.
pub(super) struct UploadBody {
    pub(super) file: tokio::fs::File,
    pub(super) size: u64,
}

impl Session {
    /// Finds the daemon of this state. Without one, opens the state in this process.
    pub(super) async fn open(
        config: &ConfigHandle,
        purpose: OpenPurpose,
        need: StateNeed,
    ) -> anyhow::Result<Self> {
        check_state(&config.get().state_dir, need)?;
        if let Some(session) = Self::daemon_of(&config.get()).await? {
            return Ok(session);
        }
        // Reading the index of a large library takes long after a crash.
        let opening = App::open(config, purpose);
        let app = progress::during("opening the library", Format::Text, opening).await?;
        let service = app.service()?;
        let daemon = service.daemon();
        let kind = SessionKind::Own { app, service };
        Ok(Self { kind, daemon })
    }

    /// Returns a session with the running daemon, if there is one.
    pub(super) async fn daemon_of(config: &Config) -> anyhow::Result<Option<Self>> {
        let socket = socket_of(config)?;
        let connection = control::connect(&socket, &Request::Ping).await;
        let connection = connection.with_context(|| format!("{}", socket.display()))?;
        let Some(mut connection) = connection else {
            return Ok(None);
        };
        match connection.next().await? {
            Response::Daemon(daemon) => {
                let kind = SessionKind::Daemon { socket };
                Ok(Some(Self { kind, daemon }))
            }
            Response::Failed { message } => bail!(message),
            other => bail!("the daemon gave an unknown answer: {other:?}"),
        }
    }

    pub(super) const fn info(&self) -> &DaemonInfo {
        &self.daemon
    }

    pub(super) const fn is_daemon(&self) -> bool {
        matches!(self.kind, SessionKind::Daemon { .. })
    }

    /// Returns the path in the tree that a typed path means.
    pub(super) fn tree_path(&self, typed: &OsStr) -> anyhow::Result<WirePath> {
        let mountpoint = self.daemon.mountpoint().filter(|_| self.is_daemon());
        paths::to_tree(typed, mountpoint.as_deref())
    }

    /// Sends a request and passes each answer but the last to `heard`.
    pub(super) async fn ask(
        &self,
        request: Request,
        body: Option<UploadBody>,
        heard: &mut (dyn FnMut(Response) -> anyhow::Result<()> + Send),
    ) -> anyhow::Result<()> {
        match &self.kind {
            SessionKind::Daemon { socket } => ask_daemon(socket, &request, body, heard).await,
            SessionKind::Own { service, .. } => ask_service(service, request, body, heard).await,
        }
    }

    /// Sends a request and returns all answers, for requests with few.
    pub(super) async fn answers(&self, request: Request) -> anyhow::Result<Vec<Response>> {
        let mut all = Vec::new();
        let mut keep = |response| {
            all.push(response);
            Ok(())
        };
        self.ask(request, None, &mut keep).await?;
        Ok(all)
    }

    /// Closes the state if the command itself opened it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self.kind {
            SessionKind::Daemon { .. } => Ok(()),
            SessionKind::Own { app, service } => {
                drop(service);
                app.close().await
            }
        }
    }
}

/// Opens a session, sends one request, and closes the session even after an error.
pub(super) async fn answers_of(
    config: &ConfigHandle,
    make: impl FnOnce(&Session) -> anyhow::Result<Request>,
) -> anyhow::Result<Vec<Response>> {
    let heard = all_heard(config, make).await?;
    heard.whole?;
    Ok(heard.answers)
}

/// Answers to a request about several files, of which some may have failed.
pub(super) struct Heard {
    pub(super) answers: Vec<Response>,
    /// Error if the request did not succeed as a whole.
    pub(super) whole: anyhow::Result<()>,
}

/// Does the same as [`answers_of`], but keeps what was answered before an error.
pub(super) async fn all_heard(
    config: &ConfigHandle,
    make: impl FnOnce(&Session) -> anyhow::Result<Request>,
) -> anyhow::Result<Heard> {
    let session = Session::open(config, OpenPurpose::Look, StateNeed::MustExist).await?;
    let mut answers = Vec::new();
    let mut keep = |response| {
        answers.push(response);
        Ok(())
    };
    let asked = match make(&session) {
        Ok(request) => session.ask(request, None, &mut keep).await,
        Err(error) => Err(error),
    };
    let closed = session.close().await;
    let whole = asked.and(closed);
    Ok(Heard { answers, whole })
}

/// Does the same as [`answers_of`], and shows the progress of a command that may take long.
pub(super) async fn answers_shown(
    context: &Context,
    make: impl FnOnce(&Session) -> anyhow::Result<Request>,
) -> anyhow::Result<Vec<Response>> {
    let session = Session::open(&context.config, OpenPurpose::Look, StateNeed::MustExist).await?;
    let mut all = Vec::new();
    let mut display = ProgressDisplay::of_upkeep(context.format);
    let mut keep = |response| {
        all.extend(display.take(response));
        Ok(())
    };
    let asked = match make(&session) {
        Ok(request) => session.ask(request, None, &mut keep).await,
        Err(error) => Err(error),
    };
    drop(display);
    let closed = session.close().await;
    asked?;
    closed?;
    Ok(all)
}

pub(super) fn socket_of(config: &Config) -> anyhow::Result<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    Ok(control::socket_path(
        &config.state_dir,
        runtime_dir.as_deref(),
    )?)
}

/// Checks that the state belongs to this user.
///
/// # Errors
/// Names the directory and its owner.
pub(super) fn check_state(dir: &Path, need: StateNeed) -> anyhow::Result<()> {
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => {
            bail!("{shown} is not a directory; choose another with --state")
        }
        Ok(metadata) if metadata.uid() != nix::unistd::geteuid().as_raw() => bail!(
            "the state {shown} belongs to {}; run the command as that user, or choose another \
             directory with --state",
            user_name(metadata.uid())
        ),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match need {
            StateNeed::MayBeMade => Ok(()),
            StateNeed::MustExist => bail!(
                "there is no tgfs state in {shown} (as {}); start `tgfs mount` first, or choose \
                 another directory with --state",
                user_name(nix::unistd::geteuid().as_raw())
            ),
        },
        Err(error) => bail!("the state {shown} cannot be read: {error}"),
    }
}

fn user_name(uid: u32) -> String {
    match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("user {}", user.name),
        _ => format!("user {uid}"),
    }
}

async fn ask_daemon(
    socket: &Path,
    request: &Request,
    body: Option<UploadBody>,
    heard: &mut (dyn FnMut(Response) -> anyhow::Result<()> + Send),
) -> anyhow::Result<()> {
    let Some(mut connection) = control::connect(socket, request).await? else {
        bail!("the daemon has stopped; run the command again");
    };
    let mut body = body;
    loop {
        match connection.next().await? {
            Response::Done => return Ok(()),
            Response::Failed { message } => bail!(message),
            Response::Go => {
                if let Some(body) = body.take()
                    && let Some(last) = send_body(&mut connection, body, heard).await?
                {
                    match last {
                        Response::Failed { message } => bail!(message),
                        _ => return Ok(()),
                    }
                }
            }
            other => heard(other)?,
        }
    }
}

/// Sends the bytes. Returns the last answer if it came meanwhile.
async fn send_body(
    connection: &mut ControlConnection,
    mut body: UploadBody,
    heard: &mut (dyn FnMut(Response) -> anyhow::Result<()> + Send),
) -> anyhow::Result<Option<Response>> {
    let mut last = None;
    let mut broken = Ok(());
    let sent = connection
        .send_body(&mut body.file, body.size, |response| {
            if response.is_last() {
                last = Some(response);
            } else if broken.is_ok() {
                broken = heard(response);
            }
        })
        .await;
    broken?;
    match (sent, last) {
        (_, Some(last)) => Ok(Some(last)),
        (Ok(()), None) => Ok(None),
        // The daemon may have sent the reason before it closed the connection.
        (Err(error), None) => match connection.next().await {
            Ok(response @ Response::Failed { .. }) => Ok(Some(response)),
            _ => Err(error.into()),
        },
    }
}

async fn ask_service(
    service: &Service,
    request: Request,
    body: Option<UploadBody>,
    heard: &mut (dyn FnMut(Response) -> anyhow::Result<()> + Send),
) -> anyhow::Result<()> {
    let (sender, mut receiver) = mpsc::channel(REPLY_QUEUE);
    let service = service.clone();
    tokio::spawn(async move {
        let mut body: Box<dyn AsyncRead + Send + Unpin> = match body {
            Some(body) => Box::new(body.file),
            None => Box::new(tokio::io::empty()),
        };
        service.execute(request, &mut body, &sender).await;
    });
    while let Some(response) = receiver.recv().await {
        match response {
            Response::Done => return Ok(()),
            Response::Failed { message } => bail!(message),
            Response::Go => {}
            other => heard(other)?,
        }
    }
    bail!("the command ended without an answer; see the log")
}
