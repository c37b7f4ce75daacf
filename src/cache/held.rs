//! Blocks that were fetched ahead of a reader: kept until it has passed them, whatever else is read
//! meanwhile, and counted by whether it ever came.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::Key;
use super::counters::Counters;
use crate::sync::MutexExt as _;

#[derive(Debug)]
enum State {
    UnderWay,
    Here(Bytes),
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// Read-aheads that want it.
    holders: usize,
    read: bool,
}

#[derive(Debug)]
pub struct HeldBlocks {
    slots: Mutex<HashMap<Key, Slot>>,
    /// Of `slots`; while it is 0 a read looks no further.
    count: AtomicUsize,
    counters: Arc<Counters>,
}

/// What a reader finds of a block that is read ahead.
#[derive(Debug)]
pub enum Found {
    Nothing,
    UnderWay,
    Here(Bytes),
}

/// One block that is fetched or kept ahead of a reader, until this is dropped. The budget of
/// `read::ahead` bounds how many there are.
#[derive(Debug)]
pub struct Held {
    key: Key,
    blocks: Arc<HeldBlocks>,
}

impl HeldBlocks {
    pub fn new(counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::default(),
            count: AtomicUsize::new(0),
            counters,
        })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.acquire()
    }

    /// Says that a block is wanted ahead.
    pub fn hold(self: &Arc<Self>, key: Key) -> Held {
        let mut slots = self.slots();
        let slot = slots.entry(key).or_insert(Slot {
            state: State::UnderWay,
            holders: 0,
            read: false,
        });
        slot.holders += 1;
        self.count.store(slots.len(), Ordering::Relaxed);
        Held {
            key,
            blocks: Arc::clone(self),
        }
    }

    /// What is there of a block; a reader takes it, so it was not fetched in vain.
    pub fn take(&self, key: Key) -> Found {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Found::Nothing;
        }
        match self.slots().get_mut(&key) {
            None => Found::Nothing,
            Some(slot) => {
                slot.read = true;
                match &slot.state {
                    State::UnderWay => Found::UnderWay,
                    State::Here(bytes) => Found::Here(bytes.clone()),
                }
            }
        }
    }

    /// Drops the bytes of blocks that were fetched; those under way come all the same.
    pub fn clear(&self, is_meant: impl Fn(&Key) -> bool) {
        for (key, slot) in self.slots().iter_mut() {
            if is_meant(key) && matches!(slot.state, State::Here(_)) {
                slot.state = State::UnderWay;
            }
        }
    }
}

impl Held {
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The bytes came.
    pub fn fill(&self, bytes: Bytes) {
        if let Some(slot) = self.blocks.slots().get_mut(&self.key) {
            slot.state = State::Here(bytes);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut slots = self.blocks.slots();
        let Some(slot) = slots.get_mut(&self.key) else {
            return;
        };
        slot.holders -= 1;
        if slot.holders > 0 {
            return;
        }
        let counters = &self.blocks.counters;
        match (&slot.state, slot.read) {
            (_, true) => counters.ahead_used.fetch_add(1, Ordering::Relaxed),
            (State::Here(_), false) => counters.ahead_wasted.fetch_add(1, Ordering::Relaxed),
            // Taken back before it came.
            (State::UnderWay, false) => 0,
        };
        slots.remove(&self.key);
        self.blocks.count.store(slots.len(), Ordering::Relaxed);
    }
}
