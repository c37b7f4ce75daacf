//! The body of a file: bounded chunks, read a little ahead of the client. It has exactly as many bytes
//! as Content-Length says; an error in the middle breaks the connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use crate::model::{ByteRange, ErrorKind, FsError, FsResult, Pieces};

use super::library::OpenHandle;
use super::metrics::Metrics;

/// Bytes per read of the file system: half a block, so that HTTP/2 can interleave streams and a client
/// that seeks away costs little.
const CHUNK_BYTES: u64 = 256 * 1024;
/// Chunks read ahead of the client. With the one being read and the one being sent, a body holds at
/// most 1 MiB. Bytes of cached blocks are shared, not copied: a block that the cache evicts stays in
/// memory until it is sent.
const CHUNKS_AHEAD: usize = 2;

/// Handle to close the connection of a request at once.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionCut(Arc<Notify>);

impl ConnectionCut {
    /// Closes the connection.
    pub(super) fn now(&self) {
        self.0.notify_one();
    }
    /// Waits until the connection is to be closed.
    pub(super) async fn wait(&self) {
        self.0.notified().await;
    }
}

/// Everything a body needs besides its bytes.
pub(super) struct BodyContext {
    /// Closed when the client takes nothing for `stall`; HTTP/2 would keep the stream for ever.
    pub cut: ConnectionCut,
    pub stall: Duration,
    pub metrics: Arc<Metrics>,
    /// Slot of [`super::HttpLimits::bodies`], held until the body ends.
    pub permit: OwnedSemaphorePermit,
}

/// Stream of a file's bytes.
pub(super) struct FileBody {
    chunks: mpsc::Receiver<FsResult<Pieces>>,
    /// Rest of the chunk that is being sent.
    pieces: VecDeque<Bytes>,
    /// Bytes that the connection has not taken yet.
    remaining: u64,
    reader: AbortHandle,
}

impl FileBody {
    /// Reads the first chunk before it returns, so that the answer to an unreachable remote is an error
    /// status.
    ///
    /// # Errors
    /// When the first chunk cannot be read.
    pub(super) async fn open(
        handle: OpenHandle,
        range: ByteRange,
        sending: BodyContext,
    ) -> FsResult<Self> {
        let first = read_exactly(&handle, range.offset, range.len.min(CHUNK_BYTES)).await?;
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let reader = tokio::spawn(pump(handle, range, first, sender, sending)).abort_handle();
        Ok(Self {
            chunks,
            pieces: VecDeque::new(),
            remaining: range.len,
            reader,
        })
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Sends the chunks of `range` until they end or fail, or the client leaves or stalls.
async fn pump(
    handle: OpenHandle,
    range: ByteRange,
    first: Pieces,
    sender: mpsc::Sender<FsResult<Pieces>>,
    sending: BodyContext,
) {
    let _permit = sending.permit;
    let mut at = range.offset;
    let mut next = Ok(first);
    loop {
        let sent = match &next {
            Ok(chunk) => chunk.len(),
            Err(_) => 0,
        };
        let failed = next.is_err();
        match tokio::time::timeout(sending.stall, sender.send(next)).await {
            Ok(Ok(())) => sending.metrics.add_body_bytes(sent),
            Ok(Err(_client_is_gone)) => return,
            Err(_elapsed) => {
                tracing::debug!("a client took nothing for too long; its connection is closed");
                sending.cut.now();
                return;
            }
        }
        at += sent;
        if failed || at >= range.end() {
            return;
        }
        next = read_exactly(&handle, at, (range.end() - at).min(CHUNK_BYTES)).await;
    }
}

async fn read_exactly(handle: &OpenHandle, offset: u64, len: u64) -> FsResult<Pieces> {
    let pieces = handle.read(offset, len).await?;
    if pieces.len() == len {
        Ok(pieces)
    } else {
        // The file shrank after Content-Length was sent.
        Err(FsError::new(
            ErrorKind::Io,
            format!("{} bytes came where {len} were asked for", pieces.len()),
        ))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = FsError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FsError>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        loop {
            if let Some(bytes) = self.pieces.pop_front() {
                self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match ready!(self.chunks.poll_recv(context)) {
                Some(Ok(pieces)) => self.pieces.extend(pieces),
                Some(Err(error)) => {
                    tracing::warn!(%error, "an answer broke off: its file could not be read to the end");
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    return Poll::Ready(Some(Err(FsError::new(
                        ErrorKind::Io,
                        "the body ended before its length",
                    ))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
