//! Calls of one connection whose answers are awaited.

use std::collections::VecDeque;

use bytes::Bytes;
use grammers_mtproto::MsgId;
use grammers_mtproto::mtp::{Deserialization, Encrypted};
use grammers_tl_types::{Identifiable, Serializable, functions};
use tokio::sync::oneshot;

use super::call_error::CallError;
use super::packets::Packets;

/// Seconds after which the server ends a connection that sends no more pings.
const PING_DISCONNECT: i32 = 75;

/// Request, and who awaits its answer.
pub struct Call {
    /// Bytes of the request.
    pub body: Bytes,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Vec<u8>, CallError>>,
}

struct Pending {
    call: Call,
    sent: Option<Sent>,
}

impl Pending {
    fn is_ping(&self) -> bool {
        let ping = functions::PingDelayDisconnect::CONSTRUCTOR_ID.to_le_bytes();
        self.call.body.starts_with(&ping)
    }
}

#[derive(Clone, Copy)]
struct Sent {
    id: MsgId,
    /// Id of the packet that held it.
    container: MsgId,
}

/// Calls whose answers are awaited, in the order in which they were made.
#[derive(Default)]
pub struct PendingCalls {
    calls: VecDeque<Pending>,
    pings: i64,
}

impl PendingCalls {
    /// Returns the number of calls.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Adds a call.
    pub fn add(&mut self, call: Call) {
        self.calls.push_back(Pending { call, sent: None });
    }

    /// Adds a ping. It takes the place of an earlier one, since any bytes of the server are enough.
    pub fn add_ping(&mut self) {
        self.calls.retain(|pending| !pending.is_ping());
        self.pings += 1;
        let ping = functions::PingDelayDisconnect {
            ping_id: self.pings,
            disconnect_delay: PING_DISCONNECT,
        };
        // Nobody awaits the pong.
        let (reply, _) = oneshot::channel();
        let body = ping.to_bytes().into();
        self.add(Call { body, reply });
    }

    /// Makes the next packet once the last one is out.
    ///
    /// # Errors
    /// See [`Packets::push`].
    pub fn fill(&mut self, packets: &mut Packets<Encrypted>) -> Result<(), CallError> {
        if packets.has_output() {
            return Ok(());
        }
        // A call that was abandoned before it was sent need not be sent.
        self.calls.retain(|pending| {
            pending.sent.is_some() || !pending.call.reply.is_closed() || pending.is_ping()
        });
        let mut first = None;
        for (at, pending) in self.calls.iter_mut().enumerate() {
            if pending.sent.is_some() {
                continue;
            }
            let Some(id) = packets.push(&pending.call.body)? else {
                break;
            };
            first = first.or(Some(at));
            pending.sent = Some(Sent { id, container: id });
        }
        let (Some(container), Some(first)) = (packets.seal()?, first) else {
            return Ok(());
        };
        for pending in self.calls.iter_mut().skip(first) {
            if let Some(sent) = &mut pending.sent
                && sent.container == sent.id
            {
                sent.container = container;
            }
        }
        Ok(())
    }

    /// Takes what the server sent: an answer, or that a packet has to be sent again.
    pub fn take(&mut self, event: Deserialization) {
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
                for pending in &mut self.calls {
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
            .calls
            .iter()
            .position(|pending| pending.sent.is_some_and(|sent| sent.id == id));
        if let Some(pending) = at.and_then(|at| self.calls.remove(at)) {
            let _ = pending.call.reply.send(outcome);
        }
    }

    /// Answers all calls with the error that ended the connection.
    pub fn fail(self, error: &CallError) {
        for pending in self.calls {
            // The caller may have gone.
            let _ = pending.call.reply.send(Err(error.clone()));
        }
    }
}
