//! Check of a packet before grammers reads it.
//!
//! grammers unpacks a packet without bounds: 1 MiB of gzip may hold 1 GiB, and containers within containers
//! use up the stack, which ends the whole program. A packet is therefore walked here first. Packets that
//! hold a single answer as it is, as parts of documents come, need a look at their first bytes alone.

use std::io::{self, Write as _};

use flate2::write::GzDecoder;
use grammers_crypto::aes::ige_decrypt;
use grammers_tl_types::{Cursor, Deserializable, Identifiable, RawVec, types};

use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::packet_key::{PacketKey, PacketSender};

/// Most bytes that all parts of one packet may unpack to: some times the largest answer but a document's
/// bytes, and those are sent unpacked.
const MAX_UNPACKED_BYTES: usize = 4 * 1024 * 1024;
/// Most messages in one packet (<https://core.telegram.org/mtproto/service_messages#containers> lets a
/// container have 1020).
const MAX_MESSAGES: usize = 1024;
/// Most containers and packed objects around one message.
const MAX_DEPTH: u8 = 4;

/// Bytes of a packet before the encrypted ones: the key's id and the message key.
const CLEAR_BYTES: usize = 8 + 16;
/// Encrypted bytes before the first message: salt and session.
const SESSION_BYTES: usize = 8 + 8;
/// Bytes of a message before its body: id, sequence number, length.
const MESSAGE_HEAD: usize = 8 + 4 + 4;
/// Bytes of the first look, in whole blocks of the cipher: up to the constructor of an answer.
const LOOK_BYTES: usize = 48;
const CIPHER_BLOCK: usize = 16;

const MESSAGE_CONTAINER: u32 = 0x73f1_f8dc;
const MESSAGE_COPY: u32 = 0xe060_46b2;
const RPC_RESULT: u32 = 0xf35c_6d01;
const GZIP_PACKED: u32 = 0x3072_cfa1;

/// Check of the packets of one connection.
pub struct PacketCheck {
    key: AuthKeyBytes,
}

impl PacketCheck {
    /// Makes the check of packets under `key`.
    pub const fn new(key: AuthKeyBytes) -> Self {
        Self { key }
    }

    /// Checks a packet as it arrived, and returns the number of messages in it. What is damaged in a way
    /// that grammers notices passes.
    ///
    /// # Errors
    /// [`CallError::Unexpected`] for a packet that no sound server sends.
    pub fn check(&self, packet: &[u8]) -> Result<usize, CallError> {
        let Some((clear, secret)) = packet.split_at_checked(CLEAR_BYTES) else {
            return Ok(0);
        };
        if secret.len() < LOOK_BYTES || !secret.len().is_multiple_of(CIPHER_BLOCK) {
            return self.walk(clear, secret);
        }
        let mut look = [0; LOOK_BYTES];
        look.copy_from_slice(&secret[..LOOK_BYTES]);
        self.decrypt(clear, &mut look);
        let body = &look[SESSION_BYTES + MESSAGE_HEAD..];
        let is_plain_answer =
            word(body) == Some(RPC_RESULT) && word(&body[12..]) != Some(GZIP_PACKED);
        if !is_plain_answer {
            return self.walk(clear, secret);
        }
        message(
            &mut &look[SESSION_BYTES..],
            secret.len() - SESSION_BYTES - MESSAGE_HEAD,
        )?;
        Ok(1)
    }

    fn walk(&self, clear: &[u8], secret: &[u8]) -> Result<usize, CallError> {
        let whole = secret.len() - secret.len() % CIPHER_BLOCK;
        let mut text = secret[..whole].to_vec();
        self.decrypt(clear, &mut text);
        let mut walk = Walk::default();
        if let Some(messages) = text.get(SESSION_BYTES..) {
            walk.message(&mut &*messages, 0)?;
        }
        Ok(walk.messages)
    }

    /// Decrypts the first blocks of a packet.
    fn decrypt(&self, clear: &[u8], text: &mut [u8]) {
        let PacketKey { key, vector } =
            PacketKey::new(&self.key, &clear[8..], PacketSender::Server);
        ige_decrypt(text, &key, &vector);
    }
}

fn refused(what: &str) -> CallError {
    CallError::Unexpected(format!("the server sent {what}"))
}

/// Returns the first four bytes as a number, as constructors are written.
fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.first_chunk()?))
}

/// Takes the head of a message from the input, and returns the length of its body, of which `room` bytes
/// can be there. `None` at the end of the input.
fn message(input: &mut &[u8], room: usize) -> Result<Option<usize>, CallError> {
    let Some((head, rest)) = input.split_first_chunk::<MESSAGE_HEAD>() else {
        return Ok(None);
    };
    *input = rest;
    let id = head.first_chunk().map_or(0, |id| i64::from_le_bytes(*id));
    if id <= 0 {
        return Err(refused("a message with an impossible number"));
    }
    let len = word(&head[12..]).map_or(0, |len| len as usize);
    if len > room {
        return Err(refused("a message of an impossible length"));
    }
    Ok(Some(len))
}

/// Walk through the messages of one packet.
#[derive(Default)]
struct Walk {
    messages: usize,
    unpacked: usize,
}

impl Walk {
    /// Takes a message from the input.
    fn message(&mut self, input: &mut &[u8], depth: u8) -> Result<(), CallError> {
        let room = input.len().saturating_sub(MESSAGE_HEAD);
        let Some(len) = message(input, room)? else {
            return Ok(());
        };
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            return Err(refused("too many messages at once"));
        }
        let (body, rest) = input.split_at(len);
        *input = rest;
        self.body(body, depth)
    }

    fn body(&mut self, body: &[u8], depth: u8) -> Result<(), CallError> {
        if depth > MAX_DEPTH {
            return Err(refused("containers within containers"));
        }
        match word(body) {
            Some(MESSAGE_CONTAINER) => self.container(&body[4..], depth),
            Some(GZIP_PACKED) => match self.unpack(body)? {
                Some(unpacked) => self.body(&unpacked, depth + 1),
                None => Ok(()),
            },
            // The body of an answer is not looked into any further.
            Some(RPC_RESULT) => match body.get(12..) {
                Some(answer) if word(answer) == Some(GZIP_PACKED) => self.unpack(answer).map(drop),
                _ => Ok(()),
            },
            Some(types::FutureSalts::CONSTRUCTOR_ID) => salts(body),
            Some(MESSAGE_COPY | types::FutureSalt::CONSTRUCTOR_ID) => {
                Err(refused("a message that nobody asks for"))
            }
            _ => Ok(()),
        }
    }

    fn container(&mut self, mut input: &[u8], depth: u8) -> Result<(), CallError> {
        let count = word(input).ok_or_else(|| refused("a container without a length"))?;
        if count as usize > MAX_MESSAGES {
            return Err(refused("too many messages at once"));
        }
        input = &input[4..];
        for _ in 0..count {
            self.message(&mut input, depth + 1)?;
        }
        Ok(())
    }

    /// Returns the bytes in `gzip_packed`; `None` when they are damaged.
    fn unpack(&mut self, packed: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        let Ok(packed) = Vec::<u8>::deserialize(&mut Cursor::from_slice(&packed[4..])) else {
            return Ok(None);
        };
        let room = MAX_UNPACKED_BYTES.saturating_sub(self.unpacked);
        // grammers uses the same decoder, so it unpacks the same bytes.
        let mut decoder = GzDecoder::new(Bounded {
            bytes: Vec::new(),
            room,
        });
        let whole = decoder
            .write_all(&packed)
            .and_then(|()| decoder.try_finish());
        let output = decoder.get_mut();
        if output.bytes.len() >= output.room {
            return Err(refused("a packed object that is too large"));
        }
        self.unpacked += output.bytes.len();
        Ok(whole.is_ok().then(|| std::mem::take(&mut output.bytes)))
    }
}

/// Checks times that grammers calculates with.
fn salts(body: &[u8]) -> Result<(), CallError> {
    let mut cursor = Cursor::from_slice(body);
    let decoded = (|| {
        u32::deserialize(&mut cursor)?;
        i64::deserialize(&mut cursor)?;
        let now = i32::deserialize(&mut cursor)?;
        Ok::<_, grammers_tl_types::deserialize::Error>((
            now,
            RawVec::<types::FutureSalt>::deserialize(&mut cursor)?,
        ))
    })();
    let Ok((now, salts)) = decoded else {
        return Ok(());
    };
    // Half a year below the end of the range leaves room for what is added.
    let plausible = 0..i32::MAX - (1 << 24);
    let all = salts.0.iter().map(|salt| salt.valid_since);
    match all.chain([now]).all(|time| plausible.contains(&time)) {
        true => Ok(()),
        false => Err(refused("salts for impossible times")),
    }
}

/// Bytes up to a length.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        let taken = input.len().min(self.room - self.bytes.len());
        self.bytes.extend_from_slice(&input[..taken]);
        match taken {
            0 if !input.is_empty() => Err(io::ErrorKind::FileTooLarge.into()),
            _ => Ok(taken),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
