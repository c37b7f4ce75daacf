//! Packs on their way to the remote: their number at a time, their size, and their sealing side by side.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::openings::Openings;
use crate::cache::BlockCache;
use crate::failpoint;
use crate::model::{BLOCK_BYTES, ByteRange, ErrorKind, FsError, PackRef};
use crate::remote::{self, PackInput, Remote, RemoteError, SealedPack, SendMeter, WriteHints};

/// Packs that are sealed at a time. One that reads the spool's disk and one that digests stay ahead of
/// any remote, and leave the other cores to players.
const SEALING: usize = 2;
/// Most slices of one pack. Its table stays far below a block, even for an overlay that was written in
/// tiny pieces.
pub const MAX_SLICES: usize = 4096;

/// Callback that gets the reason when a pack makes no progress. The pack is still being tried.
pub type Tell<'a> = &'a (dyn Fn(&RemoteError) + Sync);

/// Followers of a pack on its way.
#[derive(Clone)]
pub struct PackFollower<'a> {
    pub tell: Tell<'a>,
    /// Meter of the acknowledged bytes.
    pub meter: Arc<SendMeter>,
}

/// Pack that the remote has acknowledged.
#[derive(Debug)]
pub struct SentPack {
    pub pack: PackRef,
    /// Offset of each input in the pack's data.
    pub offsets: Vec<u64>,
}

/// Reason why a pack could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The spool's disk failed, or the spool file is gone.
    #[error("the spool: {0}")]
    Spool(#[from] std::io::Error),
    /// The remote refused the pack.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// These inputs, by their places, changed or went after the pack was begun. It is not in the remote.
    #[error("its bytes changed while they were sent")]
    Changed(BTreeSet<usize>),
}

/// Turns the error of a pack into that of the files in it.
pub fn remote_error(error: SendError) -> FsError {
    match error {
        SendError::Spool(error) => error.into(),
        SendError::Remote(error) => error.into(),
        SendError::Changed(_) => FsError::caused_by(ErrorKind::Io, error),
    }
}

/// Place among the packs that are sent side by side.
#[derive(Debug)]
#[must_use]
pub struct PackSlot<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

/// Sender of packs, shared by all files.
#[derive(Debug)]
pub struct Outgoing {
    remote: Arc<dyn Remote>,
    write_hints: WriteHints,
    slots: Semaphore,
    sealing: Semaphore,
    cache: Arc<BlockCache>,
    /// Ranges to pin of the packs that go out.
    pub openings: Arc<Openings>,
}

impl Outgoing {
    /// Builds a sender to `remote`, with as many packs side by side as the remote likes.
    #[must_use]
    pub fn new(remote: Arc<dyn Remote>, cache: Arc<BlockCache>) -> Self {
        let write_hints = remote.write_hints();
        Self {
            remote,
            write_hints,
            slots: Semaphore::new(write_hints.parallel_packs.max(1)),
            sealing: Semaphore::new(SEALING),
            cache,
            openings: Arc::default(),
        }
    }

    /// Returns the remote's hints for writing to it.
    #[must_use]
    pub const fn write_hints(&self) -> &WriteHints {
        &self.write_hints
    }

    /// Returns the number of packs that the remote takes side by side.
    #[must_use]
    pub fn side_by_side(&self) -> usize {
        self.write_hints.parallel_packs.max(1)
    }

    /// Returns the number of files to work on side by side. It is enough for each slot even if every file
    /// is one pack, and for the files that are looked up and sealed meanwhile.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.side_by_side() + SEALING
    }

    /// Returns the size of a pack while `waiting` bytes wait. These bytes are spread over all packs that
    /// are sent side by side. The size is at least `smallest`, and at most what the remote likes.
    #[must_use]
    pub fn pack_bytes(&self, waiting: u64, smallest: u64) -> u64 {
        let smallest = smallest.max(1);
        let spread = waiting.div_ceil(self.side_by_side() as u64);
        spread.clamp(smallest, smallest.max(self.write_hints.largest_pack))
    }

    /// Returns the bytes of each pack of a file of `total` bytes. These are equal parts of about `size`,
    /// so that the last pack is neither small nor one too many, for which all others would wait.
    #[must_use]
    pub fn share(&self, total: u64, size: u64) -> u64 {
        let size = size.max(1);
        // `parallel_packs` is two for each of the remote's senders.
        let senders = (self.write_hints.parallel_packs as u64 / 2).max(1);
        let count = total.div_ceil(size).max(1);
        let waves = ((count + (senders - 1) / 2) / senders).max(1) * senders;
        let even = if count > senders && total.div_ceil(waves) <= self.largest(size) {
            total.div_ceil(waves)
        } else {
            total.div_ceil(count)
        };
        // Blocks of the pack are then blocks of the file, and a read touches only one of them.
        let aligned = even.next_multiple_of(BLOCK_BYTES);
        let fits = aligned <= self.largest(size);
        if fits { aligned } else { even }.max(1)
    }

    fn largest(&self, size: u64) -> u64 {
        size.max(self.write_hints.largest_pack)
    }

    /// Waits for a place among the packs that are sent side by side.
    pub async fn slot(&self) -> PackSlot<'_> {
        // Acquiring fails only when the semaphore is closed, which never happens.
        PackSlot {
            _permit: self.slots.acquire().await.ok(),
        }
    }

    /// Seals one pack, stores it, and returns it with the places of its inputs.
    ///
    /// # Errors
    /// `Changed` when inputs are not as they were, whatever the remote said; `Spool` when the disk fails;
    /// `Remote` for an error that another try does not fix.
    pub async fn send(
        &self,
        inputs: Vec<PackInput>,
        slot: &PackSlot<'_>,
        follower: PackFollower<'_>,
    ) -> Result<SentPack, SendError> {
        let paths: Vec<PathBuf> = inputs.iter().map(|input| input.path.clone()).collect();
        let before = off_runtime(move || (stamps(&paths), paths)).await?;
        let sent = self.send_unwatched(inputs, slot, follower).await;
        let changed = off_runtime(move || changes(&before.0, &stamps(&before.1))).await?;
        if changed.is_empty() {
            return sent;
        }
        // Some of its blocks may not have the digests that its table names, and only a few were read back.
        if let Ok(sent) = sent
            && let Err(left) = self.remote.delete(&sent.pack).await
        {
            tracing::warn!(%left, "a pack whose files changed cannot be deleted");
        }
        Err(SendError::Changed(changed))
    }

    async fn send_unwatched(
        &self,
        inputs: Vec<PackInput>,
        _slot: &PackSlot<'_>,
        follower: PackFollower<'_>,
    ) -> Result<SentPack, SendError> {
        let opening = self.openings.in_pack(&inputs);
        let sealed = {
            let _permit = self.sealing.acquire().await;
            let cipher = self.remote.cipher().clone();
            off_runtime(move || SealedPack::seal(inputs, &cipher)).await??
        };
        let sealed = sealed.measured_by(follower.meter);
        let pack = remote::store_pack_telling(&self.remote, &sealed, follower.tell).await?;
        failpoint::pass(failpoint::Step::PackPut);
        let offsets = sealed.slice_offsets();
        if !opening.is_empty() && self.cache.pins(&pack) {
            self.pin(pack.clone(), sealed, opening).await;
        }
        Ok(SentPack { pack, offsets })
    }

    /// Pins blocks of a pack in the cache while the spool still has their bytes.
    async fn pin(&self, pack: PackRef, sealed: SealedPack, opening: Vec<ByteRange>) {
        let cache = Arc::clone(&self.cache);
        let pinning =
            tokio::task::spawn_blocking(move || cache.pin_stored(&pack, &sealed, &opening));
        if let Ok(Err(error)) = pinning.await {
            tracing::debug!(%error, "a pack's blocks are not pinned");
        }
    }
}

/// Runs work that blocks on another thread.
async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other)
}

/// State of a file by which a change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Returns the stamps of some files; `None` for one that is gone. Blocking.
fn stamps(paths: &[PathBuf]) -> Vec<Option<FileStamp>> {
    let of = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some(FileStamp {
            len: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    };
    paths.iter().map(of).collect()
}

/// Returns the places of the files that are gone, or are not as they were.
fn changes(before: &[Option<FileStamp>], now: &[Option<FileStamp>]) -> BTreeSet<usize> {
    let pairs = before.iter().zip(now).enumerate();
    let changed = pairs.filter(|(_, (before, now))| now.is_none() || before != now);
    changed.map(|(place, _)| place).collect()
}

/// Splits ranges into groups of at most `pack_bytes` each, in order.
#[must_use]
pub fn split(ranges: &[ByteRange], pack_bytes: u64) -> Vec<Vec<ByteRange>> {
    let pack_bytes = pack_bytes.max(1);
    let mut groups = Vec::new();
    let mut group: Vec<ByteRange> = Vec::new();
    let mut room = pack_bytes;
    for range in ranges {
        let mut rest = *range;
        while rest.len > 0 {
            if room == 0 || group.len() == MAX_SLICES {
                groups.push(std::mem::take(&mut group));
                room = pack_bytes;
            }
            let take = rest.len.min(room);
            group.push(ByteRange::new(rest.offset, take));
            rest = ByteRange::new(rest.offset + take, rest.len - take);
            room -= take;
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// Returns the sum of the lengths of some ranges, in bytes.
#[must_use]
pub fn total(ranges: &[ByteRange]) -> u64 {
    ranges.iter().map(|range| range.len).sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::remote::LocalRemote;
    use crate::remote::testing::{Fault, FaultyRemote, Operation};

    const MIB: u64 = 1 << 20;
    const SMALLEST: u64 = 64 * MIB;

    fn outgoing(parallel_packs: usize, largest_pack: u64) -> Outgoing {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalRemote::open(directory.path()).unwrap();
        let write_hints = WriteHints {
            parallel_packs,
            largest_pack,
            linger: Duration::from_secs(30),
            manifest_interval: Duration::from_secs(15),
        };
        let remote: Arc<dyn Remote> = FaultyRemote::with_write_hints(Arc::new(local), write_hints);
        let cache = BlockCache::new(Arc::clone(&remote), 1 << 20, Duration::from_secs(1));
        Outgoing::new(remote, Arc::new(cache))
    }

    /// Returns the number of packs that a lone file becomes, and the size of the largest.
    fn packs(outgoing: &Outgoing, bytes: u64) -> (usize, u64) {
        let full = outgoing.pack_bytes(bytes, SMALLEST);
        let whole = [ByteRange::new(0, bytes)];
        let groups = split(&whole, outgoing.share(bytes, full));
        let largest = groups.iter().map(|group| total(group)).max().unwrap_or(0);
        (groups.len(), largest)
    }

    /// Only a few blocks of a pack are read back. A change of another one would leave bytes in the store that
    /// no digest matches.
    #[tokio::test]
    async fn a_pack_whose_file_changed_after_it_was_sealed_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let remote = FaultyRemote::new(Arc::new(LocalRemote::open(directory.path()).unwrap()));
        remote.inject(Operation::Put, &Fault::Hang, 1);
        let cache = BlockCache::new(remote.clone(), 1 << 20, Duration::from_secs(1));
        let outgoing = Arc::new(Outgoing::new(remote.clone(), Arc::new(cache)));
        let path = directory.path().join("film");
        let len = 100 * BLOCK_BYTES;
        std::fs::write(&path, vec![1; usize::try_from(len).unwrap()]).unwrap();
        let input = PackInput {
            path: path.clone(),
            offset: 0,
            len,
        };
        let sender = Arc::clone(&outgoing);
        let sending = tokio::spawn(async move {
            let slot = sender.slot().await;
            let follower = PackFollower {
                tell: &|_| {},
                meter: Arc::default(),
            };
            sender.send(vec![input], &slot, follower).await
        });
        while remote.puts() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"changed", 7 * BLOCK_BYTES).unwrap();
        remote.heal();
        let error = sending.await.unwrap().unwrap_err();
        assert!(matches!(error, SendError::Changed(places) if places == BTreeSet::from([0])));
        let packs = directory.path().join("packs");
        let held = |folder: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_dir(folder.unwrap().path()).unwrap().count()
        };
        let packs: usize = std::fs::read_dir(packs).unwrap().map(held).sum();
        assert_eq!(packs, 0);
    }

    #[test]
    fn a_lone_film_gives_each_bot_two_packs_of_one_size() {
        let eight_bots = outgoing(16, 512 * MIB);
        let (count, largest) = packs(&eight_bots, 2_000_000_000);
        assert_eq!(count, 16);
        assert!((119 * MIB..=120 * MIB).contains(&largest), "{largest}");
        assert_eq!(packs(&eight_bots, 30 * MIB).0, 1);
        assert_eq!(packs(&eight_bots, 200 * MIB), (4, 50 * MIB));
        // Nine of 64 MiB would leave seven bots idle while one sends the ninth.
        assert_eq!(packs(&eight_bots, 570 * MIB).0, 8);
        let (count, largest) = packs(&eight_bots, 50_000 * MIB);
        assert!(largest <= 512 * MIB && count <= 104, "{count} of {largest}");
    }

    #[test]
    fn a_directory_takes_packs_of_the_size_that_is_set() {
        let local = outgoing(2, 0);
        assert_eq!(packs(&local, 640 * MIB), (10, 64 * MIB));
        assert_eq!(packs(&local, 65 * MIB), (2, 65 * MIB / 2));
    }

    proptest! {
        /// No byte is left out, no pack is too large, and none is small without need.
        #[test]
        fn packs_are_even_and_within_their_bounds(
            lens in proptest::collection::vec(1u64..3_000 * MIB, 1..6),
            waiting in 0u64..100_000 * MIB, bots in 1usize..12,
        ) {
            let outgoing = outgoing(bots * 2, 512 * MIB);
            let mut at = 0;
            let ranges: Vec<ByteRange> = lens.iter().map(|len| {
                at += len + 7;
                ByteRange::new(at - len - 7, *len)
            }).collect();
            let bytes = total(&ranges);
            let full = outgoing.pack_bytes(waiting.max(bytes), SMALLEST);
            prop_assert!((SMALLEST..=512 * MIB).contains(&full));
            let groups = split(&ranges, outgoing.share(bytes, full));
            prop_assert_eq!(groups.iter().map(|group| total(group)).sum::<u64>(), bytes);
            prop_assert!(groups.iter().all(|group| total(group) <= 512 * MIB));
            if groups.len() > 1 {
                let least = groups.iter().map(|group| total(group)).min().unwrap_or(0);
                // Rounding to whole waves makes packs at most a third smaller. Alignment to blocks makes the
                // last one smaller.
                prop_assert!(least + groups.len() as u64 * BLOCK_BYTES >= SMALLEST * 3 / 8, "{}", least);
            }
        }
    }
}
