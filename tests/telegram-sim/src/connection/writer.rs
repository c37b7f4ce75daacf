//! The sending half: takes replies in the order of their calls, waits until each is due, seals it.

use std::sync::Arc;

use anyhow::Result;
use grammers_tl_types::{Identifiable, Serializable, enums, types};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::cipher::{Header, INNER_BYTES, OUTER_BYTES, seal};
use super::frames::FrameWriter;
use super::salts;
use super::transport::HEAD_BYTES;
use crate::api::Answer;
use crate::shared::Shared;

const RPC_RESULT: u32 = 0xf35c_6d01;

/// Replies that wait in one connection, at most: more than any client has calls in flight.
pub(super) const MAX_WAITING: usize = 1024;

/// To whom something is encrypted.
#[derive(Clone)]
pub(super) struct Recipient {
    pub(super) key: Arc<[u8; 256]>,
    pub(super) key_id: i64,
    pub(super) session: i64,
}

pub(super) enum Reply {
    /// A step of the handshake.
    Plain(Vec<u8>),
    /// An answer to a call, which the client is to acknowledge.
    Result {
        to: Recipient,
        call: i64,
        answer: Answer,
    },
    /// A message of the protocol itself that the client is to acknowledge.
    Notice { to: Recipient, body: Vec<u8> },
    /// One that it need not.
    Service { to: Recipient, body: Vec<u8> },
    /// A transport error.
    Status(i32),
}

pub(super) struct Queued {
    pub(super) due: Instant,
    pub(super) reply: Reply,
}

pub(super) struct Writer {
    frames: FrameWriter,
    shared: Arc<Shared>,
    packet: Vec<u8>,
    last_message_id: i64,
    sequence: i32,
}

impl Writer {
    pub(super) fn new(frames: FrameWriter, shared: Arc<Shared>) -> Self {
        Self {
            frames,
            shared,
            packet: Vec::new(),
            last_message_id: 0,
            sequence: 0,
        }
    }

    /// Sends until nothing comes any more, or the client is gone.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Queued>) -> Result<()> {
        while let Some(queued) = queue.recv().await {
            sleep_until(queued.due).await;
            self.send(queued.reply).await?;
        }
        Ok(())
    }

    async fn send(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Status(status) => self.frames.send_status(status).await,
            Reply::Plain(body) => {
                self.packet.clear();
                self.packet.resize(HEAD_BYTES + 8, 0);
                let id = self.message_id(1);
                self.packet.extend(id.to_le_bytes());
                self.packet.extend(u32::try_from(body.len())?.to_le_bytes());
                self.packet.extend(body);
                self.frames.send(&mut self.packet).await
            }
            Reply::Notice { to, body } => {
                self.begin();
                self.packet.extend(body);
                self.finish(&to, 3, Sequence::Counted).await
            }
            Reply::Service { to, body } => {
                self.begin();
                self.packet.extend(body);
                self.finish(&to, 1, Sequence::Uncounted).await
            }
            Reply::Result { to, call, answer } => {
                self.begin();
                RPC_RESULT.serialize(&mut self.packet);
                call.serialize(&mut self.packet);
                self.put_answer(&answer)?;
                self.finish(&to, 1, Sequence::Counted).await
            }
        }
    }

    fn begin(&mut self) {
        self.packet.clear();
        self.packet
            .resize(HEAD_BYTES + OUTER_BYTES + INNER_BYTES, 0);
    }

    fn put_answer(&mut self, answer: &Answer) -> Result<()> {
        let slice = match answer {
            Answer::Object(bytes) => {
                self.packet.extend_from_slice(bytes);
                return Ok(());
            }
            Answer::File(slice) => slice,
        };
        let packet = &mut self.packet;
        packet.reserve(slice.len() + 64);
        types::upload::File::CONSTRUCTOR_ID.serialize(packet);
        enums::storage::FileType::FileUnknown.serialize(packet);
        0_i32.serialize(packet);
        let start = packet.len();
        match u8::try_from(slice.len()) {
            Ok(length) if length < 254 => packet.push(length),
            _ => {
                let length = u32::try_from(slice.len())?;
                packet.extend(((length << 8) | 254).to_le_bytes());
            }
        }
        slice.copy_to(packet)?;
        let padded = start + (packet.len() - start).next_multiple_of(4);
        packet.resize(padded, 0);
        Ok(())
    }

    async fn finish(&mut self, to: &Recipient, kind: i64, sequence: Sequence) -> Result<()> {
        let header = Header {
            salt: salts::current(to.key_id),
            session: to.session,
            message_id: self.message_id(kind),
            sequence: self.next_sequence(sequence),
        };
        seal(&mut self.packet, HEAD_BYTES, &to.key, to.key_id, header)?;
        self.frames.send(&mut self.packet).await
    }

    /// Time, growing, with the low bits that say what kind of message it is: 1 answers one of the
    /// client's, 3 does not.
    fn message_id(&mut self, kind: i64) -> i64 {
        let since = self.shared.controls.message_time();
        let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
        let time = (seconds << 32) | (i64::from(since.subsec_nanos()) << 2);
        let id = time.max((self.last_message_id | 3) + 1) | kind;
        self.last_message_id = id;
        id
    }

    fn next_sequence(&mut self, sequence: Sequence) -> i32 {
        match sequence {
            Sequence::Uncounted => self.sequence,
            Sequence::Counted => {
                self.sequence = self.sequence.wrapping_add(2);
                self.sequence - 1
            }
        }
    }
}

/// Whether a message counts in the sequence: those that are to be acknowledged do.
#[derive(Clone, Copy)]
enum Sequence {
    Counted,
    Uncounted,
}
