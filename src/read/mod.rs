//! The read path. It resolves a range of a file to zeros, the spool and blocks of packs, and returns
//! exactly these bytes or an error.

mod ahead;
mod locate;
mod probe_reads;
mod window;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::cache::BlockCache;
use crate::model::{
    BLOCK_BYTES, Blob, BlockIndex, ErrorKind, Extent, FsError, FsResult, PackRef, Pieces,
};
use crate::spool::{Spool, SpoolFile};
use ahead::Ahead;
pub use ahead::{AheadLimits, Follower, Leaving, ReadReach, Reading};
pub use locate::ExtentLookup;
use locate::{ReadLocation, locate};

/// Blocks that one read fetches in parallel. Kernel reads span at most three blocks, and HTTP reads
/// 512 KiB at a time.
const PARALLEL_BLOCKS: usize = 4;

/// A reader of extents, from the spool, the cache or the remote.
#[derive(Debug, Clone)]
pub struct ExtentReader {
    spool: Arc<Spool>,
    cache: Arc<BlockCache>,
    ahead: Arc<Ahead>,
    /// Longest time that a read may take.
    deadline: Duration,
}

impl ExtentReader {
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        cache: Arc<BlockCache>,
        deadline: Duration,
        limits: AheadLimits,
    ) -> Self {
        let ahead = Ahead::new(Arc::clone(&cache), Arc::clone(&spool), limits);
        Self {
            spool,
            cache,
            ahead,
            deadline,
        }
    }

    /// Returns the block cache that it reads through.
    #[must_use]
    pub const fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// Records a read that is about to be made through a handle. When the read is part of a sequence,
    /// starts to fetch the blocks that follow. Never waits. Must be called inside a tokio runtime.
    pub fn follow(&self, follower: &Follower, reading: Reading, source: ExtentLookup<'_>) {
        follower
            .probe_reads()
            .note(&self.cache, &self.spool, reading.range, source);
        self.ahead.follow(follower, reading, source);
    }

    /// Returns all bytes of `extents` in order, in one buffer.
    ///
    /// # Errors
    /// See [`Self::read_pieces`].
    pub async fn read(&self, extents: &[Extent], blobs: &[Blob]) -> FsResult<Bytes> {
        self.read_pieces(extents, blobs).await.map(Pieces::joined)
    }

    /// Returns all bytes of `extents` in order, in the buffers that they are in.
    ///
    /// # Errors
    /// `RemoteUnavailable` when the remote is down or slower than the deadline, `Corrupt` when its
    /// bytes are not those that were stored, `Io` when the local disk fails or a blob is nowhere.
    pub async fn read_pieces(&self, extents: &[Extent], blobs: &[Blob]) -> FsResult<Pieces> {
        let places = locate(extents, blobs, |id| self.spool.get(id))?;
        let reading = self.read_places(places);
        match tokio::time::timeout(self.deadline, reading).await {
            Ok(result) => result,
            Err(_) => Err(FsError::new(
                ErrorKind::RemoteUnavailable,
                format!(
                    "the remote did not answer within {} s",
                    self.deadline.as_secs()
                ),
            )),
        }
    }

    async fn read_places(&self, places: Vec<ReadLocation>) -> FsResult<Pieces> {
        let steps = steps_of(places)?;
        let mut parts = stream::iter(steps)
            .map(|step| self.take(step))
            .buffered(PARALLEL_BLOCKS);
        let mut pieces = Pieces::default();
        while let Some(part) = parts.try_next().await? {
            pieces.append(part);
        }
        Ok(pieces)
    }

    async fn take(&self, step: ReadStep) -> FsResult<Pieces> {
        match step {
            ReadStep::Zeros(len) => Ok(Bytes::from(vec![0; len]).into()),
            ReadStep::Spool { file, offset, len } => {
                read_spool(file, offset, len).await.map(Pieces::from)
            }
            ReadStep::Block { pack, block, parts } => {
                let bytes = self
                    .cache
                    .block(&pack, block)
                    .await
                    .map_err(|e| FsError::from(&*e))?;
                let mut pieces = Pieces::default();
                for part in parts {
                    if part.end > bytes.len() {
                        return Err(FsError::new(
                            ErrorKind::Corrupt,
                            format!("pack {}: block {} is too short", pack.id, block.0),
                        ));
                    }
                    pieces.push(bytes.slice(part));
                }
                Ok(pieces)
            }
        }
    }
}

/// One step of a read. Neighbouring parts of a block are one step, so a segment of dozens of
/// samples requests each of its blocks once.
#[derive(Debug)]
enum ReadStep {
    Zeros(usize),
    Spool {
        file: Arc<SpoolFile>,
        offset: u64,
        len: usize,
    },
    Block {
        pack: PackRef,
        block: BlockIndex,
        parts: Vec<Range<usize>>,
    },
}

fn steps_of(places: Vec<ReadLocation>) -> FsResult<Vec<ReadStep>> {
    let mut steps: Vec<ReadStep> = Vec::new();
    for place in places {
        match place {
            ReadLocation::Zeros(len) => steps.push(ReadStep::Zeros(len)),
            ReadLocation::Spool { file, offset, len } => {
                steps.push(ReadStep::Spool { file, offset, len })
            }
            ReadLocation::Pack { pack, offset, len } => {
                let block = BlockIndex(u32::try_from(offset / BLOCK_BYTES).map_err(|_| {
                    FsError::new(
                        ErrorKind::Corrupt,
                        format!("pack {}: no block there", pack.id),
                    )
                })?);
                let from = usize::try_from(offset % BLOCK_BYTES).unwrap_or(usize::MAX);
                let part = from..from.saturating_add(len);
                match steps.last_mut() {
                    Some(ReadStep::Block {
                        pack: same,
                        block: last,
                        parts,
                    }) if same.id == pack.id && *last == block => parts.push(part),
                    _ => steps.push(ReadStep::Block {
                        pack,
                        block,
                        parts: vec![part],
                    }),
                }
            }
        }
    }
    Ok(steps)
}

async fn read_spool(file: Arc<SpoolFile>, offset: u64, len: usize) -> FsResult<Bytes> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; len];
        file.read_exact_at(&mut buffer, offset)
            .map(|()| Bytes::from(buffer))
            .map_err(|error| {
                FsError::new(ErrorKind::Io, format!("{}: {error}", file.path.display()))
            })
    });
    reading
        .await
        .unwrap_or_else(|error| Err(FsError::caused_by(ErrorKind::Io, error)))
}
