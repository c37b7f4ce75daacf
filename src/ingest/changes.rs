//! Signal that something people can see may have changed.

use tokio::sync::watch;

/// Counter that moves whenever a state that people can see may have changed.
#[derive(Debug)]
pub struct ChangeSignal {
    count: watch::Sender<u64>,
}

impl Default for ChangeSignal {
    fn default() -> Self {
        Self {
            count: watch::Sender::new(0),
        }
    }
}

impl ChangeSignal {
    /// Wakes all receivers that follow changes.
    pub fn raise(&self) {
        self.count
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns a receiver that wakes at each change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}
