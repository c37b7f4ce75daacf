//! The client's end of the socket, which asks a daemon.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::wire::{Request, Response};

/// A connection on which one request was sent.
#[derive(Debug)]
pub struct ControlConnection {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// Connects and sends the request; `None` when no daemon listens there.
///
/// # Errors
/// When the socket exists and cannot be used, for example because it is another user's.
pub async fn connect(socket: &Path, request: &Request) -> io::Result<Option<ControlConnection>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let read = BufReader::new(read);
    Ok(Some(ControlConnection { read, write }))
}

impl ControlConnection {
    /// Returns the next answer. A daemon that goes away in the middle is a failure, not an end.
    ///
    /// # Errors
    /// When the connection breaks, or holds no answer.
    pub async fn next(&mut self) -> io::Result<Response> {
        let mut line = Vec::new();
        self.read.read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the daemon went away before it answered; `tgfs status` tells what came of it",
            ));
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// Sends `size` bytes, after [`Response::Go`]. Answers that come meanwhile go to `heard`, so
    /// that neither side waits for the other with full buffers.
    ///
    /// # Errors
    /// When reading `body` fails, or the connection breaks.
    pub async fn send_body<R>(
        &mut self,
        body: &mut R,
        size: u64,
        mut heard: impl FnMut(Response),
    ) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
    {
        let Self { read, write } = self;
        let mut limited = body.take(size);
        let copy = tokio::io::copy(&mut limited, write);
        tokio::pin!(copy);
        let mut line = Vec::new();
        loop {
            tokio::select! {
                copied = &mut copy => {
                    // A part of a line that was read already belongs to the next answer.
                    return match copied? {
                        sent if sent == size => Self::finish_line(read, &mut line, heard).await,
                        _ => Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the file became shorter while it was read",
                        )),
                    };
                }
                got = read.read_until(b'\n', &mut line) => {
                    if got? == 0 {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                    let response: Response = serde_json::from_slice(&line)?;
                    line.clear();
                    let is_last = response.is_last();
                    heard(response);
                    if is_last {
                        return Ok(()); // refused in the middle, and it said why
                    }
                }
            }
        }
    }

    async fn finish_line(
        read: &mut BufReader<OwnedReadHalf>,
        line: &mut Vec<u8>,
        mut heard: impl FnMut(Response),
    ) -> io::Result<()> {
        if !line.is_empty() {
            read.read_until(b'\n', line).await?;
            heard(serde_json::from_slice(line)?);
        }
        Ok(())
    }
}
