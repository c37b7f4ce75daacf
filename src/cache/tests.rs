use super::*;
use crate::model::BLOCK_BYTES;
use crate::remote::testing::{Fault, FaultyRemote, Operation};
use crate::remote::{Cipher, LocalRemote, PackInput, SealedPack, store_pack};

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
