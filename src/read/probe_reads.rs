//! Who opens a film only to look at it: ffprobe, a library's scan. What it reads is pinned, so that
//! the next look asks the store for nothing.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::locate::{ExtentLookup, ReadLocation, locate};
use crate::cache::BlockCache;
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, PackRef};
use crate::spool::Spool;
use crate::sync::MutexExt as _;

/// Most blocks of a look, 10 MiB: ffprobe reads 5,000,000 bytes of a film that it finds odd, then its
/// end and its tables, and the kernel up to 2 MiB more.
const MOST_BLOCKS: u64 = 20;
/// A look reads less than this part of a file.
const PART: u64 = 2;

/// The reads of one handle, as long as they are few.
#[derive(Debug)]
pub struct ProbeReads(Mutex<ProbeState>);

#[derive(Debug)]
struct ProbeState {
    most: usize,
    blocks: Vec<(PackRef, BlockIndex)>,
    /// Where it ends up, from whatever thread the handle is closed.
    then: Option<(Arc<BlockCache>, Handle)>,
}

impl ProbeReads {
    /// Of a file of so many bytes.
    pub fn of(len: u64) -> Self {
        let most = (len / BLOCK_BYTES / PART).clamp(1, MOST_BLOCKS);
        Self::at_most(usize::try_from(most).unwrap_or(1))
    }

    /// Remembers nothing.
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

    /// Takes a read that is about to be answered. Inside a tokio runtime.
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
                // It reads on: no look any more.
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
