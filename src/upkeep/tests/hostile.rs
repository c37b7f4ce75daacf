//! What somebody can do to the tree who may write to a store without a passphrase.

use super::*;
use crate::ingest::publish::log_objects::LogSizes;
use crate::model::{
    AudioRole, ByteRange, InPlace, MAX_MAP_FRAME, MAX_STORED, SegmentInfo, Track, TrackKind, Views,
};

/// Appends a manifest with these records, whose header allows numbers up to `highest`.
async fn forge(library: &Library, number: u64, highest: u64, records: &[LogRecord]) {
    let header = LogHeader {
        library: library.index.library_id(),
        writer: WriterId::random(),
        epoch: 0,
        number,
        previous: Digest([1; 32]),
        first: Seq(1),
        last: Seq(highest),
        next_ino: Ino(highest),
        last_seq: Seq(highest),
    };
    let mut encoder = LogEncoder::new(&header).unwrap();
    for record in records {
        encoder.push(record).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    let object = LogObject {
        kind: LogKind::Manifest,
        number,
        writer: header.writer,
    };
    library.remote.append_log(object, bytes).await.unwrap();
}

fn record(seq: u64, change: Change) -> LogRecord {
    LogRecord {
        seq: Seq(seq),
        change,
    }
}

/// Reads the library into a new state.
async fn read_anew(library: &Library) -> (tempfile::TempDir, Arc<Index>, AttachReport) {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open_index(state.path());
    let report = attach_to(&index, &library.remote).await.unwrap();
    (state, index, report)
}

async fn with_one_file() -> (Library, Entry) {
    let library = Library::new().await;
    let film = library.stored_file(EntryId::ROOT, "film", b"x").await;
    library.publish().await;
    (library, film)
}

#[tokio::test]
async fn forged_numbers_do_not_use_up_the_numbers_of_later_changes() {
    let (library, film) = with_one_file().await;
    let next = library.index.log_head().number + 1;
    let mut raised = film.clone();
    raised.name = Name::new("raised").unwrap();
    let mut far = film.clone();
    (far.id, far.ino) = (EntryId::random(), Ino(u64::MAX));
    // Numbers above those of the header, and headers with the highest numbers.
    let records = [record(u64::MAX, put(&raised)), record(900, put(&far))];
    forge(&library, next, 1000, &records).await;
    for (step, highest) in [u64::MAX, MAX_STORED, 1 << 50].into_iter().enumerate() {
        let number = next + 1 + step as u64;
        forge(&library, number, highest, &[record(highest, put(&raised))]).await;
    }
    for number in [u64::MAX, 1 << 50] {
        forge(&library, number, 1000, &[]).await;
    }
    let (_state, index, report) = read_anew(&library).await;
    assert_eq!(paths(&index), ["", "/film"]);
    assert!(index.last_seq() <= Seq(1000), "{:?}", index.last_seq());
    assert!(index.ino_bound() <= Ino(1000), "{:?}", index.ino_bound());
    assert!(index.log_head().number < 100, "{:?}", index.log_head());
    let told = report.notes.join("\n");
    assert!(told.contains("2 of its records are passed over"), "{told}");
    assert!(
        told.contains("raised") && told.contains("impossible"),
        "{told}"
    );
    // A removal wins over what was there before, also after another recovery.
    let before = index.last_seq();
    let seq = index.commit(&[remove(&film)]).unwrap();
    assert_eq!(seq, Seq(before.0 + 1));
    assert_eq!(paths(&index), [""]);
}

#[tokio::test]
async fn the_root_stays_a_directory_and_the_rest_loads() {
    let (library, film) = with_one_file().await;
    let next = library.index.log_head().number + 1;
    let root = library.index.entry(EntryId::ROOT).unwrap().unwrap();
    let file = Entry {
        kind: film.kind.clone(),
        ..root.clone()
    };
    let moved = Entry {
        parent: film.id,
        ..root.clone()
    };
    let other = library.entry(EntryId::ROOT, "other", EntryKind::Directory);
    let records = [
        record(500, put(&file)),
        record(501, put(&moved)),
        record(502, remove(&root)),
        record(503, put(&other)),
    ];
    forge(&library, next, 1000, &records).await;
    let (_state, index, report) = read_anew(&library).await;
    assert_eq!(paths(&index), ["", "/film", "/other"]);
    let told = report.notes.join("\n");
    assert!(
        told.contains("3 of its records") && told.contains("root"),
        "{told}"
    );
}

#[tokio::test]
async fn rings_doubles_and_entries_without_a_parent_are_named_and_found() {
    let (library, film) = with_one_file().await;
    let next = library.index.log_head().number + 1;
    let mut one = library.entry(EntryId::ROOT, "one", EntryKind::Directory);
    let two = library.entry(one.id, "two", EntryKind::Directory);
    one.parent = two.id;
    let mut own = library.entry(EntryId::ROOT, "own", EntryKind::Directory);
    own.parent = own.id;
    let mut double = library.entry(EntryId::ROOT, "film", EntryKind::Directory);
    double.ino = film.ino;
    let orphan = library.entry(EntryId::random(), "orphan", EntryKind::Directory);
    let below = library.entry(film.id, "below a file", EntryKind::Directory);
    let fine = library.entry(EntryId::ROOT, "fine", EntryKind::Directory);
    let forged = [&one, &two, &own, &double, &orphan, &below, &fine];
    let records: Vec<LogRecord> = (500..)
        .zip(forged)
        .map(|(seq, entry)| record(seq, put(entry)))
        .collect();
    forge(&library, next, 1000, &records).await;
    let (_state, index, report) = read_anew(&library).await;
    let paths = paths(&index);
    for path in [
        "/film",
        "/fine",
        "/lost+found/orphan",
        "/lost+found/below a file",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path}: {paths:?}");
    }
    // Every entry has exactly one place.
    assert_eq!(paths.len(), 3 + forged.len(), "{paths:?}");
    let lost = &report.fill.lost_and_found;
    assert!(
        lost.iter().any(|name| name.as_bytes() == b"orphan"),
        "{lost:?}"
    );
}

#[tokio::test]
async fn impossible_sizes_are_passed_over() {
    let (library, film) = with_one_file().await;
    let next = library.index.log_head().number + 1;
    let content = || match film.kind.clone() {
        EntryKind::File(content) => content,
        EntryKind::Directory => panic!("a file"),
    };
    let named = |name: &str, content: Box<FileContent>| Entry {
        name: Name::new(name).unwrap(),
        ..library.entry(EntryId::ROOT, name, EntryKind::File(content))
    };
    let mut size = content();
    size.size = u64::MAX;
    let mut sum = content();
    sum.extents = vec![
        Extent {
            source: ExtentSource::Zeros,
            offset: 0,
            len: MAX_STORED,
        };
        5
    ];
    let mut end = content();
    end.extents[0].offset = u64::MAX;
    let mut slice = content();
    slice.blobs[0].slices[0].pack_offset = u64::MAX;
    let mut pack = content();
    pack.blobs[0].slices[0].pack.data_len = u64::MAX;
    let mut version = content();
    version.version = u64::MAX;
    let mut used_up = content();
    used_up.version = MAX_STORED;
    let forged = [
        named("size", size),
        named("sum", sum),
        named("end", end),
        named("slice", slice),
        named("pack", pack),
        named("version", version),
        named("used up", used_up),
        named("fine", content()),
    ];
    let records: Vec<LogRecord> = (500..)
        .zip(&forged)
        .map(|(seq, entry)| record(seq, put(entry)))
        .collect();
    forge(&library, next, 1000, &records).await;
    let (_state, index, report) = read_anew(&library).await;
    assert_eq!(paths(&index), ["", "/film", "/fine"]);
    assert!(report.notes.join("\n").contains("7 of its records"));
}

fn views(derived: &Blob, frame: u64) -> Views {
    let track = Track {
        kind: TrackKind::Audio {
            channels: 2,
            sample_rate: 48_000,
        },
        codec: "mp4a.40.2".to_owned(),
        timescale: 48_000,
        init: Vec::new(),
        language: "und".to_owned(),
        title: String::new(),
        default: true,
        peak_bits: 1,
        average_bits: 1,
        segments: vec![SegmentInfo {
            duration: 1,
            size: 1,
        }],
        frames: vec![(ByteRange::new(0, frame), 1)],
        transport_sizes: Vec::new(),
        first_pictures: Vec::new(),
        role: AudioRole::Main,
        captions: Vec::new(),
    };
    Views {
        derived: derived.clone(),
        map: ByteRange::new(0, derived.len),
        map_digest: Digest([1; 32]),
        layout: 1,
        origin_seconds: 10,
        duration_ms: 1,
        independent_segments: true,
        tracks: vec![track],
        subtitles: Vec::new(),
        note: None,
        files: Vec::new(),
        chapters: Vec::new(),
        in_place: None,
    }
}

/// A part of the map is read as a whole. The derived blob may repeat one small pack without end.
#[tokio::test]
async fn a_map_that_claims_too_much_is_no_view() {
    let (library, film) = with_one_file().await;
    let next = library.index.log_head().number + 1;
    let EntryKind::File(content) = &film.kind else {
        panic!("a file");
    };
    let slice = content.blobs[0].slices[0].clone();
    let derived = Blob {
        id: BlobId::random(),
        len: 1 << 40,
        digest: None,
        slices: vec![slice; 1000],
    };
    let mut packets = views(&derived, 100);
    packets.in_place = Some(InPlace {
        offset: 0,
        stride: u16::MAX,
        tables: Vec::new(),
        counters: vec![0],
        kept: vec![1],
        inside: 1,
        zero: 0,
    });
    let forged = [
        ("fine", views(&derived, MAX_MAP_FRAME)),
        ("long", views(&derived, MAX_MAP_FRAME + 1)),
        ("packets", packets),
    ];
    let records: Vec<LogRecord> = (500..)
        .zip(forged)
        .map(|(seq, (name, views))| {
            let mut content = content.clone();
            content.views = ViewsState::Ready(Box::new(views));
            let entry = library.entry(EntryId::ROOT, name, EntryKind::File(content));
            record(seq, put(&entry))
        })
        .collect();
    forge(&library, next, 1000, &records).await;
    let (_state, index, _) = read_anew(&library).await;
    for (name, is_view) in [("fine", true), ("long", false), ("packets", false)] {
        let name = Name::new(name).unwrap();
        let child = index.child(EntryId::ROOT, &name).unwrap().unwrap();
        let EntryKind::File(content) = index.entry(child.id).unwrap().unwrap().kind else {
            panic!("{name:?} is a file");
        };
        let is_ready = matches!(content.views, ViewsState::Ready(_));
        assert_eq!(is_ready, is_view, "{name:?}: {:?}", content.views);
    }
}

/// Makes a library with a manifest for each of this many directories.
async fn with_manifests(count: usize) -> (Library, Vec<LogObject>) {
    let library = Library::new().await;
    for number in 0..count {
        library.directory(EntryId::ROOT, &format!("directory {number}"));
        library.publish().await;
    }
    let manifests = library.remote.list_log(LogKind::Manifest, 0).await.unwrap();
    assert!(manifests.len() >= count);
    (library, manifests)
}

async fn lost_log(index: &Arc<Index>, remote: &Arc<dyn Remote>) -> String {
    let report = verify(index, remote, VerifyDepth::Packs, &mut |_| ()).await;
    report.unwrap().log.join("\n")
}

#[tokio::test]
async fn newest_manifests_that_were_deleted_are_told_and_stored_again() {
    let (library, manifests) = with_manifests(8).await;
    assert_eq!(lost_log(&library.index, &library.remote).await, "");
    let gone = &manifests[3..];
    for object in gone {
        library.remote.delete_log(*object).await.unwrap();
    }
    let range = format!("{} to {}", gone[0].number, gone[gone.len() - 1].number);
    let told = lost_log(&library.index, &library.remote).await;
    assert!(told.contains(&range), "{told}");

    let expected = tree(&library.index);
    let remote = Arc::clone(&library.remote);
    let (state, _store) = library.crashed(&[]);
    let (index, _) = open_index(state.path());
    let report = attach_to(&index, &remote).await.unwrap();
    let told = report.notes.join("\n");
    assert!(told.contains(&range) && told.contains("snapshot"), "{told}");
    let publisher = Publisher::start(Arc::clone(&index), Arc::clone(&remote));
    publisher.drained().await.unwrap();
    publisher.stop().await;
    assert_eq!(lost_log(&index, &remote).await, "");
    let report = attach_to(&index, &remote).await.unwrap();
    assert_eq!(report.notes, Vec::<String>::new());
    // Another state finds everything.
    let other = tempfile::tempdir().unwrap();
    let (other, _) = open_index(other.path());
    attach_to(&other, &remote).await.unwrap();
    assert_eq!(tree(&other), expected);
}

#[tokio::test]
async fn a_gap_within_the_log_is_found_and_a_recovery_says_what_it_did_not_find() {
    let (library, manifests) = with_manifests(6).await;
    library.remote.delete_log(manifests[2]).await.unwrap();
    let told = lost_log(&library.index, &library.remote).await;
    assert!(
        told.contains(&format!(": {}.", manifests[2].number)),
        "{told}"
    );
    for object in &manifests[4..] {
        library.remote.delete_log(*object).await.unwrap();
    }
    let remote = Arc::clone(&library.remote);
    let (state, _store) = library.crashed(&[]);
    let report = recover(state.path(), &remote, LibraryClaim::Continue)
        .await
        .unwrap();
    let told = report.attach.notes.join("\n");
    assert!(told.contains("are missing"), "{told}");
    let known = manifests[manifests.len() - 1].number;
    assert!(told.contains(&format!("up to {known}")), "{told}");
}

#[tokio::test]
async fn a_manifest_in_the_place_of_ours_is_found() {
    let (library, manifests) = with_manifests(3).await;
    let newest = manifests[manifests.len() - 1];
    library.remote.delete_log(newest).await.unwrap();
    forge(&library, newest.number, 1000, &[]).await;
    let told = lost_log(&library.index, &library.remote).await;
    assert!(told.contains("not the one that this state wrote"), "{told}");
}

#[tokio::test]
async fn a_snapshot_with_a_higher_number_does_not_push_ours_out() {
    let (library, _) = with_manifests(2).await;
    let forged = [7, 8, u64::MAX].map(|number| LogObject {
        kind: LogKind::Snapshot,
        number: number + u64::from(number < 9) * 1000,
        writer: WriterId::random(),
    });
    for object in forged {
        let bytes = bytes::Bytes::from_static(b"not ours");
        library.remote.append_log(object, bytes).await.unwrap();
    }
    LogSizes::open(&library.index)
        .unwrap()
        .make_snapshot_due()
        .unwrap();
    library.publish().await;
    let snapshots = library.remote.list_log(LogKind::Snapshot, 0).await.unwrap();
    let head = library.index.log_head().number;
    assert!(
        snapshots.iter().any(|object| object.number == head),
        "{snapshots:?}"
    );
    let (_state, index, _) = read_anew(&library).await;
    assert_eq!(tree(&index), tree(&library.index));
}
