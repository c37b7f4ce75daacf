//! One TCP connection to a data centre: MTProto over the `full` transport, with several calls in
//! flight (<https://core.telegram.org/mtproto>).
//!
//! grammers implements the protocol. The socket is ours, because the driver of grammers offers neither
//! many calls at a time nor TCP_NODELAY, compresses random bytes, and does not notice a dead peer. A panic
//! in the protocol ends the task of this connection and nothing else.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use grammers_crypto::DequeBuffer;
use grammers_mtproto::mtp::{self, Deserialization, Mtp};
use grammers_mtproto::transport::{self, Transport};
use grammers_mtproto::{MsgId, mtp::Encrypted};
use grammers_tl_types::{self as tl, Identifiable, Serializable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::call_error::CallError;
use super::service_clock::{ClockVerdict, ServiceClock};

/// Time limit of a TCP connect.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of the largest packet in either direction: 1 MiB and the headers of the transport. The service
/// closes a connection that sends more.
const MAX_PACKET_BYTES: usize = 1024 * 1024 + 8 * 1024;
/// Bytes before a packet for the headers that are written in front of it.
const HEADER_SPACE: usize = mtp::MAX_TRANSPORT_HEADER_LEN
    + mtp::ENCRYPTED_PACKET_HEADER_LEN
    + mtp::PLAIN_PACKET_HEADER_LEN
    + mtp::MESSAGE_CONTAINER_HEADER_LEN;
/// Most calls that wait for their turn. Callers bound theirs with the window of the pool.
const QUEUE: usize = 32;
/// Most calls whose answers are awaited, abandoned ones included.
const MAX_PENDING: usize = 64;
/// Interval of pings on a silent connection.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Seconds after which the server ends a connection that sends no more pings.
const PING_DISCONNECT: i32 = 75;
/// Time of silence after a ping, after which a connection counts as dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Handle of a running connection, which ends when the handle is dropped.
#[derive(Debug)]
pub struct MtprotoConnection {
    calls: mpsc::Sender<Call>,
    task: tokio::task::JoinHandle<()>,
}

struct Call {
    body: Bytes,
    reply: oneshot::Sender<Result<Vec<u8>, CallError>>,
}

impl MtprotoConnection {
    /// Connects with a key that was agreed on before.
    ///
    /// # Errors
    /// See [`connect`].
    pub async fn open(
        address: SocketAddr,
        key: [u8; 256],
        clock: &ServiceClock,
    ) -> Result<Self, CallError> {
        let stream = connect(address).await?;
        let protocol = Encrypted::build()
            .compression_threshold(None)
            .time_offset(clock.offset())
            .finish(key);
        let (calls, receiver) = mpsc::channel(QUEUE);
        let mut wire = Wire::new(stream, protocol);
        wire.clock = Some(clock.clone());
        let driver = Driver {
            wire,
            calls: receiver,
            pending: VecDeque::new(),
            heard: Instant::now(),
            asked: None,
            next_ping: Instant::now() + PING_EVERY,
            pings: 0,
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

/// Packets on a socket, for one state of the protocol.
pub struct Wire<M> {
    stream: TcpStream,
    transport: transport::Full,
    protocol: M,
    input: Vec<u8>,
    input_len: usize,
    output: DequeBuffer<u8>,
    written: usize,
    /// Clock of the service; only encrypted packets tell its time.
    clock: Option<ServiceClock>,
}

impl<M: Mtp> Wire<M> {
    /// Makes the state of a socket on which nothing was sent yet.
    pub fn new(stream: TcpStream, protocol: M) -> Self {
        Self {
            stream,
            transport: transport::Full::new(),
            protocol,
            input: vec![0; MAX_PACKET_BYTES],
            input_len: 0,
            output: DequeBuffer::with_capacity(MAX_PACKET_BYTES, HEADER_SPACE),
            written: 0,
            clock: None,
        }
    }

    /// Sends one request and waits for its answer. It is for the plain calls of a key exchange, which are
    /// made one at a time.
    ///
    /// # Errors
    /// The service's answer, or the end of the connection.
    pub async fn exchange(&mut self, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.protocol.push(&mut self.output, body);
        self.seal();
        while self.has_output() {
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

    fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    /// Makes a packet of the pushed requests. Returns the id that errors use for the packet as a whole.
    fn seal(&mut self) -> Option<MsgId> {
        let container = self.protocol.finalize(&mut self.output)?;
        self.transport.pack(&mut self.output);
        Some(container)
    }

    /// Reads or writes, whichever is possible first. Safe to cancel.
    async fn step(&mut self) -> Result<Vec<Deserialization>, CallError> {
        let has_output = self.has_output();
        let (mut reader, mut writer) = self.stream.split();
        tokio::select! {
            read = reader.read(&mut self.input[self.input_len..]) => {
                match read.map_err(io_error)? {
                    0 => Err(CallError::Disconnected("the server closed the connection".into())),
                    count => self.take_input(count),
                }
            }
            wrote = writer.write(&self.output[self.written..]), if has_output => {
                self.written += wrote.map_err(io_error)?;
                if !self.has_output() {
                    self.output.clear();
                    self.written = 0;
                }
                Ok(Vec::new())
            }
        }
    }

    fn take_input(&mut self, count: usize) -> Result<Vec<Deserialization>, CallError> {
        self.input_len += count;
        let mut events = Vec::new();
        let mut at = 0;
        while at < self.input_len {
            match self.transport.unpack(&mut self.input[at..self.input_len]) {
                Ok(packet) => {
                    let data = &mut self.input[at..][packet.data_range];
                    if let Some(status) = status_of(data) {
                        return Err(CallError::Transport(status));
                    }
                    let mut found = self
                        .protocol
                        .deserialize(data)
                        .map_err(|error| CallError::Unexpected(error.to_string()))?;
                    let clock = self.clock.as_ref();
                    if clock.map(|clock| clock.hear(data)) == Some(ClockVerdict::Ahead) {
                        // The next session begins with the service's time.
                        return Err(CallError::Disconnected(
                            "the clock of this machine is ahead of the service's".into(),
                        ));
                    }
                    events.append(&mut found);
                    at += packet.next_offset;
                }
                Err(transport::Error::MissingBytes) => break,
                Err(transport::Error::BadStatus { status }) => {
                    return Err(CallError::Transport(-i32::try_from(status).unwrap_or(0)));
                }
                Err(error) => return Err(CallError::Unexpected(error.to_string())),
            }
        }
        if at == 0 && self.input_len == self.input.len() {
            return Err(CallError::Unexpected("a packet of more than 1 MiB".into()));
        }
        if at > 0 {
            self.input.copy_within(at..self.input_len, 0);
            self.input_len -= at;
        }
        Ok(events)
    }
}

/// Returns the transport error that a payload is. Whole messages are longer than 4 bytes, and a server may
/// put a transport error into a packet like any other payload
/// (<https://core.telegram.org/mtproto/mtproto-transports#transport-errors>).
fn status_of(payload: &[u8]) -> Option<i32> {
    let number = i32::from_le_bytes(payload.try_into().ok()?);
    Some(number.saturating_abs().saturating_neg())
}

fn io_error(error: io::Error) -> CallError {
    CallError::Disconnected(format!("the connection broke: {error}"))
}

struct Pending {
    call: Call,
    sent: Option<Sent>,
}

#[derive(Clone, Copy)]
struct Sent {
    id: MsgId,
    /// Id of the packet that held it.
    container: MsgId,
}

struct Driver {
    wire: Wire<Encrypted>,
    calls: mpsc::Receiver<Call>,
    pending: VecDeque<Pending>,
    /// Time of the last bytes.
    heard: Instant,
    /// Time of a ping after which no bytes have come yet.
    asked: Option<Instant>,
    next_ping: Instant,
    pings: i64,
}

impl Driver {
    async fn run(mut self) {
        let error = match self.drive().await {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::debug!(%error, "a connection ended");
        for pending in self.pending {
            // The caller may have gone.
            let _ = pending.call.reply.send(Err(error.clone()));
        }
        self.calls.close();
        while let Ok(call) = self.calls.try_recv() {
            let _ = call.reply.send(Err(error.clone()));
        }
    }

    async fn drive(&mut self) -> Result<(), CallError> {
        loop {
            self.fill();
            let dead = self.asked.map(|at| at + SILENCE_LIMIT);
            let wake = dead.map_or(self.next_ping, |dead| dead.min(self.next_ping));
            let room = self.pending.len() < MAX_PENDING;
            let events = tokio::select! {
                call = self.calls.recv(), if room => match call {
                    Some(call) => {
                        self.pending.push_back(Pending { call, sent: None });
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
            if self.wire.input_len > 0 || !events.is_empty() {
                self.heard = Instant::now();
                self.asked = None;
            }
            for event in events {
                self.take(event);
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
            self.pings += 1;
            let ping = tl::functions::PingDelayDisconnect {
                ping_id: self.pings,
                disconnect_delay: PING_DISCONNECT,
            };
            // Nobody awaits the pong, because any bytes are enough.
            let (reply, _) = oneshot::channel();
            let body = ping.to_bytes().into();
            self.pending.push_back(Pending {
                call: Call { body, reply },
                sent: None,
            });
            // A stalled call leaves the connection usable. Only a ping proves it dead.
            self.asked = Some(now);
        }
        Ok(())
    }

    /// Makes the next packet once the last one is out.
    fn fill(&mut self) {
        if self.wire.has_output() {
            return;
        }
        let ping = tl::functions::PingDelayDisconnect::CONSTRUCTOR_ID.to_le_bytes();
        // A call that was abandoned before it was sent need not be sent.
        self.pending.retain(|pending| {
            pending.sent.is_some()
                || !pending.call.reply.is_closed()
                || pending.call.body.starts_with(&ping)
        });
        let mut first = None;
        for (at, pending) in self.pending.iter_mut().enumerate() {
            if pending.sent.is_some() {
                continue;
            }
            // `None` means that the packet is full, or that salts are asked for first.
            let pushed = self
                .wire
                .protocol
                .push(&mut self.wire.output, &pending.call.body);
            let Some(id) = pushed else { break };
            first = first.or(Some(at));
            pending.sent = Some(Sent { id, container: id });
        }
        let Some(container) = self.wire.seal() else {
            return;
        };
        if let Some(first) = first {
            for pending in self.pending.iter_mut().skip(first) {
                if let Some(sent) = &mut pending.sent
                    && sent.container == sent.id
                {
                    sent.container = container;
                }
            }
        }
    }

    fn take(&mut self, event: Deserialization) {
        match event {
            Deserialization::RpcResult(result) => self.answer(result.msg_id, Ok(result.body)),
            Deserialization::RpcError(error) => {
                let outcome = CallError::rpc(error.error.error_code, &error.error.error_message);
                self.answer(error.msg_id, Err(outcome));
            }
            Deserialization::Failure(failure) => {
                let outcome = CallError::Unexpected(failure.error.to_string());
                self.answer(failure.msg_id, Err(outcome));
            }
            Deserialization::BadMessage(bad) => {
                for pending in &mut self.pending {
                    if pending
                        .sent
                        .is_some_and(|sent| sent.id == bad.msg_id || sent.container == bad.msg_id)
                    {
                        pending.sent = None;
                        if !bad.retryable() {
                            tracing::debug!(reason = bad.description(), "a call is sent again");
                        }
                    }
                }
            }
            // The service sends updates to bots unasked.
            Deserialization::Update(_) | Deserialization::OwnUpdate { .. } => {}
        }
    }

    fn answer(&mut self, id: MsgId, outcome: Result<Vec<u8>, CallError>) {
        let at = self
            .pending
            .iter()
            .position(|pending| pending.sent.is_some_and(|sent| sent.id == id));
        if let Some(pending) = at.and_then(|at| self.pending.remove(at)) {
            let _ = pending.call.reply.send(outcome);
        }
    }
}
