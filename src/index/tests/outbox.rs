use super::*;
use crate::model::{Blob, BlobId, ByteRange, Digest, LogRecord, Views, ViewsState};

fn all(index: &Index) -> Vec<LogRecord> {
    index.outbox(usize::MAX).unwrap().records
}

fn acknowledge_all(index: &Index) -> Vec<LogRecord> {
    let records = all(index);
    index.acknowledge(LogHead::default(), &records).unwrap();
    records
}

#[test]
fn only_durable_files_go_out_and_become_stored() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let pack = pack(5);
    let mut film = file(&index, EntryId::ROOT, "a", spooled(5));
    index.commit(&[put(&film)]).unwrap();
    let ids: Vec<_> = all(&index).iter().map(|r| r.change.entry_id()).collect();
    assert_eq!(ids, [EntryId::ROOT]);
    film.kind = EntryKind::File(Box::new(in_pack(spooled(5), &pack)));
    index.commit(&[put(&film)]).unwrap();
    let records = all(&index);
    assert_eq!(records.len(), 2);
    assert!(!index.is_published(film.id).unwrap());
    let done = index.acknowledge(LogHead::default(), &records).unwrap();
    assert!(done.iter().any(|done| done.id == film.id));
    assert!(index.is_published(film.id).unwrap());
    let EntryKind::File(content) = index.entry(film.id).unwrap().unwrap().kind else {
        panic!("a file");
    };
    assert_eq!(content.state, FileState::Stored);
    assert!(all(&index).is_empty());
}

/// The content is named first, and the views after it. A manifest must not name derived bytes that no pack
/// holds.
#[test]
fn views_are_not_named_before_their_bytes_are_stored() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let mut content = in_pack(spooled(5), &pack(5));
    content.views = ViewsState::Ready(Box::new(views_in_the_spool()));
    let film = file(&index, EntryId::ROOT, "a", content);
    index.commit(&[put(&film)]).unwrap();
    let stated_views = |records: &[LogRecord]| {
        records.iter().find_map(|record| match &record.change {
            Change::Put(entry) if entry.id == film.id => match &entry.kind {
                EntryKind::File(content) => Some(content.views.clone()),
                EntryKind::Directory => None,
            },
            _ => None,
        })
    };
    let sent = acknowledge_all(&index);
    assert_eq!(stated_views(&sent), Some(ViewsState::Pending));
    // The views stay here, because players use them from the spool. A snapshot states the same as the
    // manifest.
    let EntryKind::File(kept) = index.entry(film.id).unwrap().unwrap().kind else {
        panic!("a file");
    };
    assert!(matches!(kept.views, ViewsState::Ready(_)));
    assert_eq!(kept.state, FileState::Stored);
    let mut snapshot = Vec::new();
    index
        .published(&mut |record| {
            snapshot.push(record);
            Ok::<_, IndexError>(())
        })
        .unwrap();
    assert_eq!(stated_views(&snapshot), Some(ViewsState::Pending));
}

fn views_in_the_spool() -> Views {
    Views {
        derived: Blob {
            id: BlobId::random(),
            len: 9,
            digest: None,
            slices: Vec::new(),
        },
        map: ByteRange::new(0, 9),
        map_digest: Digest::of(b"map"),
        layout: 1,
        origin_seconds: 10,
        duration_ms: 1000,
        independent_segments: true,
        tracks: Vec::new(),
        subtitles: Vec::new(),
        note: None,
        files: Vec::new(),
        chapters: Vec::new(),
        in_place: None,
    }
}

#[test]
fn a_change_during_the_acknowledgement_stays_to_be_sent() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let mut film = file(&index, EntryId::ROOT, "a", in_pack(spooled(5), &pack(5)));
    index.commit(&[put(&film)]).unwrap();
    let sent = all(&index);
    film.name = Name::new("b").unwrap();
    index.commit(&[put(&film)]).unwrap();
    index.acknowledge(LogHead::default(), &sent).unwrap();
    assert!(!index.is_published(film.id).unwrap());
    assert_eq!(index.entry(film.id).unwrap().unwrap(), film);
    let again = all(&index);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].change.entry_id(), film.id);
}

#[test]
fn the_tombstone_of_a_replaced_file_waits_for_its_replacement() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let old = file(&index, EntryId::ROOT, "a", in_pack(spooled(5), &pack(5)));
    index.commit(&[put(&old)]).unwrap();
    acknowledge_all(&index);
    let mut new = file(&index, EntryId::ROOT, "a", spooled(6));
    index.commit(&[remove(&old), put(&new)]).unwrap();
    assert!(all(&index).is_empty());
    // The file is replaced once more, and the database is lost. The tie must hold.
    let newest = file(&index, EntryId::ROOT, "a", spooled(7));
    index.commit(&[remove(&new), put(&newest)]).unwrap();
    assert!(all(&index).is_empty());
    index.compact_journal().unwrap();
    let copy = crash_copy(state.path());
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    let (reopened, _) = open(copy.path());
    assert!(all(&reopened).is_empty());

    new = newest;
    new.kind = EntryKind::File(Box::new(in_pack(spooled(7), &pack(7))));
    index.commit(&[put(&new)]).unwrap();
    let ids: Vec<_> = all(&index).iter().map(|r| r.change.entry_id()).collect();
    assert!(ids.contains(&old.id) && ids.contains(&new.id), "{ids:?}");
}

#[test]
fn a_pack_dies_with_its_last_reference_only() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let pack = pack(5);
    let a = file(&index, EntryId::ROOT, "a", in_pack(spooled(5), &pack));
    let b = file(&index, EntryId::ROOT, "b", in_pack(spooled(5), &pack));
    index.commit(&[put(&a), put(&b)]).unwrap();
    index.commit(&[remove(&a)]).unwrap();
    assert!(index.is_referenced(&pack).unwrap());
    assert!(index.dying_packs(10).unwrap().is_empty());

    // Another file takes the pack over in the commit that removes its last owner.
    let c = file(&index, EntryId::ROOT, "c", in_pack(spooled(5), &pack));
    index.commit(&[remove(&b), put(&c)]).unwrap();
    assert!(index.is_referenced(&pack).unwrap());
    assert!(index.dying_packs(10).unwrap().is_empty());

    acknowledge_all(&index);
    index.commit(&[remove(&c)]).unwrap();
    assert!(!index.is_referenced(&pack).unwrap());
    let dying = index.dying_packs(10).unwrap();
    assert_eq!(dying.len(), 1);
    assert!(!dying[0].released);
    let late = file(&index, EntryId::ROOT, "d", in_pack(spooled(5), &pack));
    let refused = index.commit(&[put(&late)]).unwrap_err();
    assert!(matches!(refused, IndexError::DyingPack(id) if id == pack.id));
    assert_eq!(index.node(late.id).unwrap(), None);

    acknowledge_all(&index);
    assert!(index.dying_packs(10).unwrap()[0].released);
    index.forget_pack(pack.id).unwrap();
    assert!(index.dying_packs(10).unwrap().is_empty());
}

/// Two files share a pack. One is overwritten, and its new version is not published yet. Then the other
/// one is removed, and the removal is published. The log still names the pack for the first file.
#[test]
fn a_pack_that_the_log_names_for_anyone_is_not_released() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let shared = pack(5);
    let mut first = file(&index, EntryId::ROOT, "a", in_pack(spooled(5), &shared));
    let second = file(&index, EntryId::ROOT, "b", in_pack(spooled(5), &shared));
    index.commit(&[put(&first), put(&second)]).unwrap();
    acknowledge_all(&index);
    first.kind = EntryKind::File(Box::new(spooled(5)));
    index.commit(&[put(&first)]).unwrap();
    index.commit(&[remove(&second)]).unwrap();
    acknowledge_all(&index);
    let released = |index: &Index| index.dying_packs(9).unwrap()[0].released;
    assert!(!released(&index));
    first.kind = EntryKind::File(Box::new(in_pack(spooled(5), &pack(6))));
    index.commit(&[put(&first)]).unwrap();
    acknowledge_all(&index);
    assert!(released(&index));
}

#[test]
fn the_journal_shrinks_to_what_is_not_published() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    for number in 0..200 {
        let name = format!("{number}");
        let film = file(&index, EntryId::ROOT, &name, in_pack(spooled(5), &pack(5)));
        index.commit(&[put(&film)]).unwrap();
    }
    let long = index.sizes().unwrap().journal;
    acknowledge_all(&index);
    index.compact_journal().unwrap();
    let short = index.sizes().unwrap().journal;
    assert!(short * 20 < long, "{short} {long}");
    let expected = tree(&index);
    let copy = crash_copy(state.path());
    let (reopened, _) = open(copy.path());
    assert_eq!(tree(&reopened), expected);
}
