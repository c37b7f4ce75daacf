use std::path::{Path, PathBuf};

use super::*;
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, PackRef, WriterId};
use crate::remote::retry::Deadline;
use crate::remote::testing::{Fault, FaultyRemote, Operation};
use crate::remote::{
    KdfCost, KnownKey, LocalRemote, LogKind, PackInput, Passphrases, fetch_block, fetch_table,
    store_pack, unlock,
};

const BLOCK: usize = BLOCK_BYTES as usize;

/// A store with a library, plain and encrypted access to it, and a spool.
struct Place {
    store: tempfile::TempDir,
    spool: tempfile::TempDir,
    faulty: Arc<FaultyRemote>,
    plain: Arc<dyn Remote>,
    remote: Arc<dyn Remote>,
}

async fn place() -> Place {
    let store = tempfile::tempdir().unwrap();
    let faulty = FaultyRemote::new(Arc::new(LocalRemote::open(store.path()).unwrap()));
    let plain: Arc<dyn Remote> = faulty.clone();
    let remote = unlocked(&plain).await;
    let mark = LibraryMark {
        id: LibraryId::random(),
        wrap: None,
    };
    remote.create_library(&mark).await.unwrap();
    Place {
        store,
        spool: tempfile::tempdir().unwrap(),
        faulty,
        plain,
        remote,
    }
}

async fn unlocked(remote: &Arc<dyn Remote>) -> Arc<dyn Remote> {
    let passphrases = Passphrases::new(Some("correct horse"), None);
    let mark = remote.library().await.unwrap();
    let known = mark.map_or(KnownKey::Nothing, |mark| KnownKey::NoKey(mark.id));
    let unlocked = unlock(
        Arc::clone(remote),
        &passphrases,
        KdfCost::NONE,
        Deadline::None,
        &known,
    );
    unlocked.await.unwrap().remote
}

/// Returns bytes in which no two blocks are equal.
fn film(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 65_521) as u8).collect()
}

impl Place {
    fn input(&self, name: &str, bytes: &[u8]) -> PackInput {
        let path = self.spool.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        PackInput {
            path,
            offset: 0,
            len: bytes.len() as u64,
        }
    }

    fn sealed(&self, name: &str, bytes: &[u8]) -> SealedPack {
        SealedPack::seal(vec![self.input(name, bytes)], self.remote.cipher()).unwrap()
    }

    async fn stored(&self, name: &str, bytes: &[u8]) -> PackRef {
        store_pack(&self.remote, &self.sealed(name, bytes))
            .await
            .unwrap()
    }

    fn path(&self, pack: &PackRef) -> PathBuf {
        let id = pack.id.to_string();
        self.store.path().join("packs").join(&id[..2]).join(&id)
    }

    fn change(&self, pack: &PackRef, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.path(pack)).unwrap();
        change(&mut bytes);
        std::fs::write(self.path(pack), bytes).unwrap();
    }

    fn packs_held(&self) -> usize {
        let folders = std::fs::read_dir(self.store.path().join("packs")).unwrap();
        let held = |folder: PathBuf| std::fs::read_dir(folder).unwrap().count();
        folders.map(|folder| held(folder.unwrap().path())).sum()
    }
}

async fn read(remote: &Arc<dyn Remote>, pack: &PackRef) -> Result<Vec<u8>, RemoteErrorKind> {
    let kind = |error: RemoteError| error.kind;
    let table = fetch_table(remote, pack).await.map_err(kind)?;
    let mut bytes = Vec::new();
    for block in (0..table.block_count()).map(BlockIndex) {
        let block = fetch_block(remote, pack, &table, block).await;
        bytes.extend(block.map_err(kind)?);
    }
    Ok(bytes)
}

fn manifest(number: u64) -> LogObject {
    LogObject {
        kind: LogKind::Manifest,
        number,
        writer: WriterId::from_bytes([4; 16]),
    }
}

#[tokio::test]
async fn what_was_done_to_a_stored_pack_is_noticed() {
    let place = place().await;
    let bytes = film(2 * BLOCK + 100);
    let [one, other] = ["one", "other"].map(|name| place.stored(name, &bytes));
    let (one, other) = (one.await, other.await);
    assert!(read(&place.remote, &one).await.unwrap() == bytes);
    let kept = std::fs::read(place.path(&one)).unwrap();
    let others = std::fs::read(place.path(&other)).unwrap();
    assert_eq!(kept.len(), others.len());
    type Change<'a> = dyn Fn(&mut Vec<u8>) + 'a;
    let changes: [(&str, &Change<'_>); 7] = [
        ("a flipped bit", &|bytes| bytes[BLOCK + 7] ^= 1),
        ("two blocks in each other's place", &|bytes| {
            let (first, second) = bytes.split_at_mut(BLOCK);
            first.swap_with_slice(&mut second[..BLOCK]);
        }),
        ("the block of another pack", &|bytes| {
            bytes[..BLOCK].copy_from_slice(&others[..BLOCK]);
        }),
        ("another pack", &|bytes| bytes.copy_from_slice(&others)),
        ("a flipped bit in the table", &|bytes| {
            let end = bytes.len();
            bytes[end - 40] ^= 1;
        }),
        ("a cut in the table", &|bytes| {
            bytes.truncate(bytes.len() - 5)
        }),
        ("a cut in the data", &|bytes| bytes.truncate(BLOCK)),
    ];
    for (what, change) in changes {
        place.change(&one, change);
        let found = read(&place.remote, &one).await;
        assert_eq!(found, Err(RemoteErrorKind::Corrupt), "{what}");
        std::fs::write(place.path(&one), &kept).unwrap();
    }
    assert!(read(&place.remote, &one).await.unwrap() == bytes);
}

#[tokio::test]
async fn without_the_key_nothing_is_called_damaged() {
    let place = place().await;
    let pack = place.stored("film", b"film").await;
    let table = fetch_table(&place.plain, &pack).await.unwrap();
    let refused = fetch_block(&place.plain, &pack, &table, BlockIndex(0)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Denied);
    assert!(refused.to_string().contains("TGFS_PASSPHRASE"), "{refused}");
    let log = Bytes::from_static(b"records");
    place.remote.append_log(manifest(1), log).await.unwrap();
    let sealed = place.plain.read_log(manifest(1)).await.unwrap();
    let refused = crate::remote::LogDecoder::new(&sealed).unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Denied);
    assert!(refused.to_string().contains("TGFS_PASSPHRASE"), "{refused}");
}

/// A nonce must never be used for two plaintexts.
#[tokio::test]
async fn a_block_that_changed_in_the_spool_is_not_sent() {
    let place = place().await;
    let bytes = film(3 * BLOCK);
    let pack = place.sealed("film", &bytes);
    let whole = pack.read(ByteRange::new(0, pack.len())).unwrap();
    let mut changed = bytes.clone();
    changed[BLOCK + 1] ^= 1;
    place.input("film", &changed);
    let mut sent = Vec::new();
    let refused = pack.copy_to(&mut sent).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
    assert!(sent == whole[..BLOCK], "only what had not changed");
    let part = |offset, len| pack.read(ByteRange::new(offset, len));
    assert!(part(BLOCK_BYTES, 1).is_err() && part(2 * BLOCK_BYTES - 1, 1).is_err());
    assert_eq!(part(0, 9).unwrap(), whole[..9]);
    let refused = store_pack(&place.remote, &pack).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Corrupt);
    assert_eq!(place.packs_held(), 0);
    // A new pack is another composition, and has another key.
    let again = place.stored("film", &changed).await;
    assert!(read(&place.remote, &again).await.unwrap() == changed);
}

#[tokio::test]
async fn each_range_of_a_pack_is_a_range_of_what_is_stored() {
    let place = place().await;
    let inputs = [3, BLOCK + 9, 0, 2 * BLOCK, 5]
        .iter()
        .enumerate()
        .map(|(at, len)| place.input(&at.to_string(), &film(*len)));
    let inputs: Vec<_> = inputs.collect();
    for cipher in [place.remote.cipher(), place.plain.cipher()] {
        let pack = SealedPack::seal(inputs.clone(), cipher).unwrap();
        let mut whole = Vec::new();
        pack.copy_to(&mut whole).unwrap();
        assert_eq!(whole.len() as u64, pack.len());
        let edges = [0, 1, 3, BLOCK, BLOCK + 1, 2 * BLOCK - 1, whole.len() - 20];
        for start in edges {
            for end in [start, start + 1, start + 7, start + BLOCK, whole.len()] {
                let end = end.min(whole.len());
                let range = ByteRange::new(start as u64, (end - start) as u64);
                assert!(pack.read(range).unwrap() == whole[start..end], "{range:?}");
            }
        }
        assert!(pack.read(ByteRange::new(pack.len(), 1)).is_err());
    }
}

#[tokio::test]
async fn nothing_is_written_that_could_not_be_opened_again() {
    let place = place().await;
    let mut mark = place.plain.library().await.unwrap().unwrap();
    mark.wrap = None;
    place.plain.update_library(&mark).await.unwrap();
    // The library was not encrypted until now.
    place.faulty.heal();
    let remote = unlocked(&place.plain).await;
    assert_eq!(place.plain.library().await.unwrap().unwrap().wrap, None);
    let fault = Fault::Fail(RemoteErrorKind::Full);
    place.faulty.inject(Operation::UpdateLibrary, &fault, 2);
    let pack = SealedPack::seal(vec![place.input("x", b"x")], remote.cipher()).unwrap();
    let refused = remote.put(&pack).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Full);
    let log = Bytes::from_static(b"records");
    let refused = remote.append_log(manifest(1), log.clone()).await;
    assert_eq!(refused.unwrap_err().kind, RemoteErrorKind::Full);
    assert_eq!(place.packs_held(), 0);
    let logged = place.plain.list_log(LogKind::Manifest, 0).await.unwrap();
    assert_eq!(logged, []);
    remote.append_log(manifest(1), log).await.unwrap();
    let mark = place.plain.library().await.unwrap().unwrap();
    assert!(Wrap::decode(&mark.wrap.unwrap()).is_ok());

    // A pack that everybody can read is refused as well.
    let plain = SealedPack::seal(vec![place.input("x", b"x")], place.plain.cipher()).unwrap();
    let refused = remote.put(&plain).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Invalid);
}

#[tokio::test]
async fn what_is_older_than_the_key_stays_readable_and_nothing_newer_is_taken_plain() {
    let place = place().await;
    let mut mark = place.plain.library().await.unwrap().unwrap();
    mark.wrap = None;
    place.plain.update_library(&mark).await.unwrap();
    let bytes = film(BLOCK + 5);
    let input = place.input("old", &bytes);
    let old = SealedPack::seal(vec![input], place.plain.cipher()).unwrap();
    let old = store_pack(&place.plain, &old).await.unwrap();
    let log = Bytes::from_static(b"records");
    place.plain.append_log(manifest(7), log).await.unwrap();

    let remote = unlocked(&place.plain).await;
    assert!(read(&remote, &old).await.unwrap() == bytes);
    assert_eq!(remote.read_log(manifest(7)).await.unwrap(), "records");
    let forged = Bytes::from_static(b"forged");
    place.plain.append_log(manifest(8), forged).await.unwrap();
    let refused = remote.read_log(manifest(8)).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Corrupt);
    // An object under another name is refused, and so is an object of another library.
    let records = Bytes::from_static(b"records");
    remote.append_log(manifest(9), records).await.unwrap();
    let log = place.store.path().join("log");
    let named = |number| log.join(format!("{number:020}-{}", manifest(0).writer));
    std::fs::copy(named(9), named(10)).unwrap();
    assert!(remote.read_log(manifest(9)).await.is_ok());
    let refused = remote.read_log(manifest(10)).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Corrupt);
    let theirs = self::place().await;
    let bytes = Bytes::from_static(b"theirs");
    theirs.remote.append_log(manifest(11), bytes).await.unwrap();
    let theirs = theirs.plain.read_log(manifest(11)).await.unwrap();
    place.plain.append_log(manifest(11), theirs).await.unwrap();
    let refused = remote.read_log(manifest(11)).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Corrupt);
}

/// Neither the bytes of files nor the names of entries are in any file of the store.
#[tokio::test]
async fn no_plain_byte_is_in_the_store() {
    let place = place().await;
    let bytes: Vec<u8> = b"A very plain sentence. ".repeat(40_000);
    place.stored("film", &bytes).await;
    let log = Bytes::from_static(b"films/heat.mkv in a manifest");
    place.remote.append_log(manifest(1), log).await.unwrap();
    let mut files = 0;
    search(place.store.path(), &mut |path, found| {
        files += 1;
        for plain in [&b"plain"[..], b"heat.mkv", b"correct horse"] {
            let shown = path.display();
            assert!(!found.windows(plain.len()).any(|w| w == plain), "{shown}");
        }
    });
    assert_eq!(files, 4, "lock, library, pack, manifest");
}

fn search(directory: &Path, see: &mut dyn FnMut(&Path, &[u8])) {
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            search(&path, see);
        } else {
            see(&path, &std::fs::read(&path).unwrap());
        }
    }
}
