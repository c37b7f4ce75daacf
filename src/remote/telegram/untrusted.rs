//! Readers of what the service sends, without a network: what the fuzz targets call (`fuzz/targets.rs`).

use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_tl_types::{Deserializable, enums, functions};
use grammers_tl_types::{RemoteCall, Serializable};

use super::bots::channel_info::ChannelInfo;
use super::bots::messages;
use super::channel::caption::Caption;
use super::mtproto::answer;
use super::mtproto::auth_key::AuthKeyBytes;
use super::mtproto::call_error::CallError;
use super::mtproto::packet_key::{PacketKey, PacketSender, message_key};
use super::mtproto::packets::Packets;
use super::mtproto::pending::{Call, PendingCalls};
use super::mtproto::reconnecting::usable_address;
use super::mtproto::service_clock::ServiceClock;
use super::packs::get_file::file_bytes;
use crate::model::ChannelId;

/// Stands in what a server says for the number of the client's call.
const CALL_MARK: &[u8; 8] = b"\0CALLID\0";
/// Key of the dialogues.
pub(super) const KEY: AuthKeyBytes = [0x5a; 256];

/// Reads the caption of a post, and returns it as it would be written.
#[must_use]
pub fn caption(text: &str) -> Option<String> {
    Caption::read(text).map(|caption| caption.to_string())
}

/// Reads bytes as the answer of each method that is called.
pub fn answers(bytes: &[u8]) {
    let _ = answer::decode_with(bytes, messages::found);
    let _ = answer::decode_with(bytes, |updates| messages::posted(updates, 1).is_some());
    let _ = answer::decode_with(bytes, |chats| {
        ChannelInfo::from_chats(chats, ChannelId::new(1))
    });
    let _ = answer::decode_with(bytes, |enums::Config::Config(config)| {
        config.dc_options.iter().filter_map(usable_address).count()
    });
    of_method::<functions::contacts::ResolveUsername>(bytes);
    of_method::<functions::updates::GetDifference>(bytes);
    of_method::<functions::updates::GetState>(bytes);
    of_method::<functions::messages::UpdatePinnedMessage>(bytes);
    of_method::<functions::channels::DeleteMessages>(bytes);
    of_method::<functions::auth::ExportAuthorization>(bytes);
    of_method::<functions::auth::ImportAuthorization>(bytes);
    of_method::<functions::ReqPqMulti>(bytes);
    of_method::<functions::ReqDhParams>(bytes);
    of_method::<functions::SetClientDhParams>(bytes);
    let _ = file_bytes(bytes.to_vec());
    let error = CallError::rpc(400, &String::from_utf8_lossy(bytes));
    let _ = (error.wait(), error.migrate(), error.to_string());
}

fn of_method<R: RemoteCall<Return: Deserializable + Send>>(bytes: &[u8]) {
    let _ = answer::decode::<R::Return>(bytes).map(drop);
}

/// The server's side of a connection under a known key. It can say anything.
#[derive(Debug)]
pub struct ServerSide {
    key_id: [u8; 8],
    session: [u8; 8],
    call: [u8; 8],
    said: u32,
}

impl ServerSide {
    /// Learns the session from the client's first packet. `None` for bytes that are none.
    #[must_use]
    pub fn hear(packet: &[u8]) -> Option<Self> {
        let payload = packet.get(8..packet.len().checked_sub(4)?)?;
        let (key_id, rest) = payload.split_first_chunk()?;
        let (message_key, secret) = rest.split_first_chunk::<16>()?;
        let PacketKey { key, vector } = PacketKey::new(&KEY, message_key, PacketSender::Client);
        let mut text = secret.to_vec();
        ige_decrypt(&mut text, &key, &vector);
        Some(Self {
            key_id: *key_id,
            session: text.get(8..16)?.try_into().ok()?,
            call: text.get(16..24)?.try_into().ok()?,
            said: 0,
        })
    }

    /// Returns the packet that says a message: its number, sequence number, length and body.
    pub fn say(&mut self, message: &[u8]) -> Vec<u8> {
        let mut text = vec![0; 8];
        text.extend(self.session);
        text.extend(message);
        while let Some(at) = memchr::memmem::find(&text, CALL_MARK) {
            text[at..at + 8].copy_from_slice(&self.call);
        }
        text.resize(text.len().next_multiple_of(16), 0);
        let message_key = message_key(&KEY, &text, PacketSender::Server);
        let PacketKey { key, vector } = PacketKey::new(&KEY, &message_key, PacketSender::Server);
        ige_encrypt(&mut text, &key, &vector);
        self.framed(&[&self.key_id[..], &message_key, &text].concat())
    }

    /// Returns a packet with any payload.
    fn framed(&mut self, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len() + 12).unwrap_or(u32::MAX);
        let mut packet = len.to_le_bytes().to_vec();
        packet.extend(self.said.to_le_bytes());
        packet.extend(payload);
        packet.extend(crc32fast::hash(&packet).to_le_bytes());
        self.said += 1;
        packet
    }
}

/// Connection of a client, without a socket.
pub struct Dialogue {
    packets: Packets<grammers_mtproto::mtp::Encrypted>,
    calls: PendingCalls,
    server: ServerSide,
}

impl std::fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialogue({:?})", self.server)
    }
}

impl Dialogue {
    /// Begins with a call of the client. `None` if it makes no packet, which would be a fault.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let mut packets = Packets::encrypted(KEY, &ServiceClock::default());
        let mut calls = PendingCalls::default();
        let (reply, _) = tokio::sync::oneshot::channel();
        // Pings are sent although nobody awaits their answers.
        calls.add_ping();
        calls.add(Call {
            body: functions::updates::GetState {}.to_bytes().into(),
            reply,
        });
        calls.fill(&mut packets).ok()?;
        let packet = packets.ends().1.to_vec();
        packets.sent(packet.len());
        let server = ServerSide::hear(&packet)?;
        Some(Self {
            packets,
            calls,
            server,
        })
    }

    /// Lets the server say a message. Returns why the client ends the connection, if it does.
    ///
    /// # Errors
    /// The reason.
    pub fn say(&mut self, message: &[u8]) -> Result<(), String> {
        let packet = self.server.say(message);
        self.arrive(&packet).map_err(|error| error.to_string())
    }

    /// Lets bytes of any kind arrive.
    ///
    /// # Errors
    /// Why the client ends the connection.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.arrive(bytes).map_err(|error| error.to_string())
    }

    fn arrive(&mut self, mut bytes: &[u8]) -> Result<(), CallError> {
        while !bytes.is_empty() {
            let room = self.packets.ends().0;
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            for event in self.packets.arrived(count)? {
                self.calls.take(event);
            }
            self.calls.add_ping();
            self.calls.fill(&mut self.packets)?;
            let len = self.packets.ends().1.len();
            self.packets.sent(len);
        }
        Ok(())
    }
}
