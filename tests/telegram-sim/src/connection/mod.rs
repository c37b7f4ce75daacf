//! One TCP connection: packets in, calls run, replies queued.

mod cipher;
mod frames;
mod salts;
mod transport;
mod writer;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use flate2::read::GzDecoder;
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable, Serializable, enums, functions, types,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::cipher::Header;
use self::frames::{Chosen, FrameReader, FrameWriter};
use self::writer::{MAX_WAITING, Queued, Recipient, Reply, Writer};
use crate::api::{Answer, Call, Caller, Layer};
use crate::faults::Fault;
use crate::handshake::{self, Handshake};
use crate::options::Bot;
use crate::refusal::Refusal;
use crate::shaping::Lane;
use crate::shared::Shared;
use crate::world::event::Event;

const MESSAGE_CONTAINER: u32 = 0x73f1_f8dc;
const GZIP_PACKED: u32 = 0x3072_cfa1;

/// Bytes that a compressed message may grow to.
const MAX_UNPACKED_BYTES: u64 = 4 * 1024 * 1024;

/// Transport errors.
const UNKNOWN_KEY: i32 = -404;
const TOO_MANY: i32 = -429;

/// Seconds by which a message id may lie behind or ahead of the server's clock.
const MAX_BEHIND: i64 = 300;
const MAX_AHEAD: i64 = 30;

/// State of the connection after a message.
enum Next {
    Go,
    /// Send what waits, then close.
    Finish,
    /// Close at once.
    Drop,
}

/// Serves one client until it leaves, sends nonsense, or a fault ends it.
pub(crate) async fn serve(shared: Arc<Shared>, dc: i32, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    // The kernel connected at once; over a network it takes a round trip.
    sleep(shared.controls.shape().latency).await;
    let (read, write) = stream.into_split();
    let lane = Arc::new(Lane::new());
    let (replies, queue) = mpsc::channel(MAX_WAITING);
    let chosen = Chosen::default();
    let frames = FrameWriter::new(write, shared.clone(), lane.clone(), chosen.clone());
    // Dropped, and so stopped, with this function.
    let mut sending = JoinSet::new();
    sending.spawn(Writer::new(frames, shared.clone()).run(queue));
    let mut connection = Connection {
        frames: FrameReader::new(read, shared.clone(), lane.clone(), chosen),
        state: State {
            shared,
            lane,
            dc,
            replies,
            arrived: Instant::now(),
            handshake: None,
            session: None,
            is_initialized: false,
            layer: Layer::default(),
        },
    };
    let next = connection.run().await?;
    drop(connection);
    if matches!(next, Next::Finish) {
        sending.join_next().await;
    }
    Ok(())
}

struct Connection {
    frames: FrameReader,
    state: State,
}

struct State {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    dc: i32,
    replies: mpsc::Sender<Queued>,
    /// When the packet at hand was whole.
    arrived: Instant,
    handshake: Option<Handshake>,
    session: Option<i64>,
    is_initialized: bool,
    layer: Layer,
}

impl Connection {
    async fn run(&mut self) -> Result<Next> {
        loop {
            let packet = self.frames.next().await?;
            self.state.arrived = Instant::now();
            match self.state.take_packet(packet).await? {
                Next::Go => {}
                next => return Ok(next),
            }
        }
    }
}

/// The messages in a packet, out of their containers and unpacked.
fn messages(id: i64, body: Bytes, found: &mut Vec<(i64, Bytes)>) -> Result<()> {
    match constructor(&body)? {
        MESSAGE_CONTAINER => {
            let mut cursor = Cursor::from_slice(&body[4..]);
            let count = u32::deserialize(&mut cursor)?;
            let mut at = 4 + cursor.pos();
            for _ in 0..count {
                let mut cursor = Cursor::from_slice(&body[at..]);
                let id = i64::deserialize(&mut cursor)?;
                let _sequence = i32::deserialize(&mut cursor)?;
                let length = usize::try_from(u32::deserialize(&mut cursor)?)?;
                let start = at + cursor.pos();
                ensure!(
                    length <= body.len() - start,
                    "a message leaves its container"
                );
                let inner = body.slice(start..start + length);
                ensure!(
                    constructor(&inner)? != MESSAGE_CONTAINER,
                    "a container in a container"
                );
                messages(id, inner, found)?;
                at = start + length;
            }
        }
        GZIP_PACKED => {
            let packed = Vec::<u8>::from_bytes(&body[4..])?;
            let mut plain = Vec::new();
            GzDecoder::new(&packed[..])
                .take(MAX_UNPACKED_BYTES)
                .read_to_end(&mut plain)?;
            let plain = Bytes::from(plain);
            let inner = constructor(&plain)?;
            ensure!(
                inner != GZIP_PACKED && inner != MESSAGE_CONTAINER,
                "packed messages in packed messages"
            );
            found.push((id, plain));
        }
        _ => found.push((id, body)),
    }
    Ok(())
}

fn constructor(body: &[u8]) -> Result<u32> {
    let id = body
        .first_chunk::<4>()
        .context("a message without a name")?;
    Ok(u32::from_le_bytes(*id))
}

/// The error code of a message id that the server does not take.
fn message_id_error(id: i64, now: Duration) -> Option<i32> {
    let ahead = (id >> 32) - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if ahead < -MAX_BEHIND {
        Some(16)
    } else if ahead > MAX_AHEAD {
        Some(17)
    } else if id % 4 != 0 {
        Some(18)
    } else {
        None
    }
}

impl State {
    async fn queue(&self, reply: Reply) -> Result<()> {
        let due = self.arrived + self.shared.controls.shape().latency;
        self.replies
            .send(Queued { due, reply })
            .await
            .ok()
            .context("the client no longer reads")
    }

    async fn take_packet(&mut self, mut packet: Vec<u8>) -> Result<Next> {
        let key_id = packet
            .first_chunk::<8>()
            .context("a packet without a key")?;
        let key_id = i64::from_le_bytes(*key_id);
        if key_id == 0 {
            return self.take_plain(&packet).await;
        }
        let known = self.shared.world().key(self.dc, key_id).cloned();
        let Some(known) = known else {
            self.queue(Reply::Status(UNKNOWN_KEY)).await?;
            return Ok(Next::Finish);
        };
        if let Some(bot) = known.bot {
            self.lane.belongs_to(bot);
        }
        let (header, body) = cipher::open(&mut packet, &known.key)?;
        let to = Recipient {
            key: known.key,
            key_id,
            session: header.session,
        };
        let body = Bytes::from(packet).slice(body);
        let now = self.shared.controls.message_time();
        if let Some(notice) = objection(&header, key_id, now) {
            let body = notice.to_bytes();
            self.queue(Reply::Service { to, body }).await?;
            return Ok(Next::Go);
        }
        if self.session != Some(header.session) {
            self.session = Some(header.session);
            let created = enums::NewSession::Created(types::NewSessionCreated {
                first_msg_id: header.message_id,
                unique_id: header.session,
                server_salt: salts::current(key_id),
            });
            let body = created.to_bytes();
            self.queue(Reply::Notice {
                to: to.clone(),
                body,
            })
            .await?;
        }
        let mut found = Vec::new();
        messages(header.message_id, body, &mut found)?;
        for (id, body) in found {
            match self.take_message(&to, id, body).await? {
                Next::Go => {}
                next => return Ok(next),
            }
        }
        Ok(Next::Go)
    }

    async fn take_plain(&mut self, packet: &[u8]) -> Result<Next> {
        let body = packet.get(20..).context("a plain packet is cut off")?;
        match self.shared.controls.fault_of_start("handshake", None) {
            None => {}
            Some(Fault::Stall) => return Ok(Next::Go),
            Some(Fault::TooMany) => {
                self.queue(Reply::Status(TOO_MANY)).await?;
                return Ok(Next::Finish);
            }
            Some(_) => return Ok(Next::Drop),
        }
        let step = handshake::step(&mut self.handshake, body)?;
        if let Some(key) = step.auth_key {
            self.shared.controls.count("handshake");
            self.shared.world().add_key(self.dc, &key)?;
        }
        self.queue(Reply::Plain(step.answer)).await?;
        Ok(Next::Go)
    }

    async fn take_message(&mut self, to: &Recipient, id: i64, body: Bytes) -> Result<Next> {
        let name = constructor(&body)?;
        let mut rest = Cursor::from_slice(&body[4..]);
        let reply = match name {
            types::MsgsAck::CONSTRUCTOR_ID
            | types::MsgsStateReq::CONSTRUCTOR_ID
            | types::MsgResendReq::CONSTRUCTOR_ID
            | functions::DestroyAuthKey::CONSTRUCTOR_ID => return Ok(Next::Go),
            functions::Ping::CONSTRUCTOR_ID | functions::PingDelayDisconnect::CONSTRUCTOR_ID => {
                enums::Pong::Pong(types::Pong {
                    msg_id: id,
                    ping_id: i64::deserialize(&mut rest)?,
                })
                .to_bytes()
            }
            functions::GetFutureSalts::CONSTRUCTOR_ID => {
                salts::future(to.key_id, id, i32::deserialize(&mut rest)?).to_bytes()
            }
            functions::DestroySession::CONSTRUCTOR_ID => {
                enums::DestroySessionRes::from(types::DestroySessionOk {
                    session_id: i64::deserialize(&mut rest)?,
                })
                .to_bytes()
            }
            _ => return self.take_call(to, id, body).await,
        };
        let to = to.clone();
        self.queue(Reply::Service { to, body: reply }).await?;
        Ok(Next::Go)
    }

    async fn take_call(&mut self, to: &Recipient, id: i64, body: Bytes) -> Result<Next> {
        let call = match Call::unwrap(body, self.shared.options.api_id) {
            Ok(call) => call,
            Err(refusal) => return self.answer(to, id, Err(refusal)).await,
        };
        self.is_initialized |= call.initializes;
        self.layer = call.layer.unwrap_or(self.layer);
        if !self.is_initialized {
            let refusal = Refusal::bad("CONNECTION_NOT_INITED");
            return self.answer(to, id, Err(refusal)).await;
        }
        let method = call.method();
        self.shared.controls.count(method);
        // Asked anew, since a call before this one may have signed in.
        let bot = self
            .shared
            .world()
            .key(self.dc, to.key_id)
            .and_then(|known| known.bot);
        let fault = if call.starts() || bot.is_none() {
            self.shared.controls.fault_of_start(method, bot)
        } else {
            self.shared.controls.fault_of_call(method, bot)
        };
        match fault {
            None | Some(Fault::DropAfter) => {}
            Some(fault) => {
                if let Some(next) = self.suffer(fault, &call, bot, to, id).await? {
                    return Ok(next);
                }
            }
        }
        let outcome = call.run(Caller {
            shared: &self.shared,
            dc: self.dc,
            key_id: to.key_id,
            bot,
        });
        if fault == Some(Fault::DropAfter) {
            return Ok(Next::Drop);
        }
        self.answer(to, id, outcome).await
    }

    /// Names another data center than this one.
    fn elsewhere(&self, bot: Option<Bot>) -> Refusal {
        // Who is not signed in asks for the home of a user.
        let what = bot.map_or("USER", |_| "FILE");
        let addresses = self.shared.addresses();
        let other = addresses.iter().find(|(id, _)| *id != self.dc);
        Refusal::elsewhere(what, other.map_or(self.dc, |(id, _)| *id))
    }

    /// Lets a fault happen. `None` if the call runs all the same, to meet what the fault did.
    async fn suffer(
        &mut self,
        fault: Fault,
        call: &Call,
        bot: Option<Bot>,
        to: &Recipient,
        id: i64,
    ) -> Result<Option<Next>> {
        let wait = |what, seconds| Refusal::wait(what, u64::from(seconds));
        let refusal = match fault {
            Fault::Flood(seconds) => wait("FLOOD_WAIT", seconds),
            Fault::PremiumFlood(seconds) => wait("FLOOD_PREMIUM_WAIT", seconds),
            Fault::SlowMode(seconds) => wait("SLOWMODE_WAIT", seconds),
            Fault::Internal => Refusal::internal(),
            Fault::Timeout => Refusal::timeout(),
            Fault::Elsewhere => self.elsewhere(bot),
            Fault::DropBefore => return Ok(Some(Next::Drop)),
            Fault::DropAfter => return Ok(None),
            Fault::Stall => {
                let ack = enums::MsgsAck::Ack(types::MsgsAck { msg_ids: vec![id] });
                let (to, body) = (to.clone(), ack.to_bytes());
                self.queue(Reply::Service { to, body }).await?;
                return Ok(Some(Next::Go));
            }
            Fault::TooMany => {
                self.queue(Reply::Status(TOO_MANY)).await?;
                return Ok(Some(Next::Finish));
            }
            Fault::ForgetKey => {
                let event = Event::KeyForgotten {
                    dc: self.dc,
                    id: to.key_id,
                };
                self.shared.world().record(event)?;
                self.queue(Reply::Status(UNKNOWN_KEY)).await?;
                return Ok(Some(Next::Finish));
            }
            Fault::SignOut => {
                let event = Event::SignedOut {
                    dc: self.dc,
                    id: to.key_id,
                };
                self.shared.world().record(event)?;
                Refusal::unauthorized("AUTH_KEY_UNREGISTERED")
            }
            Fault::Expire => {
                if let (Some(bot), Some(document)) = (bot, call.document()) {
                    self.shared.world().expire_references(bot, document);
                }
                return Ok(None);
            }
            Fault::MissingPart => {
                if let (Some(bot), Some(file)) = (bot, call.upload()) {
                    let choose = self.shared.controls.plan(|plan| plan.pick(usize::MAX));
                    self.shared
                        .world()
                        .uploads()?
                        .lose_part((bot, file), choose);
                }
                return Ok(None);
            }
        };
        self.answer(to, id, Err(refusal)).await.map(Some)
    }

    async fn answer(
        &self,
        to: &Recipient,
        call: i64,
        outcome: Result<Answer, Refusal>,
    ) -> Result<Next> {
        let mut answer = outcome.unwrap_or_else(|refusal| Answer::Object(refusal.to_bytes()));
        if let Answer::Object(bytes) = &mut answer {
            self.layer.rename(bytes);
        }
        let to = to.clone();
        self.queue(Reply::Result { to, call, answer }).await?;
        Ok(Next::Go)
    }
}

/// Returns the objection of the server to a packet, from its header alone.
fn objection(header: &Header, key_id: i64, now: Duration) -> Option<enums::BadMsgNotification> {
    if !salts::is_valid(key_id, header.salt) {
        return Some(enums::BadMsgNotification::BadServerSalt(
            types::BadServerSalt {
                bad_msg_id: header.message_id,
                bad_msg_seqno: header.sequence,
                error_code: 48,
                new_server_salt: salts::current(key_id),
            },
        ));
    }
    message_id_error(header.message_id, now).map(|error_code| {
        enums::BadMsgNotification::Notification(types::BadMsgNotification {
            bad_msg_id: header.message_id,
            bad_msg_seqno: header.sequence,
            error_code,
        })
    })
}
