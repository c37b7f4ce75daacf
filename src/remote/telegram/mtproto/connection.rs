//! One TCP connection to a data centre: MTProto over the `full` transport, with several calls in
//! flight (<https://core.telegram.org/mtproto>).
//!
//! grammers implements the protocol. The socket is ours, because the driver of grammers offers neither
//! many calls at a time nor TCP_NODELAY, compresses random bytes, and does not notice a dead peer. A panic
//! in the protocol ends the task of this connection and nothing else.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use grammers_mtproto::mtp::{Deserialization, Encrypted, Mtp};
use grammers_tl_types as tl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::packets::Packets;
use super::pending::{Call, PendingCalls};
use super::service_clock::ServiceClock;

/// Time limit of a TCP connect.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Most calls that wait for their turn. Callers bound theirs with the window of the pool.
const QUEUE: usize = 32;
/// Most calls whose answers are awaited, abandoned ones included.
const MAX_PENDING: usize = 64;
/// Interval of pings on a silent connection.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Time of silence after a ping, after which a connection counts as dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// Messages of the server after which a ping is sent at once, since acknowledgements go with calls.
const ACKNOWLEDGE_AT: usize = 1024;

/// Handle of a running connection, which ends when the handle is dropped.
#[derive(Debug)]
pub struct MtprotoConnection {
    calls: mpsc::Sender<Call>,
    task: tokio::task::JoinHandle<()>,
}

impl MtprotoConnection {
    /// Connects with a key that was agreed on before.
    ///
    /// # Errors
    /// See [`connect`].
    pub async fn open(
        address: SocketAddr,
        key: AuthKeyBytes,
        clock: &ServiceClock,
    ) -> Result<Self, CallError> {
        let stream = connect(address).await?;
        let (calls, receiver) = mpsc::channel(QUEUE);
        let driver = Driver {
            wire: Wire::new(stream, Packets::encrypted(key, clock)),
            calls: receiver,
            pending: PendingCalls::default(),
            heard: Instant::now(),
            asked: None,
            next_ping: Instant::now() + PING_EVERY,
        };
        let task = tokio::spawn(driver.run());
        Ok(Self { calls, task })
    }

    /// Returns whether calls can still be made.
    pub fn is_open(&self) -> bool {
        !self.task.is_finished()
    }

    /// Sends a request and returns the body of its answer. Dropping the future abandons the call.
    ///
    /// # Errors
    /// The service's answer, or the end of the connection.
    pub async fn call(&self, body: Bytes) -> Result<Vec<u8>, CallError> {
        let (reply, answer) = oneshot::channel();
        self.calls
            .send(Call { body, reply })
            .await
            .map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for MtprotoConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ended() -> CallError {
    CallError::Disconnected("the connection ended".into())
}

/// Opens a TCP connection.
///
/// # Errors
/// When the peer does not accept within [`CONNECT_LIMIT`].
pub async fn connect(address: SocketAddr) -> Result<TcpStream, CallError> {
    let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(CallError::Disconnected(format!(
                "cannot connect to {address}: {error}"
            )));
        }
        Err(_) => return Err(CallError::TimedOut(CONNECT_LIMIT)),
    };
    // A small call must not wait for the acknowledgement of the one before. If this fails, it waits, and
    // nothing else changes.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Packets on a socket.
pub struct Wire<M> {
    stream: TcpStream,
    packets: Packets<M>,
}

impl<M: Mtp> Wire<M> {
    /// Puts packets on a socket on which nothing was sent yet.
    pub const fn new(stream: TcpStream, packets: Packets<M>) -> Self {
        Self { stream, packets }
    }

    /// Sends one request and waits for its answer. It is for the plain calls of a key exchange, which are
    /// made one at a time.
    ///
    /// # Errors
    /// The service's answer, or the end of the connection.
    pub async fn exchange(&mut self, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.packets.push(body)?;
        self.packets.seal()?;
        while self.packets.has_output() {
            self.step().await?;
        }
        loop {
            for event in self.step().await? {
                match event {
                    Deserialization::RpcResult(result) => return Ok(result.body),
                    Deserialization::RpcError(error) => {
                        let tl::types::RpcError {
                            error_code,
                            error_message,
                        } = error.error;
                        return Err(CallError::rpc(error_code, &error_message));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Reads or writes, whichever is possible first. Safe to cancel.
    async fn step(&mut self) -> Result<Vec<Deserialization>, CallError> {
        let has_output = self.packets.has_output();
        let (mut reader, mut writer) = self.stream.split();
        let (input, output) = self.packets.ends();
        tokio::select! {
            read = reader.read(input) => {
                match read.map_err(io_error)? {
                    0 => Err(CallError::Disconnected("the server closed the connection".into())),
                    count => self.packets.arrived(count),
                }
            }
            wrote = writer.write(output), if has_output => {
                self.packets.sent(wrote.map_err(io_error)?);
                Ok(Vec::new())
            }
        }
    }
}

fn io_error(error: io::Error) -> CallError {
    CallError::Disconnected(format!("the connection broke: {error}"))
}

struct Driver {
    wire: Wire<Encrypted>,
    calls: mpsc::Receiver<Call>,
    pending: PendingCalls,
    /// Time of the last bytes.
    heard: Instant,
    /// Time of a ping after which no bytes have come yet.
    asked: Option<Instant>,
    next_ping: Instant,
}

impl Driver {
    async fn run(mut self) {
        // A panic ends this connection alone, and its callers are told.
        let ended = AssertUnwindSafe(self.drive()).catch_unwind().await;
        let error = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => CallError::Unexpected("the connection failed inside".into()),
        };
        tracing::debug!(%error, "a connection ended");
        self.pending.fail(&error);
        self.calls.close();
        while let Ok(call) = self.calls.try_recv() {
            let _ = call.reply.send(Err(error.clone()));
        }
    }

    async fn drive(&mut self) -> Result<(), CallError> {
        loop {
            if self.wire.packets.unacknowledged() >= ACKNOWLEDGE_AT {
                self.pending.add_ping();
            }
            self.pending.fill(&mut self.wire.packets)?;
            let dead = self.asked.map(|at| at + SILENCE_LIMIT);
            let wake = dead.map_or(self.next_ping, |dead| dead.min(self.next_ping));
            let room = self.pending.len() < MAX_PENDING;
            let events = tokio::select! {
                call = self.calls.recv(), if room => match call {
                    Some(call) => {
                        self.pending.add(call);
                        continue;
                    }
                    // The handle is gone.
                    None => return Ok(()),
                },
                events = self.wire.step() => events?,
                () = sleep_until(wake) => {
                    self.on_silence()?;
                    continue;
                }
            };
            if self.wire.packets.has_input() || !events.is_empty() {
                self.heard = Instant::now();
                self.asked = None;
            }
            for event in events {
                self.pending.take(event);
            }
        }
    }

    fn on_silence(&mut self) -> Result<(), CallError> {
        let now = Instant::now();
        if self.asked.is_some_and(|at| now >= at + SILENCE_LIMIT) {
            return Err(CallError::TimedOut(SILENCE_LIMIT));
        }
        if now >= self.next_ping {
            self.next_ping = now + PING_EVERY;
            self.pending.add_ping();
            // A stalled call leaves the connection usable. Only a ping proves it dead.
            self.asked = Some(now);
        }
        Ok(())
    }
}
