//! Tests of changes on their way into the remote's log and back, with all failures that may happen there.

mod catch_up;
mod damage;
mod encryption;
mod hostile;
mod library;
mod moving;
mod recovery;

use std::path::Path;
use std::sync::Arc;

use super::attach_error::{AttachError, AttachReport};
use super::cleanup::{CleanupReport, delete_dying_packs, left_behind};
use super::fill::{Patience, attach};
use super::recover::{RecoverError, RecoverReport, Recovery};
use super::verify::verify;
use crate::index::{Index, IndexCondition, OpenReport, Owner};
use crate::ingest::publish::publisher::Publisher;
use crate::model::*;
use crate::remote::testing::{Fault, FaultyRemote, Operation};
use crate::remote::{
    LocalRemote, LogEncoder, LogHeader, LogKind, LogObject, PackInput, Remote, RemoteErrorKind,
    SealedPack, store_pack,
};

const OWNER: Owner = Owner { uid: 1, gid: 2 };

/// A state and a store, wired as `app` does it.
struct Library {
    state: tempfile::TempDir,
    store: tempfile::TempDir,
    index: Arc<Index>,
    faulty: Arc<FaultyRemote>,
    remote: Arc<dyn Remote>,
}

fn open_store(store: &Path) -> (Arc<FaultyRemote>, Arc<dyn Remote>) {
    let faulty = FaultyRemote::new(Arc::new(LocalRemote::open(store).unwrap()));
    let remote: Arc<dyn Remote> = faulty.clone();
    (faulty, remote)
}

fn open_index(state: &Path) -> (Arc<Index>, OpenReport) {
    let (index, report) = Index::open(state, OWNER).unwrap();
    (Arc::new(index), report)
}

fn soon() -> Patience {
    Patience::Limited(std::time::Duration::from_secs(20))
}

async fn attach_to(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
) -> Result<AttachReport, AttachError> {
    attach(index, remote, LibraryClaim::Continue, soon()).await
}

async fn recover(
    state: &Path,
    remote: &Arc<dyn Remote>,
    claim: LibraryClaim,
) -> Result<RecoverReport, RecoverError> {
    let recovery = Recovery::begin(state, OWNER)?;
    let settled = std::future::ready(Ok(()));
    recovery.run(remote, claim, soon(), settled).await
}

impl Library {
    async fn new() -> Self {
        let store = tempfile::tempdir().unwrap();
        let (faulty, remote) = open_store(store.path());
        Self::over(store, faulty, remote).await
    }

    async fn over(
        store: tempfile::TempDir,
        faulty: Arc<FaultyRemote>,
        remote: Arc<dyn Remote>,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (index, _) = open_index(state.path());
        attach_to(&index, &remote).await.unwrap();
        Self {
            state,
            store,
            index,
            faulty,
            remote,
        }
    }

    fn publisher(&self) -> Publisher {
        Publisher::start(Arc::clone(&self.index), Arc::clone(&self.remote))
    }

    async fn publish(&self) {
        let publisher = self.publisher();
        publisher.drained().await.unwrap();
        publisher.stop().await;
        drop(publisher);
    }

    fn commit(&self, changes: &[Change]) {
        self.index.commit(changes).unwrap();
    }

    fn directory(&self, parent: EntryId, name: &str) -> Entry {
        let entry = self.entry(parent, name, EntryKind::Directory);
        self.commit(&[put(&entry)]);
        entry
    }

    fn entry(&self, parent: EntryId, name: &str, kind: EntryKind) -> Entry {
        let ino = self.index.next_ino();
        let time = |seconds| Timestamp { seconds, nanos: 9 };
        Entry {
            id: EntryId::random(),
            parent,
            name: Name::new(name).unwrap(),
            ino,
            attributes: Attributes {
                mode: 0o640,
                uid: 3,
                gid: 4,
                atime: time(1),
                mtime: time(1_600_000_000 + ino.0 as i64),
                ctime: time(3),
                created: time(4),
                xattrs: XattrMap::new(),
            },
            kind,
        }
    }

    /// Adds a file whose bytes are in a pack of their own.
    async fn stored_file(&self, parent: EntryId, name: &str, bytes: &[u8]) -> Entry {
        let content = self.stored_content(bytes).await;
        let entry = self.entry(parent, name, EntryKind::File(Box::new(content)));
        self.commit(&[put(&entry)]);
        entry
    }

    async fn stored_content(&self, bytes: &[u8]) -> FileContent {
        let spool = tempfile::tempdir().unwrap();
        let path = spool.path().join("blob");
        std::fs::write(&path, bytes).unwrap();
        let len = bytes.len() as u64;
        let input = PackInput {
            path,
            offset: 0,
            len,
        };
        let pack = SealedPack::seal(vec![input], self.remote.cipher()).unwrap();
        let pack = store_pack(&self.remote, &pack).await.unwrap();
        let mut content = spooled_content(len);
        content.blobs[0].slices = vec![PackSlice {
            blob_offset: 0,
            pack_offset: 0,
            len,
            pack,
        }];
        content
    }

    /// Ends the library as `kill -9` does, and removes the directories `lose` from the state.
    fn crashed(self, lose: &[&str]) -> (tempfile::TempDir, tempfile::TempDir) {
        drop(self.index);
        for name in lose {
            std::fs::remove_dir_all(self.state.path().join(name)).unwrap();
        }
        (self.state, self.store)
    }
}

fn spooled_content(len: u64) -> FileContent {
    let blob = BlobId::random();
    let mut content = FileContent::empty();
    content.version = 1;
    content.size = len;
    content.extents = vec![Extent {
        source: ExtentSource::Blob(blob),
        offset: 0,
        len,
    }];
    content.blobs = vec![Blob {
        id: blob,
        len,
        digest: None,
        slices: Vec::new(),
    }];
    content
}

fn put(entry: &Entry) -> Change {
    Change::Put(Box::new(entry.clone()))
}
fn remove(entry: &Entry) -> Change {
    Change::Remove {
        id: entry.id,
        released: Vec::new(),
    }
}
fn packs(entry: &Entry) -> Vec<PackRef> {
    match &entry.kind {
        EntryKind::Directory => Vec::new(),
        EntryKind::File(content) => content.packs(),
    }
}

/// Returns all entries by path, found by listing directories from the root.
fn tree(index: &Index) -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), EntryId::ROOT)];
    while let Some((path, id)) = open.pop() {
        found.push((path.clone(), index.entry(id).unwrap().unwrap()));
        for child in index.children(id, Ino(0), 10_000).unwrap() {
            assert_eq!(index.node_by_ino(child.ino).unwrap().unwrap().id, child.id);
            open.push((format!("{path}/{}", child.name.display()), child.id));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn paths(index: &Index) -> Vec<String> {
    tree(index).into_iter().map(|(path, _)| path).collect()
}
