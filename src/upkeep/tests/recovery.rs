use super::*;

async fn foreign_manifest(library: &Library, number: u64, epoch: u64) -> WriterId {
    let writer = WriterId::random();
    let header = LogHeader {
        library: library.index.library_id(),
        writer,
        epoch,
        number,
        previous: Digest([1; 32]),
        first: Seq(1000),
        last: Seq(1000),
        next_ino: Ino(5000),
        last_seq: Seq(1000),
    };
    let mut encoder = LogEncoder::new(&header).unwrap();
    let theirs = library.entry(EntryId::ROOT, "theirs", EntryKind::Directory);
    let record = LogRecord {
        seq: Seq(1000),
        change: put(&theirs),
    };
    encoder.push(&record).unwrap();
    let object = LogObject {
        kind: LogKind::Manifest,
        number,
        writer,
    };
    let bytes = encoder.finish().unwrap();
    library.remote.append_log(object, bytes).await.unwrap();
    writer
}

#[tokio::test]
async fn a_second_writer_is_noticed_and_can_be_taken_over_from() {
    let library = Library::new().await;
    library.directory(EntryId::ROOT, "before");
    library.publish().await;
    let head = library.index.log_head();
    let writer = foreign_manifest(&library, head.number + 1, 0).await;
    library.directory(EntryId::ROOT, "ours");
    let publisher = library.publisher();
    let stopped = publisher.drained().await.unwrap_err().to_string();
    publisher.stop().await;
    drop(publisher);
    assert!(stopped.contains("tgfs recover --take-over"), "{stopped}");
    assert!(stopped.contains(&writer.to_string()), "{stopped}");
    assert_eq!(library.index.log_head(), head);
    assert!(!library.index.outbox(1).unwrap().records.is_empty());
    let refused = attach_to(&library.index, &library.remote).await;
    assert!(matches!(refused, Err(AttachError::OtherWriter(_))));

    let Library {
        state,
        index,
        remote,
        ..
    } = library;
    let refused = recover(state.path(), &remote, LibraryClaim::TakeOver).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("is still using"), "{refused}");
    drop(index);
    let report = recover(state.path(), &remote, LibraryClaim::TakeOver)
        .await
        .unwrap();
    assert!(report.old_index.unwrap().exists());
    let (index, report) = open_index(state.path());
    assert_eq!(report.state, IndexCondition::Intact);
    assert_eq!(paths(&index), ["", "/before", "/ours", "/theirs"]);
    assert_eq!(index.log_head().epoch, 1);
    attach_to(&index, &remote).await.unwrap();
    let publisher = Publisher::start(Arc::clone(&index), remote);
    publisher.drained().await.unwrap();
    assert!(index.outbox(1).unwrap().records.is_empty());
}

#[tokio::test]
async fn a_manifest_whose_acknowledgement_was_lost_is_our_own() {
    let library = Library::new().await;
    library.publish().await;
    let publisher = library.publisher();
    publisher.drained().await.unwrap();
    library.directory(EntryId::ROOT, "first");
    publisher.drained().await.unwrap();
    // The daemon dies between the reply and its note of it. The state is then older than the log.
    let film = library.stored_file(EntryId::ROOT, "film", b"film").await;
    library
        .faulty
        .inject(Operation::AppendLog, &Fault::LoseReply, 1);
    library.faulty.inject(Operation::AppendLog, &Fault::Hang, 1);
    publisher.urge();
    while library
        .remote
        .list_log(LogKind::Manifest, 0)
        .await
        .unwrap()
        .len()
        < 3
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    publisher.stop().await;
    drop(publisher);
    library.faulty.heal();
    assert!(!library.index.is_published(film.id).unwrap());
    let remote = Arc::clone(&library.remote);
    let (state, _store) = library.crashed(&[]);
    let (index, _) = open_index(state.path());
    let report = attach_to(&index, &remote).await.unwrap();
    assert_eq!(report.manifests, 1);
    assert!(index.is_published(film.id).unwrap());
    assert_eq!(paths(&index), ["", "/film", "/first"]);
}

#[tokio::test]
async fn recovery_brings_back_what_the_store_does_not_know_yet() {
    let library = Library::new().await;
    library.stored_file(EntryId::ROOT, "stored", b"1").await;
    library.publish().await;
    let content = EntryKind::File(Box::new(spooled_content(7)));
    let local = library.entry(EntryId::ROOT, "only in the spool", content);
    library.commit(&[put(&local)]);
    let expected = tree(&library.index);
    let remote = Arc::clone(&library.remote);
    let keys = library.index.key_store();
    keys.put(b"auth", b"key").unwrap();
    // The index's rows and those of the remote are lost. The remote keeps new rows before the recovery.
    let (state, _store) = library.crashed(&["index"]);
    let index = open_index(state.path()).0;
    index.key_store().put(b"auth", b"new key").unwrap();
    drop(index);
    recover(state.path(), &remote, LibraryClaim::Continue)
        .await
        .unwrap();
    let (index, report) = open_index(state.path());
    assert_eq!(report.state, IndexCondition::Intact);
    assert_eq!(tree(&index), expected);
    assert!(!index.is_published(local.id).unwrap());
    assert_eq!(index.outbox(usize::MAX).unwrap().held_back, 1);
    let kept = index.key_store().get(b"auth").unwrap();
    assert_eq!(kept.as_deref(), Some(&b"new key"[..]));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_leaves_the_index_alone() {
    let library = Library::new().await;
    library.stored_file(EntryId::ROOT, "stored", b"1").await;
    library.publish().await;
    let expected = tree(&library.index);
    let (faulty, remote) = (Arc::clone(&library.faulty), Arc::clone(&library.remote));
    let (state, _store) = library.crashed(&[]);
    faulty.inject(Operation::ReadLog, &Fault::Fail(RemoteErrorKind::Denied), 1);
    let failed = recover(state.path(), &remote, LibraryClaim::Continue).await;
    assert!(matches!(
        failed,
        Err(RecoverError::Attach(AttachError::Remote(_)))
    ));
    let (index, report) = open_index(state.path());
    assert_eq!(report.state, IndexCondition::Intact);
    assert_eq!(tree(&index), expected);
    index.commit(&[put(&expected[1].1)]).unwrap();
}

#[tokio::test]
async fn an_old_snapshot_serves_when_the_newest_is_damaged() {
    let library = Library::new().await;
    // Random attributes do not compress, so a snapshot is due in each round.
    for round in 0..3 {
        for number in 0..18 {
            let name = format!("{round}-{number}");
            let mut entry = library.entry(EntryId::ROOT, &name, EntryKind::Directory);
            let noise: Vec<u8> = (0..4000)
                .flat_map(|_| *EntryId::random().as_bytes())
                .collect();
            entry
                .attributes
                .xattrs
                .insert(b"user.noise".to_vec(), noise);
            library.commit(&[put(&entry)]);
        }
        library.publish().await;
    }
    // A change that no manifest has must not be in a snapshot either.
    let expected = tree(&library.index);
    let list = async |kind| library.remote.list_log(kind, 0).await.unwrap();
    let snapshots = list(LogKind::Snapshot).await;
    assert_eq!(snapshots.len(), 2, "the last, and the one before it");
    let manifests = list(LogKind::Manifest).await;
    // The older snapshot and the manifests behind it are enough.
    for old in &manifests {
        if old.number <= snapshots[0].number {
            library.remote.delete_log(*old).await.unwrap();
        }
    }
    let newest = snapshots[1];
    let path = library
        .store
        .path()
        .join("snapshots")
        .join(format!("{:020}-{}", newest.number, newest.writer));
    for damage in ["flip", "cut", "gone"] {
        let mut bytes = std::fs::read(&path).unwrap_or_default();
        let middle = bytes.len() / 2;
        match damage {
            "flip" => bytes[middle] ^= 1,
            "cut" => bytes.truncate(middle),
            _ => {}
        }
        if damage == "gone" {
            std::fs::remove_file(&path).unwrap();
        } else {
            std::fs::write(&path, bytes).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        let (index, _) = open_index(state.path());
        let report = attach_to(&index, &library.remote).await.unwrap();
        assert!(tree(&index) == expected, "{damage}: {:?}", report.notes);
        let noted = report.notes.iter().any(|note| note.contains("snapshot"));
        assert_eq!(noted, damage == "flip" || damage == "cut", "{damage}");
    }
}

#[tokio::test]
async fn a_snapshot_holds_published_states_only() {
    let library = Library::new().await;
    let mut film = library.stored_file(EntryId::ROOT, "film", b"one").await;
    let doomed = library.stored_file(EntryId::ROOT, "doomed", b"two").await;
    library.publish().await;
    film.kind = EntryKind::File(Box::new(spooled_content(9)));
    let replacement = EntryKind::File(Box::new(spooled_content(8)));
    let replacement = library.entry(EntryId::ROOT, "doomed", replacement);
    library.commit(&[put(&film)]);
    library.commit(&[remove(&doomed), put(&replacement)]);
    let mut states = Vec::new();
    library
        .index
        .published::<crate::index::IndexError>(&mut |record| {
            states.push(record.change);
            Ok(())
        })
        .unwrap();
    let sizes: Vec<_> = states
        .iter()
        .filter_map(|change| match change {
            Change::Put(entry) => match &entry.kind {
                EntryKind::File(content) => Some((entry.name.display(), content.size)),
                EntryKind::Directory => None,
            },
            Change::Remove { .. } => None,
        })
        .collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.contains(&("film".into(), 3)) && sizes.contains(&("doomed".into(), 3)));
}
