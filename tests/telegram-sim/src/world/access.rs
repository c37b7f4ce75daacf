//! Hashes and references: what proves that a bot was shown a channel or a document. Each is one bot's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::stable_hash;
use crate::options::{Bot, Channel};

/// Bytes of a reference: time of issue, generation, tag.
const REFERENCE_BYTES: usize = 8 + 4 + 8;

/// Returns the access hash that a bot must show with a channel's id.
pub(crate) fn channel_hash(bot: Bot, channel: Channel) -> i64 {
    stable_hash(("channel", bot, channel))
}

/// Returns the access hash that a bot must show with a document's id.
pub(crate) fn document_hash(bot: Bot, document: i64) -> i64 {
    stable_hash(("document", bot, document))
}

/// Returns the access hash that a bot must show with a user's id.
pub(crate) fn user_hash(bot: Bot, user: i64) -> i64 {
    stable_hash(("user", bot, user))
}

fn milliseconds_now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn tag(bot: Bot, document: i64, issued: u64, generation: u32) -> [u8; 8] {
    stable_hash(("reference", bot, document, issued, generation)).to_le_bytes()
}

/// A fresh reference.
pub(crate) fn reference(bot: Bot, document: i64, generation: u32) -> Vec<u8> {
    let issued = milliseconds_now();
    let mut bytes = Vec::with_capacity(REFERENCE_BYTES);
    bytes.extend(issued.to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    bytes.extend(tag(bot, document, issued, generation));
    bytes
}

/// Validity of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    /// Too old, from before it expired, or another bot's.
    Expired,
    /// Never was one.
    Invalid,
}

/// Returns whether this bot can use the reference for this document now.
pub(crate) fn standing(
    bytes: &[u8],
    bot: Bot,
    document: i64,
    generation: u32,
    lifetime: Duration,
) -> Standing {
    let Some((issued, rest)) = bytes.split_first_chunk::<8>() else {
        return Standing::Invalid;
    };
    let Some((theirs, rest)) = rest.split_first_chunk::<4>() else {
        return Standing::Invalid;
    };
    if rest.len() != 8 {
        return Standing::Invalid;
    }
    let issued = u64::from_le_bytes(*issued);
    let theirs = u32::from_le_bytes(*theirs);
    let age = Duration::from_millis(milliseconds_now().saturating_sub(issued));
    if rest == tag(bot, document, issued, theirs) && theirs == generation && age < lifetime {
        Standing::Live
    } else {
        Standing::Expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_one_bots_for_one_document_and_a_time() {
        let hour = Duration::from_secs(3600);
        let bytes = reference(Bot(1), 9, 0);
        let of = |bot, document, generation, lifetime| {
            standing(&bytes, bot, document, generation, lifetime)
        };
        assert_eq!(of(Bot(1), 9, 0, hour), Standing::Live);
        assert_eq!(of(Bot(2), 9, 0, hour), Standing::Expired);
        assert_eq!(of(Bot(1), 8, 0, hour), Standing::Expired);
        assert_eq!(of(Bot(1), 9, 1, hour), Standing::Expired);
        assert_eq!(of(Bot(1), 9, 0, Duration::ZERO), Standing::Expired);
        assert_eq!(standing(b"nothing", Bot(1), 9, 0, hour), Standing::Invalid);
    }
}
