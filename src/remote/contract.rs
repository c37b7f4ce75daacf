//! Contract of all remotes. It runs against each of them and against a stack of decorators.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::testing::{Fault, FaultyRemote, MirrorRemote, ObjectBucket, ObjectRemote, Operation};
use super::*;
use bytes::Bytes;

use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, LibraryId, WriterId};

fn sample_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

pub(super) fn sealed(
    remote: &Arc<dyn Remote>,
    directory: &Path,
    lens: &[usize],
) -> (SealedPack, Vec<u8>) {
    let mut inputs = Vec::new();
    let mut expected = Vec::new();
    for (number, len) in lens.iter().enumerate() {
        let path = directory.join(format!("{number}"));
        let bytes = sample_bytes(len + 3);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        expected.extend_from_slice(&bytes[3..]);
        inputs.push(PackInput {
            path,
            offset: 3,
            len: *len as u64,
        });
    }
    let pack = SealedPack::seal(inputs, remote.cipher()).unwrap();
    (pack, expected)
}

pub(super) const BLOCK: usize = BLOCK_BYTES as usize;

async fn packs_come_back(remote: &Arc<dyn Remote>) {
    for lens in [
        &[1][..],
        &[BLOCK],
        &[BLOCK + 1, 7, 2 * BLOCK - 8],
        &[3, 0, 5],
        &[],
    ] {
        let spool = tempfile::tempdir().unwrap();
        let (pack, expected) = sealed(remote, spool.path(), lens);
        assert_eq!(pack.data_len() as usize, expected.len());
        let stored = store_pack(remote, &pack).await.unwrap();
        assert_eq!(pack.meter().bytes(), pack.len(), "put tells its progress");
        assert_eq!(stored.table_digest, pack.table_digest());
        assert_eq!(remote.size(&stored).await.unwrap(), stored.len);
        drop(spool);
        let table = fetch_table(remote, &stored).await.unwrap();
        let wanted: Vec<u64> = lens.iter().map(|len| *len as u64).collect();
        assert_eq!(table.slices(), wanted);
        let mut found = Vec::new();
        for block in 0..table.block_count() {
            found.extend(
                fetch_block(remote, &stored, &table, BlockIndex(block))
                    .await
                    .unwrap(),
            );
        }
        assert!(found == expected, "{lens:?}");
        // A pack explains itself from its last bytes to its table.
        let end = remote
            .get(
                &stored,
                ByteRange::new(stored.len - 16, 16),
                Urgency::Waited,
            )
            .await
            .unwrap();
        let table_len = u64::from_le_bytes(end[..8].try_into().unwrap());
        assert_eq!(table_len, stored.len - stored.data_len - 16);
        assert_eq!(&end[8..], b"tgfsPAK1");
        let behind = remote
            .get(&stored, ByteRange::new(stored.len - 1, 2), Urgency::Ahead)
            .await;
        assert!(behind.is_err());
        remote.delete(&stored).await.unwrap();
        remote.delete(&stored).await.unwrap();
        let gone = remote.size(&stored).await.unwrap_err();
        assert_eq!(gone.kind, RemoteErrorKind::NotFound);
        let gone = remote
            .get(&stored, ByteRange::new(0, 1), Urgency::Waited)
            .await
            .unwrap_err();
        assert_eq!(gone.kind, RemoteErrorKind::NotFound);
    }
}

async fn the_log_keeps_all_objects_in_order(remote: &Arc<dyn Remote>) {
    let kind = LogKind::Manifest;
    let object = |number, kind| LogObject {
        kind,
        number,
        writer: WriterId::random(),
    };
    assert!(remote.list_log(kind, 0).await.unwrap().is_empty());
    let mut objects = vec![
        object(1, kind),
        object(2, kind),
        object(2, kind),
        object(10, kind),
    ];
    objects.sort();
    for at in [3, 0, 2, 1] {
        let bytes = Bytes::from(format!("{at}"));
        remote.append_log(objects[at], bytes).await.unwrap();
    }
    let snapshot = object(2, LogKind::Snapshot);
    remote
        .append_log(snapshot, Bytes::from_static(b"s"))
        .await
        .unwrap();
    assert_eq!(remote.list_log(kind, 0).await.unwrap(), objects);
    assert_eq!(remote.list_log(kind, 2).await.unwrap(), objects[3..]);
    assert_eq!(
        remote.list_log(LogKind::Snapshot, 0).await.unwrap(),
        [snapshot]
    );
    for (at, object) in objects.iter().enumerate() {
        assert_eq!(remote.read_log(*object).await.unwrap(), format!("{at}"));
    }
    remote.delete_log(objects[0]).await.unwrap();
    remote.delete_log(objects[0]).await.unwrap();
    let gone = remote.read_log(objects[0]).await.unwrap_err();
    assert_eq!(gone.kind, RemoteErrorKind::NotFound);
}

async fn a_library_is_made_once(remote: &Arc<dyn Remote>) {
    assert_eq!(remote.library().await.unwrap(), None);
    let mut mark = mark(LibraryId::random());
    let nothing = remote.update_library(&mark).await.unwrap_err();
    assert_eq!(nothing.kind, RemoteErrorKind::Foreign);
    remote.create_library(&mark).await.unwrap();
    assert_eq!(remote.library().await.unwrap().unwrap().id, mark.id);
    let again = remote
        .create_library(&self::mark(LibraryId::random()))
        .await;
    assert_eq!(again.unwrap_err().kind, RemoteErrorKind::Foreign);
    let first = remote.library().await.unwrap().unwrap().wrap;
    for wrap in [Some(Bytes::from(vec![0xb7; MAX_WRAP_BYTES])), None, first] {
        mark.wrap = wrap;
        remote.update_library(&mark).await.unwrap();
        assert_eq!(remote.library().await.unwrap().as_ref(), Some(&mark));
    }
    mark.id = LibraryId::random();
    let other = remote.update_library(&mark).await.unwrap_err();
    assert_eq!(other.kind, RemoteErrorKind::Foreign);
}

fn mark(id: LibraryId) -> LibraryMark {
    LibraryMark { id, wrap: None }
}

pub(super) async fn contract(remote: Arc<dyn Remote>) {
    a_library_is_made_once(&remote).await;
    packs_come_back(&remote).await;
    the_log_keeps_all_objects_in_order(&remote).await;
}

#[tokio::test]
async fn local_keeps_the_contract() {
    let store = tempfile::tempdir().unwrap();
    contract(Arc::new(LocalRemote::open(store.path()).unwrap())).await;
}

#[tokio::test]
async fn a_decorated_remote_keeps_the_contract() {
    let store = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalRemote::open(store.path()).unwrap());
    contract(FaultyRemote::new(FaultyRemote::new(local))).await;
}

#[tokio::test]
async fn an_encrypted_remote_keeps_the_contract() {
    let store = tempfile::tempdir().unwrap();
    contract(encrypted(FaultyRemote::new(local(store.path()))).await).await;
    let store = tempfile::tempdir().unwrap();
    contract(FaultyRemote::new(encrypted(local(store.path())).await)).await;
}

#[tokio::test]
async fn an_object_store_keeps_the_contract_alone_and_under_the_decorators() {
    contract(Arc::new(ObjectRemote::default())).await;
    let faulty = FaultyRemote::new(Arc::new(ObjectRemote::default()));
    contract(FaultyRemote::new(encrypted(faulty).await)).await;
}

#[tokio::test]
async fn a_mirror_keeps_the_contract_alone_and_between_the_decorators() {
    let store = tempfile::tempdir().unwrap();
    contract(Arc::new(MirrorRemote::new(
        local(store.path()),
        Arc::new(ObjectRemote::default()),
    )))
    .await;
    let store = tempfile::tempdir().unwrap();
    let faulty = FaultyRemote::new(local(store.path()));
    let mirror = Arc::new(MirrorRemote::new(faulty, Arc::new(ObjectRemote::default())));
    contract(encrypted(mirror).await).await;
}

#[tokio::test]
async fn a_mirror_reads_its_copy_when_the_first_store_fails() {
    let (first, bucket) = (
        FaultyRemote::new(Arc::new(ObjectRemote::default())),
        Arc::<ObjectBucket>::default(),
    );
    let second = ObjectRemote::new(Arc::clone(&bucket));
    let remote: Arc<dyn Remote> = Arc::new(MirrorRemote::new(first.clone(), Arc::new(second)));
    let spool = tempfile::tempdir().unwrap();
    let (pack, expected) = sealed(&remote, spool.path(), &[10]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    let table = fetch_table(&remote, &stored).await.unwrap();
    first.inject(
        Operation::Get,
        &Fault::Fail(RemoteErrorKind::Unavailable),
        1,
    );
    let block = fetch_block(&remote, &stored, &table, BlockIndex(0)).await;
    assert_eq!(block.unwrap(), expected);
    // When both fail, the error is that of the first store.
    let alone = ObjectRemote::new(bucket);
    alone.delete(&stored).await.unwrap();
    first.inject(
        Operation::Get,
        &Fault::Fail(RemoteErrorKind::Unavailable),
        1,
    );
    let error = fetch_block(&remote, &stored, &table, BlockIndex(0))
        .await
        .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unavailable);
}

/// A decorator that changes nothing.
#[derive(Debug)]
struct Unchanged(Arc<dyn Remote>);
impl PackLayer for Unchanged {
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.0
    }
}
impl LogLayer for Unchanged {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.0
    }
}
impl ForeignLayer for Unchanged {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.0
    }
}

#[tokio::test]
async fn a_layer_forwards_all_that_it_does_not_change() {
    let inner = FaultyRemote::new(encrypted(Arc::new(ObjectRemote::default())).await);
    inner.set_locality(Locality::Near);
    let remote: Arc<dyn Remote> = Arc::new(Unchanged(inner.clone()));
    contract(Arc::clone(&remote)).await;
    assert_eq!(PackStore::locality(&*remote), Locality::Near);
    assert_eq!(remote.write_hints(), PackStore::write_hints(&*inner));
    assert_eq!(remote.describe(), "objects");
    assert!(matches!(remote.cipher(), Cipher::Keyed(_)));
    let refused = remote.foreign("@films").await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Invalid);
}

fn local(store: &Path) -> Arc<dyn Remote> {
    Arc::new(LocalRemote::open(store).unwrap())
}

/// Returns the same remote with encryption of everything that goes there.
pub(super) async fn encrypted(remote: Arc<dyn Remote>) -> Arc<dyn Remote> {
    let passphrases = Passphrases::new(Some("correct horse"), None);
    let (cost, deadline) = (KdfCost::NONE, retry::Deadline::None);
    let unlocked = unlock(remote, &passphrases, cost, deadline, &KnownKey::Nothing);
    unlocked.await.unwrap().remote
}

#[tokio::test(start_paused = true)]
async fn a_pack_is_stored_in_spite_of_outages() {
    let store = tempfile::tempdir().unwrap();
    let spool = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalRemote::open(store.path()).unwrap());
    let faulty = FaultyRemote::new(local);
    let unavailable = Fault::Fail(RemoteErrorKind::Unavailable);
    faulty.inject(Operation::Put, &unavailable, 5);
    faulty.inject(Operation::Put, &Fault::LoseReply, 1);
    faulty.inject(Operation::Get, &unavailable, 3);
    let remote: Arc<dyn Remote> = faulty;
    let (pack, _) = sealed(&remote, spool.path(), &[10]);
    store_pack(&remote, &pack).await.unwrap();
}

#[tokio::test]
async fn a_pack_that_comes_back_wrong_is_not_acknowledged() {
    let store = tempfile::tempdir().unwrap();
    let spool = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalRemote::open(store.path()).unwrap());
    let faulty = FaultyRemote::new(local);
    let remote: Arc<dyn Remote> = faulty.clone();
    let (pack, _) = sealed(&remote, spool.path(), &[10]);
    faulty.inject(Operation::Get, &Fault::FlipBit, 1);
    let error = store_pack(&remote, &pack).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Corrupt);

    // The spool changed between sealing and sending.
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK, BLOCK]);
    std::fs::write(spool.path().join("1"), vec![0; BLOCK + 3]).unwrap();
    let error = store_pack(&remote, &pack).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Corrupt);
    let folders = std::fs::read_dir(store.path().join("packs")).unwrap();
    for folder in folders {
        let left = std::fs::read_dir(folder.unwrap().path()).unwrap().count();
        assert_eq!(left, 0);
    }
}

#[tokio::test]
async fn missing_and_unreadable_are_told_apart() {
    let store = tempfile::tempdir().unwrap();
    let remote = LocalRemote::open(store.path()).unwrap();
    remote
        .create_library(&mark(LibraryId::random()))
        .await
        .unwrap();
    let path = store.path().join("library");
    std::fs::write(&path, b"rot").unwrap();
    let error = remote.library().await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Corrupt);
    // When the mark is gone while a log is there, no new library is made either.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(remote.library().await.unwrap(), None);
    let object = LogObject {
        kind: LogKind::Manifest,
        number: 1,
        writer: WriterId::random(),
    };
    remote.append_log(object, Bytes::new()).await.unwrap();
    let error = remote.library().await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Corrupt);
    drop(remote);
    let remote = LocalRemote::open(store.path()).unwrap();
    let held = LocalRemote::open(store.path()).unwrap_err();
    assert_eq!(held.kind, RemoteErrorKind::Locked);
    assert!(held.to_string().contains(&std::process::id().to_string()));
    drop(remote);
}

/// Stored bytes never change within a version.
#[tokio::test]
async fn a_pack_keeps_its_bytes() {
    for (table, expected) in PackTable::samples()
        .into_iter()
        .zip(["a4773adacf7b6edd", "2bfef2fe9c99861a"])
    {
        let bytes = table.encode().unwrap();
        assert_eq!(PackTable::decode(&bytes).unwrap(), table);
        let digest = crate::model::Digest::of(&bytes).to_string();
        assert_eq!(&digest[..16], expected);
    }
    let header = LogHeader {
        library: LibraryId::from_bytes([1; 16]),
        writer: WriterId::from_bytes([2; 16]),
        epoch: 3,
        number: 4,
        previous: crate::model::Digest([5; 32]),
        first: crate::model::Seq(6),
        last: crate::model::Seq(7),
        next_ino: crate::model::Ino(8),
        last_seq: crate::model::Seq(9),
    };
    let bytes = crate::codec::encode(&header).unwrap();
    let digest = crate::model::Digest::of(&bytes).to_string();
    assert_eq!(&digest[..16], "b7eb291a5f71e87b");
}

#[test]
fn a_mark_keeps_its_bytes() {
    let mut mark = mark(LibraryId::from_bytes([1; 16]));
    for (wrap, expected) in [
        (None, "c7cb0316139b9a93"),
        (Some(Bytes::from_static(b"wrap")), "d1eee8b0017c20c2"),
    ] {
        mark.wrap = wrap;
        let bytes = local::encode_mark(&mark).unwrap();
        assert_eq!(local::decode_mark(&bytes).unwrap(), mark);
        let digest = crate::model::Digest::of(&bytes).to_string();
        assert_eq!(&digest[..16], expected);
    }
}
