use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::{LibraryId, WriterId};
use crate::remote::LocalRemote;
use crate::remote::testing::{Fault, FaultyRemote, Operation};

const HORSE: Passphrase = Some("correct horse");
const DONKEY: Passphrase = Some("correct donkey");
type Passphrase = Option<&'static str>;

struct Place {
    store: tempfile::TempDir,
    faulty: Arc<FaultyRemote>,
    inner: Arc<dyn Remote>,
}

impl Place {
    fn new() -> Self {
        let store = tempfile::tempdir().unwrap();
        let faulty = FaultyRemote::new(Arc::new(LocalRemote::open(store.path()).unwrap()));
        let inner = faulty.clone();
        Self {
            store,
            faulty,
            inner,
        }
    }

    async fn unlock(&self, current: Passphrase, old: Passphrase) -> Result<Unlocked, RemoteError> {
        let passphrases = Passphrases::new(current, old);
        let inner = Arc::clone(&self.inner);
        let known = &KnownKey::Nothing;
        unlock(inner, &passphrases, KdfCost::NONE, Deadline::None, known).await
    }

    /// Does the same as [`Self::unlock`] in a state that knows the library without a key.
    async fn unlock_plain(&self, current: Passphrase) -> Result<Unlocked, RemoteError> {
        let passphrases = Passphrases::new(current, None);
        let inner = Arc::clone(&self.inner);
        let mark = self.inner.library().await.unwrap().unwrap();
        let known = &KnownKey::NoKey(mark.id);
        unlock(inner, &passphrases, KdfCost::NONE, Deadline::None, known).await
    }

    /// Returns the kind and text of a refusal, and checks that the store has not changed.
    async fn refused(&self, current: Passphrase, old: Passphrase) -> (RemoteErrorKind, String) {
        let before = self.files();
        let refused = self.unlock(current, old).await.unwrap_err();
        assert!(self.files() == before, "something was written");
        (refused.kind, refused.to_string())
    }

    /// Makes a place with a library that has a manifest, and is encrypted when `passphrase` is set.
    async fn with_library(passphrase: Passphrase) -> Self {
        let place = Self::new();
        let unlocked = place.unlock(passphrase, None).await.unwrap();
        let mark = LibraryMark {
            id: LibraryId::random(),
            wrap: None,
        };
        unlocked.remote.create_library(&mark).await.unwrap();
        unlocked.settle(Deadline::None).await.unwrap();
        append(&unlocked.remote, 1).await;
        place
    }

    async fn wrap(&self) -> Option<Bytes> {
        self.inner.library().await.unwrap().unwrap().wrap
    }

    async fn set_wrap(&self, wrap: Option<&[u8]>) {
        let mut mark = self.inner.library().await.unwrap().unwrap();
        mark.wrap = wrap.map(Bytes::copy_from_slice);
        self.inner.update_library(&mark).await.unwrap();
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(self.store.path(), &mut found);
        found
    }
}

fn collect(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
}

fn manifest(number: u64) -> LogObject {
    LogObject {
        kind: LogKind::Manifest,
        number,
        writer: WriterId::from_bytes([4; 16]),
    }
}

async fn append(remote: &Arc<dyn Remote>, number: u64) {
    let bytes = Bytes::from(format!("manifest {number}"));
    remote.append_log(manifest(number), bytes).await.unwrap();
}

async fn can_read(remote: &Arc<dyn Remote>, number: u64) -> bool {
    let read = remote.read_log(manifest(number)).await;
    read.is_ok_and(|bytes| bytes == format!("manifest {number}"))
}

#[tokio::test]
async fn a_new_library_takes_the_passphrase_and_needs_it() {
    let place = Place::with_library(HORSE).await;
    let (kind, told) = place.refused(None, None).await;
    assert_eq!(kind, RemoteErrorKind::Denied);
    assert!(told.contains("set TGFS_PASSPHRASE"), "{told}");
    let (kind, told) = place.refused(DONKEY, None).await;
    assert_eq!(kind, RemoteErrorKind::Denied);
    assert!(told.contains("not the passphrase"), "{told}");
    let (kind, _) = place.refused(DONKEY, Some("x")).await;
    assert_eq!(kind, RemoteErrorKind::Denied);
    assert!(!told.contains("donkey"), "{told}");
    let opened = place.unlock(HORSE, None).await.unwrap();
    assert_eq!(opened.notes, Vec::<String>::new());
    assert!(can_read(&opened.remote, 1).await);
    let shown = format!("{opened:?} {:?}", Passphrases::new(HORSE, DONKEY));
    assert!(!shown.contains("correct"), "{shown}");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_gets_no_new_key() {
    let place = Place::with_library(HORSE).await;
    std::fs::write(place.store.path().join("library"), b"rot").unwrap();
    let (kind, _) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Corrupt);
    std::fs::remove_file(place.store.path().join("library")).unwrap();
    let (kind, _) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Corrupt);
}

#[tokio::test]
async fn a_passphrase_is_changed_by_one_start_with_both() {
    let place = Place::with_library(HORSE).await;
    let before = place.wrap().await;
    let (_, told) = place.refused(DONKEY, None).await;
    assert!(told.contains("TGFS_PASSPHRASE_OLD"), "{told}");
    let changing = place.unlock(DONKEY, HORSE).await.unwrap();
    assert_eq!(changing.notes.len(), 1, "{:?}", changing.notes);
    assert_eq!(place.wrap().await, before, "written before it was settled");
    let away = Fault::Fail(RemoteErrorKind::Full);
    place.faulty.inject(Operation::UpdateLibrary, &away, 1);
    changing.settle(Deadline::None).await.unwrap_err();
    changing.settle(Deadline::None).await.unwrap();
    assert_ne!(place.wrap().await, before);
    append(&changing.remote, 2).await;

    let (kind, _) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Denied);
    let changed = place.unlock(DONKEY, None).await.unwrap();
    assert_eq!(changed.notes, Vec::<String>::new());
    // An object that was written before the change can be read, too.
    assert!(can_read(&changed.remote, 1).await && can_read(&changed.remote, 2).await);
    let told = place.unlock(DONKEY, HORSE).await.unwrap().notes;
    assert!(told[0].contains("no longer needed"), "{told:?}");
    // The newer manifest opens with the new passphrase even when the mark has lost its wrap.
    place.set_wrap(None).await;
    place.unlock(DONKEY, None).await.unwrap();
}

#[tokio::test]
async fn a_plain_library_is_encrypted_from_a_passphrase_on() {
    let place = Place::with_library(None).await;
    let opened = place.unlock(None, None).await.unwrap();
    assert!(can_read(&opened.remote, 1).await);
    let (kind, told) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Denied);
    assert!(
        told.contains("start once without TGFS_PASSPHRASE"),
        "{told}"
    );
    let opened = place.unlock_plain(HORSE).await.unwrap();
    assert!(
        opened.notes[0].contains("stays readable"),
        "{:?}",
        opened.notes
    );
    assert_eq!(place.wrap().await, None, "written before it was settled");
    opened.settle(Deadline::None).await.unwrap();
    append(&opened.remote, 2).await;
    let (kind, _) = place.refused(None, None).await;
    assert_eq!(kind, RemoteErrorKind::Denied);
    let opened = place.unlock(HORSE, None).await.unwrap();
    assert_eq!(opened.notes, Vec::<String>::new());
    assert!(can_read(&opened.remote, 1).await && can_read(&opened.remote, 2).await);
    // The number up to which the log may be unencrypted survives a change.
    let changing = place.unlock(DONKEY, HORSE).await.unwrap();
    changing.settle(Deadline::None).await.unwrap();
    let changed = place.unlock(DONKEY, None).await.unwrap();
    assert!(can_read(&changed.remote, 1).await);
}

#[tokio::test]
async fn a_lost_or_damaged_key_comes_back_from_the_log() {
    let place = Place::with_library(HORSE).await;
    let good = place.wrap().await.unwrap();
    let mut damaged = good.to_vec();
    damaged[50] ^= 1;
    for broken in [None, Some(&damaged[..]), Some(b""), Some(&good[..100])] {
        place.set_wrap(broken).await;
        let (kind, _) = place.refused(DONKEY, None).await;
        assert_eq!(kind, RemoteErrorKind::Denied);
        let opened = place.unlock(HORSE, None).await.unwrap();
        assert!(opened.notes[0].contains("put back"), "{:?}", opened.notes);
        assert!(can_read(&opened.remote, 1).await);
        opened.settle(Deadline::None).await.unwrap();
        assert_eq!(place.wrap().await.as_ref(), Some(&good));
    }
    // The newest object that can be read counts. Here one object is cut, and one is missing.
    let log = place.store.path().join("log");
    for number in 2..5 {
        append(&place.unlock(HORSE, None).await.unwrap().remote, number).await;
    }
    let name = |number| log.join(format!("{number:020}-{}", manifest(0).writer));
    std::fs::write(name(4), b"tgfsENC1\x74").unwrap();
    std::fs::remove_file(name(3)).unwrap();
    place.set_wrap(Some(&damaged)).await;
    place.unlock(HORSE, None).await.unwrap();
    // Only the mark had the wrap. A new key must not be made.
    for number in [1, 2, 4] {
        std::fs::remove_file(name(number)).unwrap();
    }
    let (kind, told) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Corrupt, "{told}");
}

#[tokio::test]
async fn a_key_that_asks_for_too_much_or_is_too_new_is_refused() {
    let place = Place::with_library(HORSE).await;
    let cost = KdfCost {
        memory_kib: 2 * 1024 * 1024,
        passes: 1,
        lanes: 1,
    };
    let costly = Wrap::sample().with_cost(cost).encode().unwrap();
    place.set_wrap(Some(&costly)).await;
    let (kind, told) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Corrupt);
    assert!(told.contains("2048 MiB"), "{told}");
    let mut newer = Wrap::sample().encode().unwrap();
    newer[2] = 2;
    let end = newer.len() - 4;
    let crc = crc32fast::hash(&newer[..end]).to_le_bytes();
    newer[end..].copy_from_slice(&crc);
    place.set_wrap(Some(&newer)).await;
    let (kind, told) = place.refused(HORSE, None).await;
    assert_eq!(kind, RemoteErrorKind::Foreign);
    assert!(told.contains("newer"), "{told}");
}
