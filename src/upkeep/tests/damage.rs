use super::*;

#[tokio::test]
async fn a_damaged_index_is_filled_from_store_and_journal() {
    let library = Library::new().await;
    for number in 0..20 {
        let name = format!("film {number}");
        library.stored_file(EntryId::ROOT, &name, b"x").await;
    }
    library.publish().await;
    library.index.compact_journal().unwrap();
    for number in 0..5 {
        library.directory(EntryId::ROOT, &format!("new {number}"));
    }
    let expected = tree(&library.index);
    let remote = Arc::clone(&library.remote);
    let (state, _store) = library.crashed(&["index"]);
    let (index, report) = open_index(state.path());
    assert_eq!(report.state, IndexCondition::Damaged);
    assert!(report.must_fill);
    attach_to(&index, &remote).await.unwrap();
    assert_eq!(tree(&index), expected);
    assert!(!index.must_fill());
    index.commit(&[put(&expected[1].1)]).unwrap();

    // The journal is lost too, along with the changes that only it had.
    drop(index);
    std::fs::remove_dir_all(state.path().join("index")).unwrap();
    std::fs::remove_dir_all(state.path().join("journal")).unwrap();
    let (index, report) = open_index(state.path());
    assert_eq!(report.state, IndexCondition::Damaged);
    attach_to(&index, &remote).await.unwrap();
    assert_eq!(tree(&index).len(), 21);
}

#[tokio::test]
async fn filling_that_was_interrupted_starts_over() {
    let library = Library::new().await;
    library.stored_file(EntryId::ROOT, "film", b"x").await;
    library.publish().await;
    let expected = tree(&library.index);
    let (faulty, remote) = (Arc::clone(&library.faulty), Arc::clone(&library.remote));
    let (state, _store) = library.crashed(&["index"]);
    let (index, _) = open_index(state.path());
    faulty.inject(
        Operation::ReadLog,
        &Fault::Delay(std::time::Duration::ZERO),
        1,
    );
    faulty.inject(Operation::ReadLog, &Fault::Fail(RemoteErrorKind::Denied), 1);
    attach_to(&index, &remote).await.unwrap_err();
    drop(index);
    let (index, report) = open_index(state.path());
    assert!(report.must_fill);
    attach_to(&index, &remote).await.unwrap();
    assert_eq!(tree(&index), expected);
}

#[tokio::test]
async fn entries_without_a_place_go_to_lost_and_found() {
    let library = Library::new().await;
    let lost = library.directory(EntryId::ROOT, "lost");
    library.publish().await;
    let below = library.directory(lost.id, "below");
    let film = library.stored_file(below.id, "film", b"x").await;
    library.stored_file(lost.id, "second", b"y").await;
    library.publish().await;
    // The manifest that named the upper directory is gone.
    let manifests = library.remote.list_log(LogKind::Manifest, 0).await.unwrap();
    library.remote.delete_log(manifests[0]).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open_index(state.path());
    let report = attach_to(&index, &library.remote).await.unwrap();
    assert!(report.notes[0].contains("missing"), "{:?}", report.notes);
    assert_eq!(
        paths(&index),
        [
            "",
            "/lost+found",
            "/lost+found/below",
            "/lost+found/below/film",
            "/lost+found/second"
        ]
    );
    let found = index.node(film.id).unwrap().unwrap();
    assert_eq!(found.ino, film.ino);
    assert_eq!(found.attributes.mtime, film.attributes.mtime);
}

#[tokio::test]
async fn a_damaged_manifest_harms_only_what_it_named() {
    let library = Library::new().await;
    library.directory(EntryId::ROOT, "one");
    library.publish().await;
    library.directory(EntryId::ROOT, "two");
    library.publish().await;
    library.directory(EntryId::ROOT, "three");
    library.publish().await;
    let manifests = library.remote.list_log(LogKind::Manifest, 0).await.unwrap();
    let second = manifests[1];
    let path = library
        .store
        .path()
        .join("log")
        .join(format!("{:020}-{}", second.number, second.writer));
    let whole = std::fs::read(&path).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        let state = tempfile::tempdir().unwrap();
        let (index, _) = open_index(state.path());
        let report = attach_to(&index, &library.remote).await.unwrap();
        assert_eq!(paths(&index), ["", "/one", "/three"], "{at}");
        assert!(report.notes[0].contains("manifest 2"), "{:?}", report.notes);
    }
}
