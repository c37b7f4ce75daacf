//! Bodies of answers. That of a file is read in bounded chunks, a little ahead of the client. It has
//! exactly as many bytes as Content-Length says; an error in the middle breaks the connection. The bytes
//! of every body count in the budget until the connection has sent them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body as AnyBody;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::model::{ByteRange, ErrorKind, FsError, FsResult, Pieces};

use super::budget::{AnswerSlot, BodyAccount, BodyBudget, BodyCharge};
use super::client::HttpClient;
use super::library::OpenHandle;
use super::metrics::Metrics;

/// Bytes per read of the file system: half a block, so that HTTP/2 can interleave streams and a client
/// that seeks away costs little.
const CHUNK_BYTES: u64 = 256 * 1024;
/// Chunks read ahead of the client. With the one being read and the one being sent, a body holds at
/// most 1 MiB.
const CHUNKS_AHEAD: usize = 2;
/// Most pieces of a chunk that are sent from the cached blocks that hold them. Each of them may keep a
/// block of 512 KiB in memory; with more of them, a copy is smaller.
const MAX_PIECES: usize = 4;

/// Bytes that count in the budget until they are dropped.
struct CountedBytes {
    bytes: Bytes,
    _charge: BodyCharge,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl CountedBytes {
    fn of(bytes: Bytes, charge: BodyCharge) -> Bytes {
        Bytes::from_owner(Self {
            bytes,
            _charge: charge,
        })
    }
}

/// Chunk of a file whose last piece carries the charge: pieces are sent in their order.
type CountedPieces = VecDeque<Bytes>;

/// Everything a body needs besides its bytes.
pub(super) struct BodyContext {
    pub metrics: Arc<Metrics>,
    pub account: BodyAccount,
}

/// Stream of a file's bytes.
pub(super) struct FileBody {
    chunks: mpsc::Receiver<FsResult<CountedPieces>>,
    /// Rest of the chunk that is being sent.
    pieces: CountedPieces,
    /// Bytes that the connection has not taken yet.
    remaining: u64,
    reader: AbortHandle,
    _account: BodyAccount,
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
        let pump = Pump {
            handle,
            range,
            account: sending.account.clone(),
            metrics: sending.metrics,
        };
        let first = pump.read(range.offset).await?;
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let reader = tokio::spawn(pump.run(first, sender)).abort_handle();
        Ok(Self {
            chunks,
            pieces: VecDeque::new(),
            remaining: range.len,
            reader,
            _account: sending.account,
        })
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reader of the chunks of one body.
struct Pump {
    handle: OpenHandle,
    range: ByteRange,
    account: BodyAccount,
    metrics: Arc<Metrics>,
}

/// A chunk, and its number of bytes.
struct ReadChunk {
    pieces: CountedPieces,
    len: u64,
}

impl Pump {
    /// Sends the chunks of the range until they end or fail, or the client leaves.
    async fn run(self, first: ReadChunk, sender: mpsc::Sender<FsResult<CountedPieces>>) {
        let mut at = self.range.offset;
        let mut next = Ok(first);
        loop {
            let (chunk, len) = match next {
                Ok(ReadChunk { pieces, len }) => (Ok(pieces), Some(len)),
                Err(error) => (Err(error), None),
            };
            if sender.send(chunk).await.is_err() {
                return;
            }
            let Some(len) = len else { return };
            self.metrics.add_body_bytes(len);
            at = at.saturating_add(len);
            if at >= self.range.end() {
                return;
            }
            next = self.read(at).await;
        }
    }

    async fn read(&self, at: u64) -> FsResult<ReadChunk> {
        let len = self.range.end().saturating_sub(at).min(CHUNK_BYTES);
        let charge = self.account.charge(len).await;
        let pieces = self.handle.read(at, len).await?;
        if pieces.len() != len {
            // The file shrank after Content-Length was sent.
            return Err(FsError::new(
                ErrorKind::Io,
                format!("{} bytes came where {len} were asked for", pieces.len()),
            ));
        }
        Ok(ReadChunk {
            pieces: counted(pieces, charge, self.account.wants_copies()),
            len,
        })
    }
}

fn counted(pieces: Pieces, charge: BodyCharge, copies: bool) -> CountedPieces {
    let mut pieces: CountedPieces = pieces.into_iter().collect();
    if copies || pieces.len() > MAX_PIECES {
        let mut copy = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces
            .iter()
            .for_each(|piece| copy.extend_from_slice(piece));
        pieces = VecDeque::from([Bytes::from(copy)]);
    }
    if let Some(last) = pieces.pop_back() {
        pieces.push_back(CountedBytes::of(last, charge));
    }
    pieces
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

/// Mark on an answer whose body counts its bytes itself, or holds none of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountsItself;

/// Body of an answer, with its slot and the charge for its text.
struct AnswerBody {
    inner: AnyBody,
    charge: Option<BodyCharge>,
    _slot: AnswerSlot,
}

/// Returns the answer with a body that holds its slot and its room in the budget until it was sent.
pub(super) async fn in_budget(
    budget: &Arc<BodyBudget>,
    client: &HttpClient,
    slot: AnswerSlot,
    response: Response<AnyBody>,
) -> Response<AnyBody> {
    if response.body().is_end_stream() {
        return response;
    }
    let charge = match response.extensions().get::<CountsItself>() {
        Some(CountsItself) => None,
        None => {
            let bytes = response.body().size_hint().lower();
            match budget.text(client, bytes).await {
                Some(charge) => Some(charge),
                None => return crowded(),
            }
        }
    };
    response.map(|inner| {
        AnyBody::new(AnswerBody {
            inner,
            charge,
            _slot: slot,
        })
    })
}

/// Answers that there is no room. It has no body, since a client that takes none would hold it.
pub(super) fn crowded() -> Response<AnyBody> {
    let mut response = Response::new(AnyBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(
        http::header::RETRY_AFTER,
        http::HeaderValue::from_static("5"),
    );
    response
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let charge = match &frame {
            Some(Ok(frame)) if frame.is_data() => self.charge.take(),
            _ => None,
        };
        Poll::Ready(match (frame, charge) {
            (Some(Ok(frame)), Some(charge)) => {
                Some(Ok(frame.map_data(|bytes| CountedBytes::of(bytes, charge))))
            }
            (frame, _) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
