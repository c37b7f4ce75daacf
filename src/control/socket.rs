//! The socket itself: its place, the users who may connect, and the number of connections.

use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::places::{AwaitedAct, ControlPlace, ControlPlaces};
use super::wire::{Request, Response};
use super::{REPLY_QUEUE, Service};
use crate::model::Digest;

/// Longest socket path in bytes. `sun_path` of unix(7) has 108 with its NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Longest request line in bytes: a thousand long paths.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// Most connections at a time. Commands are few, and a script in a loop must not take all memory: each may
/// send the longest request.
const MAX_CONNECTIONS: usize = 64;

/// Longest time from connecting to the end of the request line. A client that says nothing holds no place.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Size in bytes of the buffer between an upload and the spool.
const READ_BUFFER: usize = 64 * 1024;

/// Reason why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "the path of {} is too long for a socket, and XDG_RUNTIME_DIR is not set; choose a shorter state directory with --state", .0.display()
    )]
    NoPlace(PathBuf),
    #[error("another tgfs daemon answers on {}; stop it with `tgfs umount`", .0.display())]
    InUse(PathBuf),
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Returns `<state>/control.sock`. When that path is too long, returns a name in `runtime_dir` that is
/// made from it.
///
/// # Errors
/// [`SocketError::NoPlace`]
pub fn socket_path(state_dir: &Path, runtime_dir: Option<&Path>) -> Result<PathBuf, SocketError> {
    let usual = state_dir.join("control.sock");
    if usual.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok(usual);
    }
    let digest = Digest::of(state_dir.as_os_str().as_bytes()).to_string();
    let other = runtime_dir.map(|dir| dir.join(format!("tgfs-{}.sock", &digest[..16])));
    other
        .filter(|path| path.as_os_str().len() <= MAX_SOCKET_PATH)
        .ok_or_else(|| SocketError::NoPlace(state_dir.to_owned()))
}

/// Listens on the socket. The caller holds the state's lock, so an existing socket belongs to a dead
/// daemon.
///
/// # Errors
/// [`SocketError::InUse`] when a daemon answers nevertheless.
pub async fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let io = |error| SocketError::Io {
        path: path.to_owned(),
        error,
    };
    if UnixStream::connect(path).await.is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    Ok(listener)
}

/// Answers until `shutdown` completes; requests under way then end with their connection when the
/// runtime goes.
pub async fn serve(listener: UnixListener, service: Service, shutdown: impl Future<Output = ()>) {
    let places = ControlPlaces::new(MAX_CONNECTIONS);
    tokio::pin!(shutdown);
    loop {
        // Both branches may be dropped: accept loses no connection, and shutdown is polled again.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // Clients that do nothing must not hold up the stop.
                let place = tokio::select! {
                    place = places.enter() => place,
                    () = &mut shutdown => return,
                };
                let service = service.clone();
                tokio::spawn(async move {
                    let ended = tokio::select! {
                        ended = answer(stream, &service, &place) => ended,
                        () = place.needed_by_others() => Err(io::ErrorKind::TimedOut.into()),
                    };
                    if let Err(error) = ended {
                        tracing::debug!("control connection: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("control socket: {error}");
                // There are no file descriptors left. Others must close theirs first.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Returns whether the peer is our own user, or root, who may do everything anyway.
fn is_welcome(stream: &UnixStream) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == 0 || uid == nix::unistd::geteuid().as_raw())
}

async fn answer(stream: UnixStream, service: &Service, place: &ControlPlace) -> io::Result<()> {
    if !is_welcome(&stream)? {
        tracing::warn!("control socket: a process of another user was refused");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(READ_BUFFER, read);
    let reading = tokio::time::timeout(REQUEST_DEADLINE, read_request(&mut read));
    let request = place.awaiting(AwaitedAct::SendRequest, reading).await;
    let request = match request {
        Err(_) => return Ok(()),
        Ok(Err(message)) => return send(&mut write, &Response::Failed { message }).await,
        Ok(Ok(request)) => request,
    };
    let (sender, mut receiver) = mpsc::channel(REPLY_QUEUE);
    let is_upload = matches!(request, Request::Upload { .. });
    let work = async {
        let sender = sender;
        if is_upload {
            service.execute(request, &mut read, &sender).await;
        } else {
            // Nothing more is to come. The end of the stream means that the client went away, which ends a
            // long wait.
            let mut nothing = tokio::io::empty();
            let mut byte = [0; 1];
            tokio::select! {
                () = service.execute(request, &mut nothing, &sender) => {}
                _ = read.read(&mut byte) => {}
            }
        }
    };
    let forward = async {
        while let Some(response) = receiver.recv().await {
            let sending = send(&mut write, &response);
            if place
                .awaiting(AwaitedAct::TakeAnswer, sending)
                .await
                .is_err()
            {
                break; // dropping the receiver ends the work
            }
        }
        drop(receiver);
    };
    tokio::join!(work, forward);
    Ok(())
}

async fn read_request(read: &mut BufReader<OwnedReadHalf>) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut limited = read.take(MAX_REQUEST_BYTES);
    let taken = limited.read_until(b'\n', &mut line).await;
    taken.map_err(|error| format!("the request could not be read: {error}"))?;
    if line.last() != Some(&b'\n') {
        return Err("the request is cut off, or longer than 1 MiB".to_owned());
    }
    serde_json::from_slice(&line).map_err(|error| {
        format!(
            "the request is not understood ({error}); command and daemon must be of one version"
        )
    })
}

async fn send(write: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = match serde_json::to_vec(response) {
        Ok(line) => line,
        // An answer that is no text must not look like a daemon that died.
        Err(error) => {
            let message = format!("an answer cannot be written as JSON: {error}");
            serde_json::to_vec(&Response::Failed { message })?
        }
    };
    line.push(b'\n');
    write.write_all(&line).await
}
