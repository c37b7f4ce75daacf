//! The service's clock, as far as it differs from this machine's. Ids of messages carry the time, and the
//! service takes none that is far from its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use grammers_tl_types::Identifiable as _;
use grammers_tl_types::types::BadMsgNotification;

/// Bytes of a packet before its message: key id and message key, which stay encrypted, salt and session.
const BEFORE_MESSAGE: usize = 8 + 16 + 8 + 8;
/// Bytes of a message before its body: id, sequence number, length.
const BEFORE_BODY: usize = 8 + 4 + 4;
/// Bytes of a container before its messages: constructor, count.
const BEFORE_MESSAGES: usize = 4 + 4;
/// `msg_container`
const CONTAINER: u32 = 0x73f1_f8dc;
/// Codes of `bad_msg_notification` for ids whose time is wrong.
const ID_TOO_LOW: i32 = 16;
const ID_TOO_HIGH: i32 = 17;

/// Seconds that the service is ahead of this machine. It is cheap to share.
#[derive(Debug, Clone, Default)]
pub struct ServiceClock(Arc<AtomicI32>);

/// How this machine's clock stands to the service's, as an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockVerdict {
    Fine,
    Behind,
    /// The ids of a session only grow, so that it can send nothing until its last id is in the past.
    Ahead,
}

impl ServiceClock {
    /// Returns the seconds to add to this machine's clock.
    pub fn offset(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks for an objection to a message's time in a packet that was decrypted in its place, and takes over
    /// the service's time. grammers keeps objections to its own requests for itself.
    pub fn hear(&self, packet: &[u8]) -> ClockVerdict {
        let Some(message) = packet.get(BEFORE_MESSAGE..) else {
            return ClockVerdict::Fine;
        };
        let verdict = verdict_in(message);
        if verdict != ClockVerdict::Fine
            && let Some(id) = number_at(message, 0).map(i64::from_le_bytes)
        {
            self.set(id >> 32);
        }
        verdict
    }

    fn set(&self, service_seconds: i64) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
        if let Ok(offset) = i32::try_from(service_seconds - now) {
            self.0.store(offset, Ordering::Relaxed);
        }
    }
}

fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Returns what a message says, or the messages in it.
fn verdict_in(message: &[u8]) -> ClockVerdict {
    let constructor = |message: &[u8]| number_at(message, BEFORE_BODY).map(u32::from_le_bytes);
    if constructor(message) != Some(CONTAINER) {
        return verdict_of(message);
    }
    let mut rest = message
        .get(BEFORE_BODY + BEFORE_MESSAGES..)
        .unwrap_or_default();
    while constructor(rest).is_some() {
        let verdict = verdict_of(rest);
        if verdict != ClockVerdict::Fine {
            return verdict;
        }
        let len = number_at(rest, BEFORE_BODY - 4).map_or(0, u32::from_le_bytes);
        let next = usize::try_from(len).unwrap_or(usize::MAX);
        rest = rest
            .get(next.saturating_add(BEFORE_BODY)..)
            .unwrap_or_default();
    }
    ClockVerdict::Fine
}

fn verdict_of(message: &[u8]) -> ClockVerdict {
    let field = |at| number_at(message, BEFORE_BODY + at);
    if field(0).map(u32::from_le_bytes) != Some(BadMsgNotification::CONSTRUCTOR_ID) {
        return ClockVerdict::Fine;
    }
    // Before the code: constructor, id and sequence number of the bad message.
    match field(4 + 8 + 4).map(i32::from_le_bytes) {
        Some(ID_TOO_LOW) => ClockVerdict::Behind,
        Some(ID_TOO_HIGH) => ClockVerdict::Ahead,
        _ => ClockVerdict::Fine,
    }
}

#[cfg(test)]
mod tests {
    use grammers_tl_types::{Serializable as _, enums};

    use super::*;

    fn message(id: i64, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len()).unwrap();
        [&id.to_le_bytes()[..], &[0; 4], &len.to_le_bytes(), body].concat()
    }

    fn objection(error_code: i32) -> Vec<u8> {
        enums::BadMsgNotification::Notification(BadMsgNotification {
            bad_msg_id: 4,
            bad_msg_seqno: 0,
            error_code,
        })
        .to_bytes()
    }

    fn heard(message: &[u8]) -> (ClockVerdict, i32) {
        let clock = ServiceClock::default();
        let verdict = clock.hear(&[&[0; BEFORE_MESSAGE], message].concat());
        (verdict, clock.offset())
    }

    #[test]
    fn objections_to_the_time_are_heard_alone_and_among_others() {
        let hour_ago = UNIX_EPOCH.elapsed().unwrap().as_secs() - 3600;
        let id = (i64::try_from(hour_ago).unwrap() << 32) | 1;
        let within = |offset: i32| (-3601..=-3599).contains(&offset);
        let (verdict, offset) = heard(&message(id, &objection(17)));
        assert!(verdict == ClockVerdict::Ahead && within(offset), "{offset}");
        let inner = [message(1, b"pong"), message(5, &objection(16))].concat();
        let container = [&CONTAINER.to_le_bytes()[..], &2_u32.to_le_bytes(), &inner].concat();
        let (verdict, offset) = heard(&message(id, &container));
        assert!(
            verdict == ClockVerdict::Behind && within(offset),
            "{offset}"
        );
        assert_eq!(heard(&message(id, &objection(32))), (ClockVerdict::Fine, 0));
    }

    #[test]
    fn no_packet_is_too_short_or_too_odd() {
        let whole = message(1, &[&CONTAINER.to_le_bytes()[..], &[0xff; 40]].concat());
        for len in 0..whole.len() {
            assert_eq!(heard(&whole[..len]).0, ClockVerdict::Fine);
        }
    }
}
