//! Limits on the reading of one text. Subtitles come from strangers, so their readers count what they do
//! and stop when they are told to, when they take too long, or when a text makes them do more than its
//! length explains.

use std::time::{Duration, Instant};

use super::error::SubtitleError;
use crate::process::CancelFlag;

/// Longest time for one text. The largest takes a second.
const LONGEST: Duration = Duration::from_secs(120);
/// Steps between two looks at the flag and the clock.
const STEPS_BETWEEN_LOOKS: u64 = 1 << 16;
/// Most steps for each byte of a text. Reading takes fewer than ten.
const MAX_STEPS_A_BYTE: u64 = 32;
/// Steps that are allowed whatever the length of the text.
const FREE_STEPS: u64 = 1 << 16;

/// Count of the bytes that the readers of one text looked at, and what stops them.
#[derive(Debug)]
pub struct ReadingWork {
    cancel: CancelFlag,
    until: Instant,
    steps: u64,
    most: u64,
    next_look: u64,
    stopped: Option<SubtitleError>,
}

impl ReadingWork {
    /// Allows to read a text of `len` bytes until `cancel` is set.
    #[must_use]
    pub fn new(len: usize, cancel: CancelFlag) -> Self {
        Self {
            cancel,
            until: Instant::now() + LONGEST,
            steps: 0,
            most: (len as u64)
                .saturating_mul(MAX_STEPS_A_BYTE)
                .saturating_add(FREE_STEPS),
            next_look: 0,
            stopped: None,
        }
    }

    /// Counts bytes that are looked at.
    pub(super) fn step(&mut self, bytes: usize) {
        self.steps = self.steps.saturating_add(bytes as u64);
        if self.steps < self.next_look || self.stopped.is_some() {
            return;
        }
        self.next_look = self.steps + STEPS_BETWEEN_LOOKS;
        if self.cancel.is_cancelled() {
            self.stopped = Some(SubtitleError::Cancelled);
        } else if self.steps > self.most || Instant::now() > self.until {
            self.stopped = Some(SubtitleError::TooSlow);
        }
    }

    /// Returns the error that ends the reading, if one does.
    pub(super) const fn stopped(&self) -> Option<SubtitleError> {
        self.stopped
    }

    /// Returns the bytes that were looked at so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }
}
