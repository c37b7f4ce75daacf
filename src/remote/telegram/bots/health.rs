//! Health of one bot. A bot is left alone when it was told to wait or keeps failing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::sync::MutexExt as _;

/// Failures in a row, waits not counted, after which a bot is left out for a while.
const FAILURES: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Health of one bot, kept apart for each purpose.
#[derive(Debug)]
pub struct BotHealth {
    /// Number of the bot, for the log.
    bot: u32,
    by_purpose: Mutex<HashMap<CallPurpose, PurposeHealth>>,
}

#[derive(Debug, Default, Clone)]
struct PurposeHealth {
    /// Number of failures in a row.
    failures: u32,
    /// Time until which the bot is left alone.
    aside_until: Option<Instant>,
    warned: bool,
    /// The last of several errors in a row, for people.
    trouble: Option<String>,
}

impl BotHealth {
    /// Makes the health of a bot that has made no call yet.
    pub fn new(bot: u32) -> Self {
        Self {
            bot,
            by_purpose: Mutex::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CallPurpose, PurposeHealth>> {
        self.by_purpose.acquire()
    }

    /// Returns how long the bot shall be left alone; `None` when it need not be.
    pub fn aside(&self, purpose: CallPurpose) -> Option<Duration> {
        let until = self.entries().get(&purpose.health())?.aside_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Leaves the bot alone for `wait`.
    pub fn set_aside(&self, purpose: CallPurpose, wait: Duration) {
        let until = Instant::now() + wait;
        let mut entries = self.entries();
        let health = entries.entry(purpose.health()).or_default();
        health.aside_until = health.aside_until.max(Some(until));
    }

    /// Returns what goes wrong now, a line for people for each purpose.
    pub fn troubles(&self) -> Vec<String> {
        let entries = self.entries();
        let troubles = entries
            .values()
            .filter_map(|health| health.trouble.as_deref());
        let mut lines: Vec<String> = troubles
            .map(|trouble| format!("bot {} keeps failing: {trouble}", self.bot))
            .collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// Notes a call that succeeded.
    pub fn note_success(&self, purpose: CallPurpose) {
        let mut entries = self.entries();
        if let Some(health) = entries.get_mut(&purpose.health())
            && health.failures > 0
        {
            if health.warned {
                tracing::info!(bot = self.bot, "works again");
            }
            *health = PurposeHealth::default();
        }
    }

    /// Notes a call that failed. Only waits and errors of the connection, the sign-in or the service itself
    /// count. The service may fail with one message and work for all others, so a bot is not left out for
    /// errors of the service.
    pub fn note_error(&self, purpose: CallPurpose, error: &CallError) {
        if let Some(wait) = error.wait() {
            tracing::debug!(bot = self.bot, ?wait, "told to wait");
            self.set_aside(purpose, wait);
            return;
        }
        let broken = matches!(
            error,
            CallError::Disconnected(_) | CallError::TimedOut(_) | CallError::Transport(_)
        ) || error.is_signed_out();
        if !broken && !error.is_service_fault() {
            return;
        }
        let mut entries = self.entries();
        let health = entries.entry(purpose.health()).or_default();
        health.failures = health.failures.saturating_add(1);
        if health.failures < FAILURES {
            return;
        }
        health.trouble = Some(error.explain());
        if !broken {
            if !std::mem::replace(&mut health.warned, true) {
                tracing::warn!(bot = self.bot, %error, "the service keeps failing; tgfs repeats with growing pauses");
            }
            return;
        }
        let doublings = (health.failures - FAILURES).min(10);
        let rest = (FIRST_REST * 2_u32.saturating_pow(doublings)).min(LONGEST_REST);
        health.aside_until = Some(Instant::now() + rest);
        if !std::mem::replace(&mut health.warned, true) {
            tracing::warn!(bot = self.bot, %error, "keeps failing and is left out for now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bot_that_keeps_failing_rests_ever_longer_and_recovers_at_once() {
        let health = BotHealth::new(1);
        let lost = CallError::Disconnected("the connection ended".into());
        for _ in 0..2 {
            health.note_error(CallPurpose::Read, &lost);
        }
        assert_eq!(health.aside(CallPurpose::Read), None);
        health.note_error(CallPurpose::Read, &lost);
        assert_eq!(health.aside(CallPurpose::Read), Some(FIRST_REST));
        health.note_error(CallPurpose::Ahead, &lost);
        assert_eq!(health.aside(CallPurpose::Read), Some(FIRST_REST * 2));
        assert_eq!(health.aside(CallPurpose::Write), None);
        health.note_success(CallPurpose::Read);
        assert_eq!(health.aside(CallPurpose::Read), None);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_the_service_are_told_until_a_call_succeeds() {
        let health = BotHealth::new(3);
        for _ in 0..3 {
            assert!(health.troubles().is_empty());
            health.note_error(CallPurpose::Post, &CallError::rpc(500, "INTERNAL"));
        }
        assert_eq!(health.troubles(), ["bot 3 keeps failing: INTERNAL"]);
        assert_eq!(health.aside(CallPurpose::Post), None);
        health.note_success(CallPurpose::Post);
        assert!(health.troubles().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_service_asks_for_is_no_failure() {
        let health = BotHealth::new(1);
        health.note_error(CallPurpose::Post, &CallError::rpc(420, "FLOOD_WAIT_31"));
        assert_eq!(
            health.aside(CallPurpose::Post),
            Some(Duration::from_secs(31))
        );
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(health.aside(CallPurpose::Post), None);
    }
}
