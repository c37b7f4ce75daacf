//! Tests of single parts of ingest over an empty library.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::blob_sender::{BlobSender, BlobToSend};
use super::content::ContentStage;
use super::jobs::{FileStage, Stage};
use super::openings::OpeningOf;
use super::parts::CommonParts;
use super::publish::publisher::Publisher;
use super::slices::slice;
use super::spool_owners::BlobOwner;
use super::views::files::ToolFiles;
use super::views::queue::RemakeReason;
use super::views::requests::RemakeRequests;
use super::views::store::ViewsStore;
use super::{IngestParts, IngestSettings, common_parts};
use crate::cache::BlockCache;
use crate::index::{Index, Owner};
use crate::media::build::cuts::CutPolicy;
use crate::media::tool::ffmpeg::Ffmpeg;
use crate::model::*;
use crate::process::Launcher;
use crate::read::{AheadLimits, ExtentReader};
use crate::remote::LocalRemote;
use crate::remote::testing::FaultyRemote;
use crate::spool::{Spool, SpoolConfig};
use crate::tree::{NewEntry, Tree};

const SPOOL_BYTES: u64 = 1 << 20;

/// Parts over an empty library. Nothing is published.
struct PartsUnderTest {
    parts: CommonParts,
    remote: Arc<FaultyRemote>,
    _directory: tempfile::TempDir,
}

impl PartsUnderTest {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let remote = FaultyRemote::new(Arc::new(LocalRemote::open(&store).unwrap()));
        let state = directory.path().join("state");
        let (index, _) = Index::open(&state, Owner::of_process()).unwrap();
        let index = Arc::new(index);
        let spool = Spool::open(SpoolConfig {
            directory: directory.path().join("spool"),
            capacity: SPOOL_BYTES,
            reserve: 0,
        });
        let spool = Arc::new(spool.unwrap());
        let deadline = Duration::from_secs(1);
        let cache = Arc::new(BlockCache::new(remote.clone(), 1 << 20, deadline));
        let limits = AheadLimits {
            segments: 0,
            readers: 0,
        };
        let parts = IngestParts {
            tree: Arc::new(Tree::new(Arc::clone(&index))),
            reader: ExtentReader::new(Arc::clone(&spool), cache, deadline, limits),
            spool,
            remote: remote.clone(),
            unpublished: Vec::new(),
            publisher: Publisher::start(Arc::clone(&index), remote.clone()),
            tool: Arc::new(Ffmpeg::new(Launcher::Direct)),
            index,
        };
        let settings = IngestSettings {
            pack_bytes: 1 << 20,
            cuts: CutPolicy::default(),
            compat: Compat::Off,
        };
        Self {
            parts: common_parts(parts, settings).unwrap(),
            remote,
            _directory: directory,
        }
    }

    /// Writes a blob of `len` bytes into the spool.
    fn spooled(&self, len: u64) -> Blob {
        let file = self.parts.spool.create().unwrap();
        let bytes = vec![7; usize::try_from(len).unwrap()];
        file.write_all_at(&bytes, 0).unwrap();
        self.parts.spool.count(&file).unwrap();
        Blob {
            id: file.id,
            len,
            digest: None,
            slices: Vec::new(),
        }
    }

    /// Adds a file of these extents to the root.
    fn file(&self, name: &str, blob: &Blob, extents: Vec<Extent>) -> Entry {
        let content = FileContent {
            size: extents.iter().map(|extent| extent.len).sum(),
            extents,
            blobs: vec![blob.clone()],
            ..FileContent::empty()
        };
        let new = NewEntry {
            mode: 0o644,
            uid: 1,
            gid: 1,
        };
        let kind = EntryKind::File(Box::new(content));
        self.parts
            .tree
            .add(EntryId::ROOT, Name::new(name).unwrap(), new, kind)
            .unwrap()
    }

    fn content(&self, entry: &Entry) -> FileContent {
        self.parts.tree.content(entry.id).unwrap()
    }
}

fn all_of(blob: &Blob) -> Extent {
    Extent {
        source: ExtentSource::Blob(blob.id),
        offset: 0,
        len: blob.len,
    }
}

fn hole(len: u64) -> Extent {
    Extent {
        source: ExtentSource::Zeros,
        offset: 0,
        len,
    }
}

fn pack_of(len: u64) -> PackRef {
    PackRef {
        id: PackId::random(),
        address: PackAddress::Local,
        data_len: len,
        len,
        table_digest: Digest::of(b""),
    }
}

#[tokio::test]
async fn a_blob_is_sent_without_the_ranges_that_notes_know_as_sent() {
    let test = PartsUnderTest::new();
    let sender = Arc::new(BlobSender::new(&test.parts));
    let (blob, id) = (test.spooled(100), EntryId::random());
    let known = slice(ByteRange::new(0, 60), 0, pack_of(60));
    test.parts
        .notes
        .note_slices(blob.id, std::slice::from_ref(&known))
        .unwrap();
    test.parts.jobs.submit(id);
    for _ in 0..2 {
        let order = BlobToSend {
            of: FileStage {
                stage: Stage::Content,
                id,
            },
            blob: &blob,
            ranges: vec![ByteRange::new(0, 100)],
            opening: OpeningOf::Nothing,
        };
        sender.send(order, &mut None).await.unwrap();
    }
    let slices = test.parts.notes.slices(blob.id).unwrap();
    assert_eq!(slices[0], known);
    assert_eq!((slices[1].blob_offset, slices[1].len), (60, 40));
    assert_eq!(slices[1].pack.data_len, 40);
    assert_eq!(test.remote.puts(), 1, "the second time nothing is missing");
}

#[tokio::test]
async fn a_stored_file_names_its_packs_and_a_held_one_is_not_sent() {
    let test = PartsUnderTest::new();
    let sender = Arc::new(BlobSender::new(&test.parts));
    let stage = ContentStage::new(&test.parts, sender);
    let blob = test.spooled(100);
    let entry = test.file("a.bin", &blob, vec![all_of(&blob)]);
    let permits = Arc::new(Semaphore::new(1));
    let permit = || Arc::clone(&permits).try_acquire_owned().unwrap();
    test.parts.jobs.submit(entry.id);
    stage.expect(entry.id);
    assert_eq!(test.parts.jobs.unsent(), 100);
    test.parts.jobs.hold(entry.id);
    stage.store(entry.id, permit()).await.unwrap();
    assert_eq!(test.remote.puts(), 0, "it is being written");
    test.parts.jobs.submit(entry.id);
    stage.store(entry.id, permit()).await.unwrap();
    let content = test.content(&entry);
    assert!(content.is_durable());
    assert!(content.blobs[0].digest.is_some());
}

#[tokio::test]
async fn the_tool_reads_the_spool_file_or_a_copy_that_goes_afterwards() {
    let test = PartsUnderTest::new();
    let files = ToolFiles::new(&test.parts);
    let blob = test.spooled(100);
    let whole = test.file("whole.mkv", &blob, vec![all_of(&blob)]);
    let input = files.input(&whole, &test.content(&whole)).await.unwrap();
    let spool_file = test.parts.spool.get(blob.id).unwrap().path.clone();
    assert_eq!(input.path, spool_file);
    drop(input);
    assert!(spool_file.exists(), "it is the spool's");

    let overlay = test.file("overlay.mkv", &blob, vec![all_of(&blob), hole(50)]);
    let input = files
        .input(&overlay, &test.content(&overlay))
        .await
        .unwrap();
    let bytes = std::fs::read(&input.path).unwrap();
    assert_eq!(bytes, [[7; 100].as_slice(), &[0; 50]].concat());
    let copy = input.path.clone();
    drop(input);
    assert!(!copy.exists());
}

#[tokio::test]
async fn a_copy_that_the_spool_can_never_take_is_too_large() {
    let test = PartsUnderTest::new();
    let files = ToolFiles::new(&test.parts);
    let blob = test.spooled(100);
    let again = vec![all_of(&blob); 1 + usize::try_from(SPOOL_BYTES / 100).unwrap()];
    let entry = test.file("large.mkv", &blob, again);
    let error = files.input(&entry, &test.content(&entry)).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_request_keeps_copies_only_while_the_spool_has_room() {
    let test = PartsUnderTest::new();
    let requests = RemakeRequests::new(&test.parts);
    let blob = test.spooled(SPOOL_BYTES / 4);
    let entry = test.file("film.mkv", &blob, vec![all_of(&blob)]);
    test.parts.remakes.ask(entry.id, RemakeReason::Rendition, 0);
    requests.keep_copy(entry.id, &test.content(&entry));
    requests.release_copies();
    assert!(test.parts.owners.is_owned(blob.id), "there is room");
    test.spooled(SPOOL_BYTES / 2);
    requests.release_copies();
    assert!(!test.parts.owners.is_owned(blob.id));

    requests.keep_copy(entry.id, &test.content(&entry));
    requests.forget(entry.id, |version| version == 1);
    assert!(test.parts.owners.is_owned(blob.id), "of another version");
    requests.forget(entry.id, |version| version == 0);
    assert!(!test.parts.owners.is_owned(blob.id));
}

#[tokio::test]
async fn views_of_older_bytes_are_dropped() {
    let test = PartsUnderTest::new();
    let requests = Arc::new(RemakeRequests::new(&test.parts));
    let sender = Arc::new(BlobSender::new(&test.parts));
    let store = ViewsStore::new(&test.parts, requests, sender);
    let blob = test.spooled(100);
    let entry = test.file("film.mkv", &blob, vec![all_of(&blob)]);
    let owner = BlobOwner::Entry(entry.id);
    test.parts.owners.set(owner, vec![blob.id]);
    let version = test.content(&entry).version;
    store
        .set(entry.id, version + 1, ViewsState::NotMedia)
        .unwrap();
    assert_eq!(test.content(&entry).views, ViewsState::Pending);
    store.set(entry.id, version, ViewsState::NotMedia).unwrap();
    assert_eq!(test.content(&entry).views, ViewsState::NotMedia);
    assert!(
        test.parts.owners.is_owned(blob.id),
        "no pack holds the bytes yet"
    );
}
