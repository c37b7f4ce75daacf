//! Upload slots, which count the packs that each bot has under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Packs of one bot side by side. One is sent while the other one is posted and read back.
pub const SLOTS_A_BOT: usize = 2;

/// Slots of all bots. A bot is identified by its place among them.
#[derive(Debug)]
pub struct UploadSlots {
    busy: Vec<AtomicUsize>,
    freed: Notify,
}

impl UploadSlots {
    /// Makes free slots for this many bots.
    pub fn new(bots: usize) -> Self {
        Self {
            busy: (0..bots).map(|_| AtomicUsize::new(0)).collect(),
            freed: Notify::new(),
        }
    }

    /// Returns the packs that a bot has under way.
    pub fn busy(&self, place: usize) -> usize {
        self.busy
            .get(place)
            .map_or(usize::MAX, |busy| busy.load(Ordering::Relaxed))
    }

    /// Returns whether a bot has a free slot.
    pub fn has_room(&self, place: usize) -> bool {
        self.busy(place) < SLOTS_A_BOT
    }

    /// Takes a slot of a bot.
    pub fn take(self: &Arc<Self>, place: usize) -> UploadSlot {
        if let Some(busy) = self.busy.get(place) {
            busy.fetch_add(1, Ordering::Relaxed);
        }
        UploadSlot {
            slots: Arc::clone(self),
            place,
        }
    }

    /// Returns a future of the next slot that is given back after this call.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

/// Slot of one pack. It is given back when it is dropped.
#[derive(Debug)]
pub struct UploadSlot {
    slots: Arc<UploadSlots>,
    place: usize,
}

impl UploadSlot {
    /// Returns the place of the bot whose slot this is.
    pub const fn place(&self) -> usize {
        self.place
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        if let Some(busy) = self.slots.busy.get(self.place) {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
        self.slots.freed.notify_waiters();
    }
}

/// Waits for `freed`, but no longer than `limit`. A missed wake-up costs no more than that.
pub async fn wait_for(freed: Notified<'_>, limit: Duration) {
    // The caller looks again in either case.
    let _ = tokio::time::timeout(limit, freed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_given_back_when_it_is_dropped() {
        let slots = Arc::new(UploadSlots::new(1));
        let first = slots.take(0);
        let second = slots.take(0);
        assert!(!slots.has_room(0));
        assert!(!slots.has_room(1), "there is no second bot");
        let begun = tokio::time::Instant::now();
        let freed = slots.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        drop(second);
        freed.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(slots.has_room(0));
        drop(first);
        assert_eq!(slots.busy(0), 0);
    }
}
