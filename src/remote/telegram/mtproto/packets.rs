//! Packets of one connection in both directions, for one state of the protocol and without a socket.

use std::panic::{AssertUnwindSafe, catch_unwind};

use grammers_crypto::DequeBuffer;
use grammers_mtproto::MsgId;
use grammers_mtproto::mtp::{self, Deserialization, Encrypted, Mtp};
use grammers_mtproto::transport::{self, Transport};

use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::packet_check::PacketCheck;
use super::service_clock::{ClockVerdict, ServiceClock};

/// Bytes of the largest packet in either direction: 1 MiB and the headers of the transport. The service
/// closes a connection that sends more.
const MAX_PACKET_BYTES: usize = 1024 * 1024 + 8 * 1024;
/// Bytes before a packet for the headers that are written in front of it.
const HEADER_SPACE: usize = mtp::MAX_TRANSPORT_HEADER_LEN
    + mtp::ENCRYPTED_PACKET_HEADER_LEN
    + mtp::PLAIN_PACKET_HEADER_LEN
    + mtp::MESSAGE_CONTAINER_HEADER_LEN;
/// Most messages that are not acknowledged yet. An acknowledgement cannot name more
/// (<https://core.telegram.org/mtproto/service_messages_about_messages>).
const MAX_UNACKNOWLEDGED: usize = 8192;

/// Packets in both directions.
pub struct Packets<M> {
    transport: transport::Full,
    protocol: M,
    /// `None` for the plain packets of a key exchange, which hold nothing packed.
    check: Option<PacketCheck>,
    input: Vec<u8>,
    input_len: usize,
    output: DequeBuffer<u8>,
    written: usize,
    /// Messages that came since the last packet was made.
    unacknowledged: usize,
    /// Clock of the service; only encrypted packets tell its time.
    clock: Option<ServiceClock>,
}

impl Packets<mtp::Plain> {
    /// Makes the packets of a key exchange.
    pub fn plain() -> Self {
        Self::new(mtp::Plain::new(), None)
    }
}

impl Packets<Encrypted> {
    /// Makes the packets of a connection with a key.
    pub fn encrypted(key: AuthKeyBytes, clock: &ServiceClock) -> Self {
        let protocol = Encrypted::build()
            .compression_threshold(None)
            .time_offset(clock.offset())
            .finish(key);
        Self {
            clock: Some(clock.clone()),
            ..Self::new(protocol, Some(PacketCheck::new(key)))
        }
    }
}

impl<M: Mtp> Packets<M> {
    fn new(protocol: M, check: Option<PacketCheck>) -> Self {
        Self {
            transport: transport::Full::new(),
            protocol,
            check,
            input: vec![0; MAX_PACKET_BYTES],
            input_len: 0,
            output: DequeBuffer::with_capacity(MAX_PACKET_BYTES, HEADER_SPACE),
            written: 0,
            unacknowledged: 0,
            clock: None,
        }
    }

    /// Returns the place for the next bytes that arrive, and the bytes that are to be sent.
    pub fn ends(&mut self) -> (&mut [u8], &[u8]) {
        (
            &mut self.input[self.input_len..],
            &self.output[self.written..],
        )
    }

    /// Returns whether bytes of the last packet are still to be sent.
    pub fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    /// Returns whether the beginning of a packet has arrived.
    pub const fn has_input(&self) -> bool {
        self.input_len > 0
    }

    /// Returns the messages that came since the last packet was made.
    pub const fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// Notes that bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.written += count;
        if !self.has_output() {
            self.output.clear();
            self.written = 0;
        }
    }

    /// Adds a request to the next packet. `Ok(None)` means that the packet is full, or that salts are asked
    /// for first.
    ///
    /// # Errors
    /// [`CallError::Unexpected`] when what the server said before cannot be calculated with.
    pub fn push(&mut self, body: &[u8]) -> Result<Option<MsgId>, CallError> {
        let (protocol, output) = (&mut self.protocol, &mut self.output);
        contained(|| protocol.push(output, body))
    }

    /// Makes a packet of the pushed requests. Returns the id that errors use for the packet as a whole.
    ///
    /// # Errors
    /// See [`Self::push`].
    pub fn seal(&mut self) -> Result<Option<MsgId>, CallError> {
        let (protocol, output) = (&mut self.protocol, &mut self.output);
        let container = contained(|| protocol.finalize(output))?;
        if container.is_some() {
            self.transport.pack(&mut self.output);
            self.unacknowledged = 0;
        }
        Ok(container)
    }

    /// Reads the messages of the packets that are whole once `count` more bytes have arrived.
    ///
    /// # Errors
    /// A transport error of the server, or [`CallError::Unexpected`]. The connection is of no use then.
    pub fn arrived(&mut self, count: usize) -> Result<Vec<Deserialization>, CallError> {
        self.input_len += count;
        let mut events = Vec::new();
        let mut at = 0;
        while at < self.input_len {
            let input = &mut self.input[at..self.input_len];
            if input.starts_with(&i32::MIN.to_le_bytes()) {
                return Err(CallError::Transport(i32::MIN));
            }
            match self.transport.unpack(input) {
                Ok(packet) => {
                    let data = &mut input[packet.data_range];
                    if let Some(status) = status_of(data) {
                        return Err(CallError::Transport(status));
                    }
                    if let Some(check) = &self.check {
                        self.unacknowledged += check.check(data)?;
                    }
                    let protocol = &mut self.protocol;
                    let mut found = contained(|| protocol.deserialize(data))?
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
        if self.unacknowledged > MAX_UNACKNOWLEDGED {
            return Err(CallError::Unexpected(
                "the server sends without end and takes nothing".into(),
            ));
        }
        if at > 0 {
            self.input.copy_within(at..self.input_len, 0);
            self.input_len -= at;
        }
        Ok(events)
    }
}

/// Runs a step of grammers, which panics over some of what a server may send.
///
/// # Errors
/// [`CallError::Unexpected`] after a panic. The state of the protocol is of no use then.
fn contained<T>(step: impl FnOnce() -> T) -> Result<T, CallError> {
    catch_unwind(AssertUnwindSafe(step))
        .map_err(|_| CallError::Unexpected("the server breaks the protocol".into()))
}

/// Returns the transport error that a payload is. Whole messages are longer than 4 bytes, and a server may
/// put a transport error into a packet like any other payload
/// (<https://core.telegram.org/mtproto/mtproto-transports#transport-errors>).
fn status_of(payload: &[u8]) -> Option<i32> {
    let number = i32::from_le_bytes(payload.try_into().ok()?);
    Some(number.saturating_abs().saturating_neg())
}
