use super::*;

#[tokio::test]
async fn the_tree_comes_back_from_the_store_alone() {
    let library = Library::new().await;
    let films = library.directory(EntryId::ROOT, "films");
    let heat = library.stored_file(films.id, "heat.mkv", b"heat").await;
    let gone = library.stored_file(films.id, "gone.mkv", b"gone").await;
    library.publish().await;
    // The file is renamed, replaced and removed, which makes several manifests.
    let mut renamed = library.index.entry(heat.id).unwrap().unwrap();
    renamed.name = Name::new("Heat (1995).mkv").unwrap();
    library.commit(&[put(&renamed)]);
    library.commit(&[remove(&gone)]);
    library.publish().await;
    library.stored_file(EntryId::ROOT, "late", b"late").await;
    library.publish().await;
    let expected = tree(&library.index);
    let highest = library.index.ino_bound();
    let id = library.index.library_id();
    assert!(expected.iter().all(|(_, entry)| match &entry.kind {
        EntryKind::Directory => true,
        EntryKind::File(content) => content.state == FileState::Stored,
    }));

    drop(library.index);
    drop((library.faulty, library.remote));
    let (_, remote) = open_store(library.store.path());
    let empty = tempfile::tempdir().unwrap();
    let (index, report) = open_index(empty.path());
    assert_eq!(report.state, IndexCondition::Fresh);
    let report = attach_to(&index, &remote).await.unwrap();
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(report.fill.lost_and_found, []);
    assert_eq!(tree(&index), expected);
    assert_eq!(index.library_id(), id);
    assert!(index.next_ino() >= highest, "a number was given out again");
    // The new index continues from there.
    let seq = index.commit(&[put(&renamed)]).unwrap();
    assert!(seq > Seq(6));
}

#[tokio::test]
async fn files_go_out_when_their_bytes_are_there() {
    let library = Library::new().await;
    let publisher = library.publisher();
    let mut events = publisher.acknowledged();
    let content = EntryKind::File(Box::new(spooled_content(5)));
    let mut film = library.entry(EntryId::ROOT, "a", content);
    library.commit(&[put(&film)]);
    publisher.drained().await.unwrap();
    assert!(!library.index.is_published(film.id).unwrap());
    assert_eq!(publisher.state().borrow().held_back, 1);

    let content = library.stored_content(b"12345").await;
    film.kind = EntryKind::File(Box::new(content));
    library.commit(&[put(&film)]);
    publisher.drained().await.unwrap();
    assert!(library.index.is_published(film.id).unwrap());
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push((event.id, event.version));
    }
    assert!(told.contains(&(film.id, Some(1))), "{told:?}");
}

#[tokio::test]
async fn a_store_that_is_away_delays_publishing_only() {
    let library = Library::new().await;
    library.publish().await;
    let away = Fault::Fail(RemoteErrorKind::Unavailable);
    library.faulty.inject(Operation::AppendLog, &away, 2);
    library
        .faulty
        .inject(Operation::AppendLog, &Fault::LoseReply, 1);
    library.directory(EntryId::ROOT, "a");
    library.publish().await;
    assert!(library.index.outbox(1).unwrap().records.is_empty());
}

#[tokio::test]
async fn packs_are_deleted_last() {
    let library = Library::new().await;
    let film = library.stored_file(EntryId::ROOT, "a", b"film").await;
    library.publish().await;
    let pack = packs(&film).remove(0);
    let clean = async |keep, in_use: bool| {
        let in_use = move |_| in_use;
        let keep = std::time::Duration::from_secs(keep);
        delete_dying_packs(&library.index, &library.remote, keep, &in_use)
            .await
            .unwrap()
            .deleted
    };
    assert_eq!(clean(0, false).await, 0, "still referenced");
    library.commit(&[remove(&film)]);
    assert_eq!(clean(0, false).await, 0, "not published yet");
    library.publish().await;
    assert_eq!(clean(3600, false).await, 0, "too early");
    assert_eq!(clean(0, true).await, 0, "still read");
    library.remote.size(&pack).await.unwrap();
    assert_eq!(clean(0, false).await, 1);
    let gone = library.remote.size(&pack).await.unwrap_err();
    assert_eq!(gone.kind, RemoteErrorKind::NotFound);
    assert_eq!(clean(0, false).await, 0);
}

/// Makes a library whose `count` files, with a pack each, were just removed.
async fn with_dying_packs(count: usize) -> (Library, Vec<PackRef>) {
    let library = Library::new().await;
    let mut packs_of_all = Vec::new();
    for number in 0..count {
        let name = format!("film {number}");
        let film = library.stored_file(EntryId::ROOT, &name, b"film").await;
        library.publish().await;
        packs_of_all.extend(packs(&film));
        library.commit(&[remove(&film)]);
    }
    library.publish().await;
    (library, packs_of_all)
}

async fn clean(library: &Library) -> CleanupReport {
    let now = std::time::Duration::ZERO;
    delete_dying_packs(&library.index, &library.remote, now, &|_| false)
        .await
        .unwrap()
}

#[tokio::test]
async fn one_pack_that_cannot_be_deleted_stops_no_other() {
    let (library, _) = with_dying_packs(4).await;
    let denied = Fault::Fail(RemoteErrorKind::Denied);
    library.faulty.inject(Operation::Delete, &denied, 1);
    let report = clean(&library).await;
    assert_eq!((report.deleted, report.failed), (3, 1));
    assert!(report.problem.unwrap().contains("injected"));
    assert_eq!(clean(&library).await.deleted, 1);
}

#[tokio::test]
async fn a_remote_that_is_away_is_not_asked_for_each_pack() {
    let (library, _) = with_dying_packs(6).await;
    let away = Fault::Fail(RemoteErrorKind::Unavailable);
    library.faulty.inject(Operation::Delete, &away, 100);
    let report = clean(&library).await;
    assert_eq!((report.deleted, report.failed), (0, 3));
    library.faulty.heal();
    assert_eq!(clean(&library).await.deleted, 6);
}

#[tokio::test]
async fn what_cannot_be_deleted_any_more_is_counted_once() {
    let (library, packs) = with_dying_packs(2).await;
    library.faulty.inject(Operation::Delete, &Fault::FlipBit, 1);
    let report = clean(&library).await;
    assert_eq!((report.deleted, report.left), (1, 1));
    assert_eq!(clean(&library).await, CleanupReport::default());
    let left = left_behind(&library.index).unwrap();
    assert_eq!((left.packs, left.bytes), (1, packs[0].len));
}

#[tokio::test]
async fn a_replaced_version_keeps_its_packs_until_the_new_one_is_published() {
    let library = Library::new().await;
    let mut film = library.stored_file(EntryId::ROOT, "a", b"one").await;
    library.publish().await;
    let old = packs(&film).remove(0);
    film.kind = EntryKind::File(Box::new(spooled_content(3)));
    library.commit(&[put(&film)]);
    library.publish().await;
    let zero = std::time::Duration::ZERO;
    let report = delete_dying_packs(&library.index, &library.remote, zero, &|_| false)
        .await
        .unwrap();
    assert_eq!((report.deleted, report.kept), (0, 1));
    film.kind = EntryKind::File(Box::new(library.stored_content(b"two").await));
    library.commit(&[put(&film)]);
    library.publish().await;
    delete_dying_packs(&library.index, &library.remote, zero, &|_| false)
        .await
        .unwrap();
    assert!(library.remote.size(&old).await.is_err());
}

#[tokio::test]
async fn verify_finds_what_is_missing_or_changed() {
    let library = Library::new().await;
    let whole = library.stored_file(EntryId::ROOT, "whole", b"1").await;
    let missing = library.stored_file(EntryId::ROOT, "missing", b"2").await;
    let changed = library
        .stored_file(EntryId::ROOT, "changed", &vec![3; 700_000])
        .await;
    let check = async |depth| {
        verify(&library.index, &library.remote, depth, &mut |_| ())
            .await
            .unwrap()
    };
    let report = check(VerifyDepth::Blocks).await;
    assert_eq!((report.files, report.packs, report.blocks), (3, 3, 4));
    assert_eq!(report.read, report.bytes, "every byte");
    assert_eq!(report.problems, []);

    library.remote.delete(&packs(&missing)[0]).await.unwrap();
    let id = packs(&changed)[0].id.to_string();
    let path = library.store.path().join("packs").join(&id[..2]).join(&id);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(VerifyDepth::Packs).await;
    assert!(
        report.read > 0 && report.read < report.bytes / 10,
        "tables alone"
    );
    assert_eq!(report.total, report.bytes);
    let names: Vec<_> = report.problems.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["missing"]);
    let report = check(VerifyDepth::Blocks).await;
    let mut names: Vec<_> = report.problems.iter().map(|p| p.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["changed", "missing"]);
    assert!(!names.contains(&whole.name.display().as_str()));
}

/// Verifying a library in a channel takes days, so it must go on after an interruption.
#[tokio::test]
async fn reading_every_block_goes_on_where_it_was_interrupted() {
    let library = Library::new().await;
    for number in 0..20 {
        let name = format!("film {number}");
        library.stored_file(EntryId::ROOT, &name, b"film").await;
    }
    let read_all = async || {
        let mut seen = 0;
        let depth = VerifyDepth::Blocks;
        let outcome = verify(&library.index, &library.remote, depth, &mut |_| seen += 1).await;
        (outcome, seen)
    };
    let before = library.faulty.calls();
    assert_eq!(read_all().await.1, 20);
    let calls = library.faulty.calls() - before;

    let mut first = 0;
    let interrupted = verify(
        &library.index,
        &library.remote,
        VerifyDepth::Blocks,
        &mut |_| {
            first += 1;
            if first == 5 {
                let gone = Fault::Fail(RemoteErrorKind::Denied);
                library.faulty.inject(Operation::Get, &gone, 100);
            }
        },
    )
    .await;
    assert!(interrupted.is_err());
    library.faulty.heal();
    let before = library.faulty.calls();
    let (report, rest) = read_all().await;
    assert_eq!((report.unwrap().packs, first + rest), (20, 20));
    assert!(rest < 20 && library.faulty.calls() - before < calls);
    // The next run begins a new round.
    assert_eq!(read_all().await.1, 20);
}

#[tokio::test]
async fn packs_are_verified_side_by_side_and_told_in_order() {
    let library = Library::new().await;
    for number in 0..20 {
        let name = format!("film {number}");
        let film = library.stored_file(EntryId::ROOT, &name, b"film").await;
        // Few packs are missing, so most of those asked for side by side exist, in any order.
        if number % 10 == 0 {
            library.remote.delete(&packs(&film)[0]).await.unwrap();
        }
    }
    let look = async || {
        verify(
            &library.index,
            &library.remote,
            VerifyDepth::Packs,
            &mut |_| (),
        )
        .await
        .unwrap()
    };
    let alone = look().await;
    assert_eq!((alone.packs, alone.problems.len()), (20, 2));
    // The first answer comes last. Meanwhile the other packs are asked for.
    library.faulty.inject(Operation::Get, &Fault::Hang, 1);
    let before = library.faulty.calls();
    let healing = async {
        while library.faulty.calls() < before + 5 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        library.faulty.heal();
    };
    let (again, ()) = tokio::join!(look(), healing);
    assert_eq!(again, alone);
}

#[tokio::test]
async fn a_state_stays_with_its_store() {
    let library = Library::new().await;
    let other = tempfile::tempdir().unwrap();
    let (_, elsewhere) = open_store(other.path());
    let refused = attach_to(&library.index, &elsewhere).await.unwrap_err();
    assert!(matches!(refused, AttachError::OtherStore { .. }));
    assert_eq!(elsewhere.library().await.unwrap(), None);
    // The disk that holds the store is not mounted. No new library may be made in its place.
    let Library {
        state,
        store,
        index,
        remote,
        faulty,
    } = library;
    drop((index, remote, faulty));
    let path = store.path().to_owned();
    drop(store);
    let (_, remote) = open_store(&path);
    let (index, _) = open_index(state.path());
    let refused = attach_to(&index, &remote).await.unwrap_err();
    assert!(matches!(refused, AttachError::LibraryGone(_)));
    assert_eq!(remote.library().await.unwrap(), None);
    std::fs::remove_dir_all(path).unwrap();
}
