//! What somebody does to a library's key who may write to its store.

use std::sync::Arc;

use bytes::Bytes;

use super::{LockedRemote, WRAP, WRAP_BEFORE};
use crate::model::{KeyStore as _, LibraryId, WriterId};
use crate::remote::retry::Deadline;
use crate::remote::{
    KdfCost, LibraryMark, LocalRemote, LogKind, LogObject, LogStore, MemoryKeys, Passphrases,
    Remote, RemoteError, RemoteErrorKind,
};

const HORSE: &str = "correct horse";
const DONKEY: &str = "correct donkey";

/// A store, and the rows of a state that uses it.
struct Home {
    store: tempfile::TempDir,
    local: Arc<dyn Remote>,
    keys: Arc<MemoryKeys>,
}

impl Home {
    /// Makes an encrypted library with this many manifests.
    async fn new(manifests: u64) -> Self {
        let home = Self::bare();
        let remote = home.start(Some(HORSE), None);
        remote.create_library(&mark(None)).await.unwrap();
        remote.settle(Deadline::None).await.unwrap();
        for number in 1..=manifests {
            append(&*remote, number).await;
        }
        home
    }

    fn bare() -> Self {
        let store = tempfile::tempdir().unwrap();
        Self {
            local: Arc::new(LocalRemote::open(store.path()).unwrap()),
            store,
            keys: Arc::default(),
        }
    }

    fn local(&self) -> Arc<dyn Remote> {
        Arc::clone(&self.local)
    }

    /// Begins another run of the same state.
    fn start(&self, current: Option<&str>, old: Option<&str>) -> Arc<LockedRemote> {
        let keys = Arc::<MemoryKeys>::clone(&self.keys);
        let passphrases = Passphrases::new(current, old);
        LockedRemote::keeping(self.local(), passphrases, KdfCost::NONE, keys)
    }

    /// Runs a state to the point where its library is known to belong to it.
    async fn settled(&self, current: Option<&str>) -> Result<Arc<LockedRemote>, RemoteError> {
        let remote = self.start(current, None);
        remote.library().await?;
        remote.settle(Deadline::None).await?;
        Ok(remote)
    }

    fn kept(&self) -> Option<Vec<u8>> {
        self.keys.get(WRAP).unwrap()
    }

    async fn set_wrap(&self, wrap: Option<Bytes>) {
        self.local().update_library(&mark(wrap)).await.unwrap();
    }

    async fn wrap(&self) -> Option<Bytes> {
        self.local().library().await.unwrap().unwrap().wrap
    }

    fn delete_log(&self) {
        for file in std::fs::read_dir(self.store.path().join("log")).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }

    /// Checks that a start is refused and neither the store's mark nor the kept key changes.
    async fn refused(&self, passphrase: Option<&str>) -> String {
        let before = (self.kept(), self.wrap().await);
        let refused = self.settled(passphrase).await.unwrap_err();
        assert_eq!(refused.kind, RemoteErrorKind::Denied, "{refused}");
        assert_eq!((self.kept(), self.wrap().await), before);
        refused.to_string()
    }
}

fn mark(wrap: Option<Bytes>) -> LibraryMark {
    LibraryMark {
        id: LibraryId::from_bytes([3; 16]),
        wrap,
    }
}

fn manifest(number: u64) -> LogObject {
    LogObject {
        kind: LogKind::Manifest,
        number,
        writer: WriterId::from_bytes([4; 16]),
    }
}

async fn append(remote: &dyn LogStore, number: u64) {
    let bytes = Bytes::from(format!("manifest {number}"));
    remote.append_log(manifest(number), bytes).await.unwrap();
}

async fn can_read(remote: &dyn LogStore, number: u64) -> bool {
    let read = remote.read_log(manifest(number)).await;
    read.is_ok_and(|bytes| bytes == format!("manifest {number}"))
}

/// An older program must not take a key that it cannot read for none.
#[tokio::test]
async fn a_kept_key_of_a_newer_release_is_known_all_the_same() {
    let home = Home::new(1).await;
    let newer = b"a wrap of a form that comes later";
    home.keys.put(WRAP, newer).unwrap();
    home.set_wrap(None).await;
    for passphrase in [Some(HORSE), None] {
        let error = home.settled(passphrase).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
    }
    assert_eq!(home.kept().as_deref(), Some(&newer[..]));
}

#[tokio::test]
async fn a_key_that_the_state_knows_comes_back_into_a_replaced_mark() {
    let home = Home::new(1).await;
    let (kept, wrap) = (home.kept(), home.wrap().await);
    assert_eq!(kept.as_deref(), wrap.as_deref());
    let file = home.store.path().join("log");
    let file = std::fs::read_dir(file).unwrap().next().unwrap().unwrap();
    let sealed = std::fs::read(file.path()).unwrap();
    for damaged in [None, Some(Bytes::from_static(b"rot"))] {
        home.set_wrap(damaged).await;
        home.delete_log();
        let told = home.refused(None).await;
        assert!(told.contains("set TGFS_PASSPHRASE"), "{told}");
        home.refused(Some(DONKEY)).await;
        let remote = home.settled(Some(HORSE)).await.unwrap();
        assert_eq!(
            (home.kept(), home.wrap().await),
            (kept.clone(), wrap.clone())
        );
        // What was written with the key before can be read.
        std::fs::write(file.path(), &sealed).unwrap();
        assert!(can_read(&*remote, 1).await);
    }
}

/// The store is empty, as when its disk is not mounted or somebody deleted all of it.
#[tokio::test]
async fn an_empty_store_does_not_replace_a_known_key() {
    let home = Home::new(0).await;
    let kept = home.kept();
    std::fs::remove_file(home.store.path().join("library")).unwrap();
    let remote = home.start(Some(HORSE), None);
    assert_eq!(remote.library().await.unwrap(), None);
    remote.settle(Deadline::None).await.unwrap_err();
    assert_eq!(home.kept(), kept);
    let refused = home.start(Some(DONKEY), None).library().await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Denied);
}

#[tokio::test]
async fn another_key_under_the_same_passphrase_is_refused() {
    let (home, other) = (Home::new(1).await, Home::new(0).await);
    home.set_wrap(other.wrap().await).await;
    let told = home.refused(Some(HORSE)).await;
    assert!(told.contains("another key"), "{told}");
}

#[tokio::test]
async fn a_new_state_with_a_passphrase_refuses_a_library_without_a_key() {
    let mut home = Home::new(1).await;
    home.set_wrap(None).await;
    home.delete_log();
    home.keys = Arc::default();
    let told = home.refused(Some(HORSE)).await;
    assert!(told.contains("has no key"), "{told}");
}

#[tokio::test]
async fn the_wrap_is_found_in_all_of_the_log() {
    let mut home = Home::new(1).await;
    let wrap = home.wrap().await;
    // Objects that anybody can put behind ours: plain ones, and ones with a wrap of their own.
    let local = home.local();
    for number in 2..40 {
        append(&*local, number).await;
    }
    let elsewhere = Home::bare();
    let donkeys = elsewhere.start(Some(DONKEY), None);
    donkeys.create_library(&mark(None)).await.unwrap();
    append(&*donkeys, 41).await;
    let closed = elsewhere.local().read_log(manifest(41)).await.unwrap();
    local.append_log(manifest(41), closed).await.unwrap();
    home.set_wrap(None).await;
    home.keys = Arc::default();
    let remote = home.settled(Some(HORSE)).await.unwrap();
    assert_eq!(home.wrap().await, wrap);
    assert!(can_read(&*remote, 1).await);
}

#[tokio::test]
async fn a_state_that_used_the_library_without_a_key_may_give_it_one() {
    let home = Home::bare();
    home.local().create_library(&mark(None)).await.unwrap();
    home.refused(Some(HORSE)).await;
    home.settled(None).await.unwrap();
    home.settled(Some(HORSE)).await.unwrap();
    assert_eq!(home.kept().as_deref(), home.wrap().await.as_deref());
    // From then on the state knows the key.
    home.set_wrap(None).await;
    home.refused(None).await;
    home.settled(Some(HORSE)).await.unwrap();
    assert_eq!(home.kept().as_deref(), home.wrap().await.as_deref());
}

#[tokio::test]
async fn a_changed_passphrase_leaves_the_wrap_before() {
    let home = Home::new(1).await;
    let before = home.kept().unwrap();
    let changing = home.start(Some(DONKEY), Some(HORSE));
    assert!(can_read(&*changing, 1).await);
    changing.settle(Deadline::None).await.unwrap();
    assert_eq!(home.kept().as_deref(), home.wrap().await.as_deref());
    let rows = home.keys.scan(WRAP_BEFORE).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].1, before);
    // The mark lost its key after another state changed the passphrase again.
    home.set_wrap(None).await;
    let remote = home.settled(Some(DONKEY)).await.unwrap();
    assert!(can_read(&*remote, 1).await);
}
