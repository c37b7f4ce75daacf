//! The writer thread of a [`super::DiskStore`]: it scans, writes, makes room and removes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::counters::count;
use super::directory::{CachedFile, ScanStep, now};
use super::ledger::taken;
use super::limits::Eviction;
use super::state::DiskState;
use crate::disk::DirectoryLock;

/// Time between two checks of the free space while nothing is written.
const WATCH: Duration = Duration::from_secs(2);
/// The same when the free space is near the floor. A fast copy writes 200 MB in this time.
const NEAR_WATCH: Duration = Duration::from_millis(200);
const NEAR_BYTES: u64 = 4 << 30;
/// Time without writes after the disk failed.
const PAUSE: Duration = Duration::from_secs(30);

/// A file to be written.
pub struct WriteOffer {
    pub file: CachedFile,
    pub bytes: Bytes,
    /// [`DiskState::generation`] at the time of the offer.
    pub generation: u64,
}

/// A request to the writer thread.
pub enum WriterRequest {
    /// Write a file.
    Write(WriteOffer),
    /// Look for files that are marked for removal.
    Wake,
    /// Finish the requests before this one, answer, and end.
    Stop(Sender<()>),
}

/// Trouble of a disk that failed or is full.
#[derive(Default)]
struct DiskTrouble {
    /// True once it was logged. The next successful write resets it.
    is_told: bool,
    until: Option<Instant>,
}

impl DiskTrouble {
    /// Calls `tell` once until something is written again.
    fn tell(&mut self, tell: impl FnOnce()) {
        if !std::mem::replace(&mut self.is_told, true) {
            tell();
        }
    }
}

/// Reason why a file is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoom {
    InTheBudget,
    OnTheDisk,
}

/// The thread's own state.
pub struct CacheWriter {
    state: Arc<DiskState>,
    trouble: DiskTrouble,
    /// Unlocked when the thread ends.
    lock: DirectoryLock,
}

impl CacheWriter {
    /// Makes the writer of a directory that is locked by `lock`.
    pub fn new(state: Arc<DiskState>, lock: DirectoryLock) -> Self {
        Self {
            state,
            trouble: DiskTrouble::default(),
            lock,
        }
    }

    /// Scans the directory and serves requests until it is told to stop or all senders are gone.
    pub fn run(mut self, requests: &Receiver<WriterRequest>) {
        self.scan();
        loop {
            let request = requests.recv_timeout(self.watch());
            for file in self.state.take_doomed() {
                self.state.remove_file(file);
            }
            match request {
                Ok(WriterRequest::Write(offer)) => self.write(&offer),
                Ok(WriterRequest::Wake) => {}
                Ok(WriterRequest::Stop(done)) => {
                    drop(self.lock);
                    // The sender of the request may not wait any more.
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Too little room matters only when something is to be written.
                    let _ = self.make_room(0);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes in the files of the last run.
    fn scan(&self) {
        let begun = Instant::now();
        let state = &self.state;
        let mut files = 0_u64;
        let scanned = state.directory.scan(&mut |file, len, used| {
            let scan = state.start_scan.lock();
            let mut dropped = scan.dropped.iter();
            if dropped.any(|selection| selection.takes(file, used)) {
                state.doom([file]);
                return ScanStep::Continue;
            }
            if state.is_stopping() && scan.dropped.is_empty() {
                return ScanStep::Stop;
            }
            files += 1;
            state.ledger().insert(file, len, used);
            ScanStep::Continue
        });
        let directory = state.directory.root().display();
        if let Err(error) = scanned {
            tracing::warn!(%directory, %error, "the cache directory cannot be scanned completely; files not seen are not used");
        }
        tracing::debug!(%directory, files, time = ?begun.elapsed(), "scanned the cache directory");
        state.start_scan.finish();
        // The limits may be lower than in the last run.
        let _ = self.make_room(0);
        state.start_scan.notify();
    }

    fn watch(&self) -> Duration {
        let near = self.state.limits.floor.saturating_add(NEAR_BYTES);
        let is_near = self.state.directory.free() < near && self.state.ledger().bytes() > 0;
        if is_near { NEAR_WATCH } else { WATCH }
    }

    fn write(&mut self, offer: &WriteOffer) {
        let state = Arc::clone(&self.state);
        let file = offer.file;
        let is_wanted = || state.generation() == offer.generation;
        if !is_wanted() || state.ledger().contains(file) {
            return;
        }
        if self
            .trouble
            .until
            .is_some_and(|until| Instant::now() < until)
        {
            return count(&state.counters.unwritten, 1);
        }
        if let Err(reason) = self.make_room(taken(offer.bytes.len() as u64)) {
            count(&state.counters.unwritten, 1);
            return self.trouble.tell(|| tell_no_room(&state, reason));
        }
        let now = now();
        match state.directory.write(file, &offer.bytes) {
            Ok(()) => {
                let mut ledger = state.ledger();
                if !is_wanted() {
                    drop(ledger);
                    return state.doom([file]);
                }
                ledger.insert(file, offer.bytes.len() as u64, now);
                drop(ledger);
                count(&state.counters.written_bytes, offer.bytes.len() as u64);
                self.trouble = DiskTrouble::default();
            }
            Err(error) => {
                count(&state.counters.unwritten, 1);
                self.trouble.until = Some(Instant::now() + PAUSE);
                self.trouble.tell(|| {
                    let directory = state.directory.root().display();
                    tracing::warn!(%directory, %error, "the cache directory cannot be written; trying again later");
                });
            }
        }
    }

    /// Removes files until `incoming` more bytes are within budget and floor.
    fn make_room(&self, incoming: u64) -> Result<(), NoRoom> {
        let state = &self.state;
        let limits = &state.limits;
        let free = state.directory.free();
        // The free space is read once: some file systems report removed files late.
        let mut too_many = limits.floor.saturating_add(incoming).saturating_sub(free);
        loop {
            let (over, oldest) = {
                let ledger = state.ledger();
                let over = (ledger.bytes() + incoming).saturating_sub(limits.budget);
                (over, ledger.oldest())
            };
            if over == 0 && too_many == 0 {
                return Ok(());
            }
            let reason = match too_many {
                0 => NoRoom::InTheBudget,
                _ => NoRoom::OnTheDisk,
            };
            let (used, file) = oldest.ok_or(reason)?;
            // Others need the free space of the floor more.
            let may_go = match limits.eviction {
                Eviction::Oldest => true,
                Eviction::Unused(time) => {
                    too_many > 0 || u128::from(now().saturating_sub(used)) >= time.as_millis()
                }
            };
            if !may_go {
                return Err(reason);
            }
            let bytes = state.ledger().remove(file).unwrap_or_default();
            too_many = too_many.saturating_sub(bytes);
            count(&state.counters.evictions, 1);
            state.remove_file(file);
        }
    }
}

fn tell_no_room(state: &DiskState, reason: NoRoom) {
    let directory = state.directory.root().display();
    match reason {
        NoRoom::OnTheDisk => {
            tracing::warn!(%directory, "the disk is nearly full: nothing is cached there");
        }
        NoRoom::InTheBudget => {
            let bytes = state.limits.budget;
            tracing::info!(%directory, bytes, "the cache is full of files in use; new blocks are not cached");
        }
    }
}
