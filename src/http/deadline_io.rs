//! A stream with the two timeouts that hyper lacks: one for a client that connects and sends nothing,
//! one for a client that never reads its answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes after which the protocol is known (the HTTP/2 preface has 24). hyper's own timers start then.
const PREFACE_BYTES: usize = 24;

/// Stream whose reads and writes fail when the client stalls.
#[derive(Debug)]
pub(super) struct DeadlineIo<S> {
    stream: S,
    /// Runs until [`PREFACE_BYTES`] have been received.
    first: Option<Pin<Box<Sleep>>>,
    received: usize,
    /// Maximum time without progress of a write.
    stall: Duration,
    /// Runs while a write is pending.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> DeadlineIo<S> {
    /// Returns the stream with a timeout for writes only.
    pub(super) fn new(stream: S, stall: Duration) -> Self {
        Self {
            stream,
            first: None,
            received: 0,
            stall,
            waiting: None,
        }
    }
    /// Starts the timer for the first bytes.
    pub(super) fn with_first_bytes_within(mut self, limit: Duration) -> Self {
        self.first = Some(Box::pin(tokio::time::sleep(limit)));
        self
    }

    /// Returns a write's outcome, or an error if the write has been pending for longer than `stall`.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let stall = self.stall;
        let sleep = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(timed_out("the client does not read its answer")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for DeadlineIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                this.received += buffer.filled().len() - before;
                if this.received >= PREFACE_BYTES {
                    this.first = None;
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => match &mut this.first {
                Some(sleep) => {
                    ready!(sleep.as_mut().poll(context));
                    Poll::Ready(Err(timed_out("the client sends no request")))
                }
                None => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeadlineIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, outcome)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, outcome)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, outcome)
    }
}
