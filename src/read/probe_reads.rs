//! Pins the blocks that scanners such as ffprobe read of a film, so that the next scan reads nothing
//! from the remote.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::locate::{ExtentLookup, ReadLocation, locate};
use crate::cache::BlockCache;
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, PackRef};
use crate::spool::Spool;
use crate::sync::MutexExt as _;

/// Most blocks that a scanner reads, 10 MiB: ffprobe reads up to 5,000,000 bytes from the start of a
/// film, then its end and its tables, and the kernel reads ahead up to 2 MiB more.
const MOST_BLOCKS: u64 = 20;
/// A scanner reads at most one part in this many of a file.
const PART: u64 = 2;

/// The blocks that one handle has read, as long as they are few. They are pinned when it is dropped.
#[derive(Debug)]
pub struct ProbeReads(Mutex<ProbeState>);

#[derive(Debug)]
struct ProbeState {
    most: usize,
    blocks: Vec<(PackRef, BlockIndex)>,
    /// Cache in which the blocks are pinned. It comes with a runtime, since the handle may be closed on a
    /// thread without one.
    then: Option<(Arc<BlockCache>, Handle)>,
}

impl ProbeReads {
    /// Makes a follower of the reads of a file of `len` bytes.
    pub fn of(len: u64) -> Self {
        let most = (len / BLOCK_BYTES / PART).clamp(1, MOST_BLOCKS);
        Self::at_most(usize::try_from(most).unwrap_or(1))
    }

    /// Makes a follower of nothing.
    pub const fn none() -> Self {
        Self::at_most(0)
    }

    const fn at_most(most: usize) -> Self {
        Self(Mutex::new(ProbeState {
            most,
            blocks: Vec::new(),
            then: None,
        }))
    }

    /// Records a read that is about to be answered. Must be called inside a tokio runtime.
    pub fn note(
        &self,
        cache: &Arc<BlockCache>,
        spool: &Spool,
        range: ByteRange,
        source: ExtentLookup<'_>,
    ) {
        let mut state = self.0.acquire();
        if state.most == 0 || !cache.has_pins() {
            return;
        }
        let Some((extents, blobs)) = source(range) else {
            return;
        };
        for place in locate(&extents, &blobs, |id| spool.get(id)).unwrap_or_default() {
            let ReadLocation::Pack { pack, offset, .. } = place else {
                continue;
            };
            let Ok(number) = u32::try_from(offset / BLOCK_BYTES) else {
                continue;
            };
            let block = BlockIndex(number);
            let is_known =
                |known: &(PackRef, BlockIndex)| known.1 == block && known.0.id == pack.id;
            if state.blocks.iter().any(is_known) {
                continue;
            }
            if state.blocks.len() == state.most {
                // The handle reads on, so its reader is not a scanner.
                state.most = 0;
                state.blocks = Vec::new();
                return;
            }
            state.blocks.push((pack, block));
            let then = || (Arc::clone(cache), Handle::current());
            state.then.get_or_insert_with(then);
        }
    }
}

impl Drop for ProbeReads {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((cache, runtime)) = state.then.take()
            && !state.blocks.is_empty()
        {
            let _inside = runtime.enter();
            cache.pin_read(std::mem::take(&mut state.blocks));
        }
    }
}
