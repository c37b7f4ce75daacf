use std::time::Duration;

use super::health::LONGEST_PAUSE;
use super::*;
use crate::model::{Blob, Extent, PackAddress, PackSlice};
use crate::remote::testing::{Distance, DistantRemote, Fault, FaultyRemote, Operation, Traffic};
use crate::remote::{
    Cipher, LocalRemote, PackInput, PackStore as _, Remote, RemoteErrorKind, SealedPack, store_pack,
};
use crate::spool::SpoolConfig;

const MIB: u64 = 1 << 20;
const READ: u64 = 128 * 1024;
const MANY: usize = 100_000;

/// A stored film, read through a cache of a remote with eight lanes of 8 MB/s, 50 ms away.
struct Film {
    _directory: tempfile::TempDir,
    faulty: Arc<FaultyRemote>,
    distant: Arc<DistantRemote>,
    cache: Arc<BlockCache>,
    ahead: Arc<Ahead>,
    blob: Blob,
}

impl Film {
    async fn new(bytes: u64) -> Self {
        let limits = AheadLimits {
            segments: 8,
            readers: 2,
        };
        Self::with(bytes, 512 * MIB, limits).await
    }

    async fn with(bytes: u64, cache: u64, limits: AheadLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("film");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(bytes)
            .unwrap();
        let local = LocalRemote::open(&directory.path().join("store")).unwrap();
        let faulty = FaultyRemote::new(Arc::new(local));
        let distance = Distance {
            latency: Duration::from_millis(50),
            lanes: 8,
            lane_bytes_per_second: 8_000_000,
            bots: 8,
            bot_bytes_per_second: u64::MAX,
        };
        let write_hints = faulty.write_hints();
        let distant = DistantRemote::new(faulty.clone(), distance, write_hints);
        let mut slices = Vec::new();
        let mut at = 0;
        let inner: Arc<dyn Remote> = faulty.clone();
        while at < bytes {
            let len = (64 * MIB).min(bytes - at);
            let input = PackInput {
                path: path.clone(),
                offset: at,
                len,
            };
            let sealed = SealedPack::seal(vec![input], &Cipher::Plain).unwrap();
            let pack = store_pack(&inner, &sealed).await.unwrap();
            assert_eq!(pack.address, PackAddress::Local);
            slices.push(PackSlice {
                blob_offset: at,
                pack_offset: 0,
                len,
                pack,
            });
            at += len;
        }
        let spool = Spool::open(SpoolConfig {
            directory: directory.path().join("spool"),
            capacity: MIB,
            reserve: 0,
        });
        let blob = Blob {
            id: BlobId::random(),
            len: bytes,
            digest: None,
            slices,
        };
        let remote: Arc<dyn Remote> = distant.clone();
        let cache = Arc::new(BlockCache::new(remote, cache, Duration::from_secs(30)));
        let ahead = Ahead::new(Arc::clone(&cache), Arc::new(spool.unwrap()), limits);
        Self {
            _directory: directory,
            faulty,
            distant,
            cache,
            ahead,
            blob,
        }
    }

    fn extents(&self, range: ByteRange) -> Option<(Vec<Extent>, Vec<Blob>)> {
        let len = range.end().min(self.blob.len).checked_sub(range.offset)?;
        let extent = Extent {
            source: crate::model::ExtentSource::Blob(self.blob.id),
            offset: range.offset,
            len,
        };
        Some((vec![extent], vec![self.blob.clone()]))
    }

    fn follow(&self, follower: &Follower, offset: u64, len: u64, reach: ReadReach) {
        let reading = Reading {
            of: Some(self.blob.id),
            range: ByteRange::new(offset, len),
            reach,
        };
        self.ahead
            .follow(follower, reading, &|range| self.extents(range));
    }

    /// Reads in the same way as the read path.
    async fn read(&self, follower: &Follower, offset: u64, len: u64) -> Result<(), String> {
        self.follow(follower, offset, len, ReadReach::Within);
        let (extents, blobs) = self.extents(ByteRange::new(offset, len)).unwrap();
        for place in locate(&extents, &blobs, |_| None).unwrap() {
            let ReadLocation::Pack { pack, offset, .. } = place else {
                panic!("not in a pack");
            };
            let block = BlockIndex(u32::try_from(offset / BLOCK_BYTES).unwrap());
            let read = self.cache.block(&pack, block).await;
            read.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Reads one after the other from `from` to `to`.
    async fn play(&self, follower: &Follower, from: u64, to: u64) -> Result<(), String> {
        let mut at = from;
        while at < to {
            self.read(follower, at, READ).await?;
            at += READ;
        }
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.distant.traffic()
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cold_film_comes_as_fast_as_all_lanes_bring_it() {
    let film = Film::new(320 * MIB).await;
    let follower = Follower::new(Leaving::Ends);
    let begun = Instant::now();
    film.read(&follower, 0, READ).await.unwrap();
    // A block of 512 KiB takes a lane 66 ms; the table comes beside it.
    let first = begun.elapsed();
    assert!(first < Duration::from_millis(150), "{first:?}");
    let mut at = READ;
    let mut after = [0; 4];
    for second in &mut after {
        let from = at;
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            film.read(&follower, at, READ).await.unwrap();
            at += READ;
        }
        *second = at - from;
    }
    let most = 64_000_000;
    assert!(after[0] >= most / 2, "{after:?}");
    assert!(
        after[1..].iter().all(|bytes| *bytes >= most * 9 / 10),
        "{after:?}"
    );
    // A seek begins a new sequence.
    let begun = Instant::now();
    film.read(&follower, 20 * MIB, READ).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "cached");
    let begun = Instant::now();
    film.read(&follower, 310 * MIB, READ).await.unwrap();
    let seek = begun.elapsed();
    assert!(seek < Duration::from_millis(330), "{seek:?}");
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_head_and_tail_fetches_nothing_else() {
    let film = Film::new(64 * MIB).await;
    let follower = Follower::new(Leaving::Ends);
    for at in (0..10).map(|n| n * 32 * 1024) {
        film.read(&follower, at, 32 * 1024).await.unwrap();
    }
    film.read(&follower, 60 * MIB, MIB).await.unwrap();
    film.read(&follower, 30 * MIB, READ).await.unwrap();
    settle().await;
    assert_eq!(film.traffic().gets_ahead, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_ahead_is_counted_by_whether_it_was_read() {
    let film = Film::new(64 * MIB).await;
    let follower = Follower::new(Leaving::Ends);
    film.play(&follower, 0, 4 * MIB).await.unwrap();
    settle().await;
    let fetched = film.cache.stats().ahead_fetched;
    assert!(fetched > 8, "{fetched}");
    drop(follower);
    tokio::task::yield_now().await;
    let stats = film.cache.stats();
    assert_eq!(
        stats.ahead_fetched, fetched,
        "nothing is begun after a release"
    );
    assert_eq!(stats.ahead_used + stats.ahead_wasted, fetched, "{stats:?}");
    assert!(
        (5..=7).contains(&stats.ahead_used),
        "7 of the 8 MiB blocks: {stats:?}"
    );
    assert_eq!(
        film.ahead.room.available_permits(),
        256,
        "all of the budget is back"
    );
    assert_eq!(film.ahead.readers.available_permits(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_or_a_seek_takes_back_what_is_not_sent_yet() {
    let film = Film::new(256 * MIB).await;
    let follower = Follower::new(Leaving::Ends);
    film.play(&follower, 0, 40 * MIB).await.unwrap();
    film.read(&follower, 200 * MIB, READ).await.unwrap();
    let at_seek = film.traffic().gets_ahead;
    settle().await;
    assert_eq!(film.traffic().gets_ahead, at_seek, "16 are on the lanes");
    film.play(&follower, 200 * MIB, 210 * MIB).await.unwrap();
    drop(follower);
    let at_release = film.traffic().gets_ahead;
    settle().await;
    assert_eq!(film.traffic().gets_ahead, at_release);
}

#[tokio::test(start_paused = true)]
async fn all_readers_share_one_budget_and_what_is_ahead_stays_until_it_is_read() {
    let limits = AheadLimits {
        segments: 8,
        readers: 2,
    };
    let film = Film::with(256 * MIB, 64 * MIB, limits).await;
    let (fast, slow) = (Follower::new(Leaving::Ends), Follower::new(Leaving::Ends));
    film.play(&slow, 128 * MIB, 140 * MIB).await.unwrap();
    settle().await;
    let budget = 32;
    assert!(
        film.ahead.room.available_permits() < budget,
        "something is ahead"
    );
    // More bytes than the cache holds are read meanwhile.
    film.play(&fast, 0, 100 * MIB).await.unwrap();
    settle().await;
    let waited = film.traffic().gets - film.traffic().gets_ahead;
    film.play(&slow, 140 * MIB, 142 * MIB).await.unwrap();
    let traffic = film.traffic();
    assert_eq!(traffic.gets - traffic.gets_ahead, waited, "{traffic:?}");
    let third = Follower::new(Leaving::Ends);
    let ahead = film.traffic().gets_ahead;
    film.play(&third, 200 * MIB, 204 * MIB).await.unwrap();
    let share = (film.traffic().gets_ahead - ahead) as usize;
    assert!(
        share <= 2 * budget,
        "only two may have something ahead: {share}"
    );
    drop((fast, slow));
    film.play(&third, 204 * MIB, 206 * MIB).await.unwrap();
    settle().await;
    assert!(
        film.ahead.room.available_permits() < budget,
        "the third has a place now"
    );
}

#[tokio::test(start_paused = true)]
async fn a_remote_that_is_down_is_left_alone_and_its_reader_hears_only_its_own_errors() {
    let film = Film::new(256 * MIB).await;
    let follower = Follower::new(Leaving::Ends);
    film.play(&follower, 0, 8 * MIB).await.unwrap();
    settle().await;
    let down = Fault::Fail(RemoteErrorKind::Unavailable);
    film.faulty.inject(Operation::Get, &down, MANY);
    // Blocks that were fetched before are read. Beyond them, a reader that does not give up gets errors.
    let mut at = 8 * MIB;
    while film.read(&follower, at, READ).await.is_ok() {
        at += READ;
    }
    let before = film.traffic();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        assert!(film.read(&follower, at, READ).await.is_err());
        at += READ;
    }
    let calls = film.traffic().gets_ahead - before.gets_ahead;
    let own = film.traffic().gets - before.gets - calls;
    assert!(
        own > 20 && calls <= own,
        "{calls} calls ahead beside {own} in a minute of an outage"
    );
    film.faulty.heal();
    tokio::time::sleep(LONGEST_PAUSE).await;
    film.play(&follower, at, at + 16 * MIB).await.unwrap();
    assert!(film.traffic().gets_ahead > before.gets_ahead + 8);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_joined_a_fetch_ahead_does_not_hear_its_error() {
    let film = Film::new(64 * MIB).await;
    let pack = &film.blob.slices[0].pack;
    film.faulty.inject(
        Operation::Get,
        &Fault::Fail(RemoteErrorKind::Unavailable),
        1,
    );
    let held = film.cache.hold(BlockKey::of(pack, BlockIndex(3)));
    let (ahead, read) = tokio::join!(
        film.cache.fetch_ahead(pack, &held),
        film.cache.block(pack, BlockIndex(3)),
    );
    assert!(ahead.is_err());
    assert_eq!(read.unwrap().len() as u64, BLOCK_BYTES);
    let stats = film.cache.stats();
    assert_eq!((stats.ahead_errors, stats.errors), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn segments_that_are_asked_for_one_after_the_other_are_one_stream() {
    let film = Film::new(128 * MIB).await;
    // Segments of 2 MiB with some audio between, each through a handle of its own.
    let segment = |number: u64| number * (2 * MIB + 100_000);
    let fetch = async |number: u64| {
        let follower = Follower::new(Leaving::Waits);
        let from = segment(number);
        film.play(&follower, from, from + 2 * MIB - READ)
            .await
            .unwrap();
        film.follow(&follower, from + 2 * MIB - READ, READ, ReadReach::End);
    };
    for number in 0..4 {
        fetch(number).await;
    }
    // The player plays. The next segments, and not only one, are there when it comes back.
    settle().await;
    let stats = film.cache.stats();
    assert!(stats.ahead_fetched >= 28, "8 MiB were read: {stats:?}");
    let waited = film.traffic().gets - film.traffic().gets_ahead;
    for number in 4..7 {
        fetch(number).await;
    }
    let traffic = film.traffic();
    assert_eq!(traffic.gets - traffic.gets_ahead, waited, "{traffic:?}");
    // A player that went away in the middle of a segment gets nothing more.
    settle().await;
    let gone = Follower::new(Leaving::Waits);
    film.play(&gone, 80 * MIB, 84 * MIB).await.unwrap();
    drop(gone);
    let at_once = film.traffic().gets_ahead;
    settle().await;
    assert_eq!(film.traffic().gets_ahead, at_once);
}

#[tokio::test(start_paused = true)]
async fn a_player_on_pause_makes_room_for_another() {
    let limits = AheadLimits {
        segments: 8,
        readers: 1,
    };
    let film = Film::with(128 * MIB, 512 * MIB, limits).await;
    let (paused, other) = (Follower::new(Leaving::Ends), Follower::new(Leaving::Ends));
    film.play(&paused, 0, 4 * MIB).await.unwrap();
    settle().await;
    let before = film.traffic().gets_ahead;
    film.play(&other, 64 * MIB, 68 * MIB).await.unwrap();
    assert_eq!(film.traffic().gets_ahead, before, "there is one place");
    tokio::time::sleep(PARKED_FOR).await;
    film.play(&other, 68 * MIB, 72 * MIB).await.unwrap();
    assert!(film.traffic().gets_ahead > before);
}
