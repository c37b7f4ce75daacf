use std::path::PathBuf;

use super::*;
use crate::model::{BLOCK_BYTES, ByteRange, KeyStore, LibraryId};
use crate::remote::testing::{Fault, FaultyRemote, MemoryKeys, Operation};
use crate::remote::{
    Cipher, KdfCost, LibraryMark, LocalRemote, Locality, LockedRemote, PackInput, Passphrases,
    SealedPack, store_pack,
};

const DEADLINE: Duration = Duration::from_secs(20);

async fn stored(bytes: &[u8]) -> (tempfile::TempDir, Arc<FaultyRemote>, PackRef) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    std::fs::write(&path, bytes).unwrap();
    let local = LocalRemote::open(&directory.path().join("store")).unwrap();
    let faulty = FaultyRemote::new(Arc::new(local));
    let len = bytes.len() as u64;
    let input = PackInput {
        path,
        offset: 0,
        len,
    };
    let sealed = SealedPack::seal(vec![input], &Cipher::Plain).unwrap();
    let remote: Arc<dyn Remote> = faulty.clone();
    let pack = store_pack(&remote, &sealed).await.unwrap();
    (directory, faulty, pack)
}

#[tokio::test]
async fn many_readers_cost_one_fetch_even_when_the_first_goes_away() {
    let bytes = vec![7; BLOCK_BYTES as usize + 10];
    let (_keep, faulty, pack) = stored(&bytes).await;
    let cache = Arc::new(BlockCache::new(faulty.clone(), 64 << 20, DEADLINE));
    faulty.inject(Operation::Get, &Fault::Delay(Duration::from_millis(200)), 1);
    let first = {
        let (cache, pack) = (Arc::clone(&cache), pack.clone());
        tokio::spawn(async move { cache.block(&pack, BlockIndex(0)).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let (cache, pack) = (Arc::clone(&cache), pack.clone());
            tokio::spawn(async move { cache.block(&pack, BlockIndex(0)).await })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().len() as u64, BLOCK_BYTES);
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.misses, stats.errors, stats.fetched_bytes),
        (1, 0, BLOCK_BYTES)
    );
    assert_eq!(stats.joined + stats.hits, 16);
}

#[tokio::test]
async fn an_error_is_not_kept() {
    let (_keep, faulty, pack) = stored(b"film").await;
    let cache = BlockCache::new(faulty.clone(), 64 << 20, Duration::from_millis(100));
    faulty.inject(Operation::Get, &Fault::Hang, 1);
    assert!(cache.block(&pack, BlockIndex(0)).await.is_err());
    faulty.heal();
    assert_eq!(
        cache.block(&pack, BlockIndex(0)).await.unwrap(),
        &b"film"[..]
    );
}

/// A pack far away with blocks of 512 KiB, each full of its number, and a place for a cache.
struct Far {
    keep: tempfile::TempDir,
    remote: Arc<FaultyRemote>,
    pack: PackRef,
    directory: PathBuf,
}

const AWAY: Fault = Fault::Fail(RemoteErrorKind::Unavailable);

fn content(block: u8) -> Vec<u8> {
    vec![block; BLOCK_BYTES as usize]
}

impl Far {
    async fn new(blocks: u8) -> Self {
        let bytes: Vec<u8> = (0..blocks).flat_map(content).collect();
        let (keep, remote, pack) = stored(&bytes).await;
        remote.set_locality(Locality::Far);
        Self {
            directory: keep.path().join("cache"),
            keep,
            remote,
            pack,
        }
    }

    fn limits(&self) -> DiskLimits {
        DiskLimits {
            directory: self.directory.clone(),
            budget: 1 << 30,
            floor: 0,
            eviction: Eviction::Oldest,
        }
    }

    fn cache(&self) -> BlockCache {
        self.cache_with(self.limits(), DEADLINE)
    }

    fn cache_with(&self, limits: DiskLimits, deadline: Duration) -> BlockCache {
        let tiers = Tiers {
            disk: Some(DiskStore::open(limits).unwrap()),
            pinned: None,
        };
        BlockCache::with_tiers(self.remote.clone(), 64 << 20, deadline, tiers)
    }

    async fn read(&self, cache: &BlockCache, blocks: std::ops::Range<u8>) {
        for block in blocks {
            let read = cache.block(&self.pack, BlockIndex(block.into())).await;
            assert!(read.unwrap() == content(block), "block {block}");
        }
    }

    /// Returns the files of the cache, tables last.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for directory in std::fs::read_dir(&self.directory).unwrap() {
            let directory = directory.unwrap().path();
            if directory.is_dir() {
                let inside = std::fs::read_dir(directory).unwrap();
                files.extend(inside.map(|file| file.unwrap().path()));
            }
        }
        files.sort_by_key(|file| (file.extension().unwrap() == "table", file.clone()));
        files
    }

    fn away(&self) {
        self.remote.inject(Operation::Get, &AWAY, 1000);
    }
}

#[tokio::test]
async fn what_was_read_is_read_again_after_a_restart_while_the_store_is_away() {
    let far = Far::new(3).await;
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    cache.close().await;
    assert_eq!(far.files().len(), 4, "three blocks and their table");
    far.away();
    let calls = far.remote.calls();
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.disk.hits), (0, 3));
    assert_eq!(stats.disk.hit_bytes, 3 * BLOCK_BYTES);
    assert_eq!(far.remote.calls(), calls);
    far.read(&cache, 0..3).await;
    assert_eq!(cache.stats().disk.hits, 3, "from memory then");
}

#[tokio::test]
async fn a_damaged_file_is_a_miss_and_goes() {
    let far = Far::new(3).await;
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    cache.close().await;
    let files = far.files();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    std::fs::write(&files[1], b"torn").unwrap();
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    let stats = cache.stats();
    assert_eq!(
        (stats.misses, stats.disk.damaged, stats.disk.hits),
        (2, 2, 1)
    );
    cache.close().await;
    // A damaged table is replaced as well, since nothing can be checked against it.
    std::fs::write(far.files().last().unwrap(), b"no table").unwrap();
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    assert_eq!(cache.stats().disk.damaged, 1);
    cache.close().await;
    far.away();
    far.read(&far.cache(), 0..3).await;
}

#[tokio::test]
async fn what_was_used_longest_ago_makes_room_also_after_a_restart() {
    let far = Far::new(8).await;
    let cache = far.cache();
    far.read(&cache, 0..4).await;
    cache.close().await;
    // The times are old enough that the next use is noted on the disk.
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    for file in far.files() {
        let file = std::fs::File::open(file).unwrap();
        file.set_modified(old).unwrap();
    }
    let cache = far.cache();
    cache.found().await;
    far.read(&cache, 0..1).await;
    assert_eq!(cache.clear_unused(Duration::from_secs(7200)).blocks, 0);
    cache.close().await;
    let mut limits = far.limits();
    limits.budget = 4 * BLOCK_BYTES + 8192;
    let cache = far.cache_with(limits.clone(), DEADLINE);
    cache.found().await;
    far.read(&cache, 5..8).await;
    cache.close().await;
    let stats = cache.stats();
    assert!(stats.disk.bytes <= limits.budget, "{}", stats.disk.bytes);
    assert_eq!((stats.disk.entries, stats.disk.evictions), (4, 3));
    far.away();
    let cache = far.cache();
    far.read(&cache, 0..1).await;
    far.read(&cache, 5..8).await;
    cache.close().await;
    for file in far.files() {
        let file = std::fs::File::open(file).unwrap();
        file.set_modified(old).unwrap();
    }
    let cache = far.cache();
    cache.found().await;
    assert_eq!(cache.clear_unused(Duration::from_secs(1800)).blocks, 4);
}

#[tokio::test]
async fn a_disk_without_room_or_that_fails_costs_nothing_but_speed() {
    let far = Far::new(3).await;
    let mut limits = far.limits();
    limits.floor = u64::MAX;
    let cache = far.cache_with(limits.clone(), DEADLINE);
    far.read(&cache, 0..3).await;
    cache.close().await;
    assert_eq!(far.files(), Vec::<PathBuf>::new());
    assert_eq!(
        cache.stats().disk.unwritten,
        4 + 2,
        "the table is offered with each block"
    );
    // The cached files make room for others who need the disk.
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    cache.close().await;
    assert_eq!(far.files().len(), 4);
    let cache = far.cache_with(limits, DEADLINE);
    cache.found().await;
    assert_eq!(far.files(), Vec::<PathBuf>::new());
    cache.close().await;
    // The cache cannot create a directory where a file is.
    let first = format!("{:02x}", far.pack.id.as_bytes()[0]);
    std::fs::remove_dir(far.directory.join(&first)).unwrap();
    std::fs::write(far.directory.join(&first), b"").unwrap();
    let cache = far.cache();
    far.read(&cache, 0..3).await;
    cache.close().await;
    assert_eq!(cache.stats().disk.written_bytes, 0);
    assert_eq!(cache.stats().misses, 3);
}

#[tokio::test]
async fn what_a_local_store_holds_is_not_kept_twice() {
    let far = Far::new(1).await;
    far.remote.set_locality(Locality::Near);
    let cache = far.cache();
    far.read(&cache, 0..1).await;
    cache.close().await;
    assert_eq!(far.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn clearing_reaches_the_disk_even_before_it_was_looked_at() {
    let far = Far::new(2).await;
    let cache = far.cache();
    far.read(&cache, 0..2).await;
    cache.close().await;
    let other = PackRef {
        id: PackId::random(),
        ..far.pack.clone()
    };
    let cache = far.cache();
    cache.found().await;
    assert_eq!(cache.clear_packs(&[other]), Dropped::default());
    assert_eq!(cache.clear_unused(Duration::from_secs(3600)).blocks, 0);
    cache.close().await;
    assert_eq!(far.files().len(), 3);
    // The drop works at once: files that the scan has not found yet are dropped when it finds them.
    let cache = far.cache();
    cache.clear_packs(std::slice::from_ref(&far.pack));
    cache.found().await;
    far.read(&cache, 0..1).await;
    assert_eq!(cache.stats().misses, 1);
    assert_eq!(cache.clear().bytes % 4096, 0);
    assert_eq!(cache.clear(), Dropped::default());
    cache.close().await;
    assert_eq!(far.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn readers_of_one_block_share_its_error() {
    let (_keep, faulty, pack) = stored(b"film").await;
    let cache = BlockCache::new(faulty.clone(), 64 << 20, Duration::from_millis(100));
    faulty.inject(Operation::Get, &Fault::Hang, 2);
    let read = async || cache.block(&pack, BlockIndex(0)).await.unwrap_err();
    let (one, other) = tokio::join!(read(), read());
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(cache.stats().errors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_failed_is_asked_for_again_after_pauses_that_grow() {
    let (_keep, faulty, pack) = stored(b"film").await;
    let cache = BlockCache::new(faulty.clone(), 64 << 20, DEADLINE);
    let lost = Fault::Fail(RemoteErrorKind::NotFound);
    faulty.inject(Operation::Get, &lost, 1000);
    let begun = tokio::time::Instant::now();
    let read = async || cache.block(&pack, BlockIndex(0)).await;
    for _ in 0..5 {
        assert_eq!(read().await.unwrap_err().kind, RemoteErrorKind::NotFound);
    }
    // The pauses are 0.2 + 0.4 + 0.8 + 1.6 s of a clock that only pauses move.
    assert!(begun.elapsed() >= Duration::from_secs(3));
    for _ in 0..4 {
        assert!(read().await.is_err());
    }
    assert!(
        begun.elapsed() <= Duration::from_secs(25),
        "at most 5 s each"
    );
    faulty.heal();
    assert!(read().await.is_ok());
    assert_eq!(cache.stats().errors, 9);
}

#[tokio::test]
async fn of_an_encrypted_pack_no_plain_byte_lies_on_the_disk() {
    let mut far = Far::new(1).await;
    let local = LocalRemote::open(&far.keep.path().join("encrypted")).unwrap();
    far.remote = FaultyRemote::new(Arc::new(local));
    far.remote.set_locality(Locality::Far);
    let store: Arc<dyn Remote> = far.remote.clone();
    let keys: Arc<dyn KeyStore> = Arc::new(MemoryKeys::default());
    let life = |passphrase| -> Arc<dyn Remote> {
        let passphrases = Passphrases::new(Some(passphrase), None);
        let keys = Arc::clone(&keys);
        LockedRemote::keeping(Arc::clone(&store), passphrases, KdfCost::NONE, keys)
    };
    let locked = life("correct horse");
    let mark = LibraryMark {
        id: LibraryId::random(),
        wrap: None,
    };
    locked.create_library(&mark).await.unwrap();
    let input = PackInput {
        path: far.keep.path().join("input"),
        offset: 0,
        len: BLOCK_BYTES,
    };
    let sealed = SealedPack::seal(vec![input], locked.cipher()).unwrap();
    far.pack = store_pack(&locked, &sealed).await.unwrap();
    let cache = |remote| {
        let tiers = Tiers {
            disk: Some(DiskStore::open(far.limits()).unwrap()),
            pinned: None,
        };
        BlockCache::with_tiers(remote, 64 << 20, DEADLINE, tiers)
    };
    let first = cache(locked);
    far.read(&first, 0..1).await;
    first.close().await;
    let files = far.files();
    assert_eq!(files.len(), 2);
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(16).any(|some| some == [0; 16]));
    }
    // The next life does not reach the store, where the key is wrapped.
    far.away();
    far.remote.inject(Operation::ReadLog, &AWAY, 1000);
    let second = cache(life("correct horse"));
    far.read(&second, 0..1).await;
    assert_eq!(second.stats().disk.hits, 1);
    second.close().await;
    let stranger = cache(life("correct donkey"));
    let read = async || stranger.block(&far.pack, BlockIndex(0)).await;
    let reading = tokio::time::timeout(Duration::from_secs(1), read());
    assert!(!matches!(reading.await, Ok(Ok(_))));
    assert_eq!(stranger.stats().disk.damaged, 0, "it is not known to be");
}

#[tokio::test]
async fn pinned_blocks_stay_until_their_pack_goes_and_new_ones_stay_out_when_there_is_no_room() {
    let far = Far::new(6).await;
    let input = PackInput {
        path: far.keep.path().join("input"),
        offset: 0,
        len: 6 * BLOCK_BYTES,
    };
    let sealed = SealedPack::seal(vec![input], &Cipher::Plain).unwrap();
    let mut pack = store_pack(&(far.remote.clone() as Arc<dyn Remote>), &sealed)
        .await
        .unwrap();
    pack.address = far.pack.address.clone();
    let limits = DiskLimits {
        budget: 3 * BLOCK_BYTES + 4096,
        eviction: Eviction::Unused(Duration::from_secs(3600)),
        ..far.limits()
    };
    let life = || {
        let tiers = Tiers {
            disk: None,
            pinned: Some(DiskStore::open(limits.clone()).unwrap()),
        };
        BlockCache::with_tiers(far.remote.clone(), 64 << 20, DEADLINE, tiers)
    };
    let cache = life();
    // Parts of blocks 0, 1 and 4, then one block too many.
    let ranges = [
        ByteRange::new(7, BLOCK_BYTES),
        ByteRange::new(4 * BLOCK_BYTES, 1),
    ];
    cache.pin_stored(&pack, &sealed, &ranges).unwrap();
    cache
        .pin_stored(&pack, &sealed, &[ByteRange::new(2 * BLOCK_BYTES, 1)])
        .unwrap();
    cache.close().await;
    assert_eq!(cache.stats().pinned.entries, 3);
    let cache = life();
    cache.found().await;
    cache.clear();
    far.away();
    for block in [0, 1, 4_u8] {
        let read = cache.block(&pack, BlockIndex(block.into())).await;
        assert!(read.unwrap() == content(block), "block {block}");
        assert!(cache.is_pinned(BlockKey::of(&pack, BlockIndex(block.into()))));
    }
    assert!(!cache.is_pinned(BlockKey::of(&pack, BlockIndex(2))));
    cache.unpin_unknown(|known| known == pack.id);
    assert_eq!(cache.stats().pinned.entries, 3);
    cache.unpin_unknown(|_| false);
    cache.close().await;
    assert_eq!(far.files(), Vec::<PathBuf>::new());
    // Blocks that were just read are pinned from memory.
    far.remote.heal();
    let cache = life();
    cache.found().await;
    let read = cache.block(&pack, BlockIndex(3)).await;
    assert!(read.unwrap() == content(3));
    cache.pin_read(vec![
        (pack.clone(), BlockIndex(3)),
        (pack.clone(), BlockIndex(5)),
    ]);
    while !cache.is_pinned(BlockKey::of(&pack, BlockIndex(3))) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        !cache.is_pinned(BlockKey::of(&pack, BlockIndex(5))),
        "nobody read it"
    );
}
