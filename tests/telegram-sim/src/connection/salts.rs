//! Server salts: each key has its own, a new one every half hour.

use std::time::{SystemTime, UNIX_EPOCH};

use grammers_tl_types::{RawVec, enums, types};

use crate::digest::stable_hash;

/// Seconds for which a salt is the newest.
const PERIOD: i64 = 30 * 60;

/// Salts that are told at once, at most.
const MAX_FUTURE: i32 = 64;

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn salt_of(key_id: i64, period: i64) -> i64 {
    stable_hash(("salt", key_id, period))
}

/// The salt of this half hour.
pub(super) fn current(key_id: i64) -> i64 {
    salt_of(key_id, now() / PERIOD)
}

/// Returns whether a message with this salt is taken: that of this half hour, the one before, or the
/// next.
pub(super) fn is_valid(key_id: i64, salt: i64) -> bool {
    let period = now() / PERIOD;
    (period - 1..=period + 1).any(|period| salt_of(key_id, period) == salt)
}

/// The answer to `get_future_salts`.
pub(super) fn future(key_id: i64, request: i64, count: i32) -> enums::FutureSalts {
    let now = now();
    let seconds = |time: i64| i32::try_from(time).unwrap_or(i32::MAX);
    let salts = (0..i64::from(count.clamp(1, MAX_FUTURE)))
        .map(|ahead| {
            let period = now / PERIOD + ahead;
            types::FutureSalt {
                valid_since: seconds(period * PERIOD),
                valid_until: seconds((period + 2) * PERIOD),
                salt: salt_of(key_id, period),
            }
        })
        .collect();
    enums::FutureSalts::Salts(types::FutureSalts {
        req_msg_id: request,
        now: seconds(now),
        salts: RawVec(salts),
    })
}
