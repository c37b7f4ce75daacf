//! Tests of the rules of upkeep over a remote that encrypts.

use super::*;
use crate::remote::retry::Deadline;
use crate::remote::{KdfCost, KnownKey, LogStore as _, Passphrases, RemoteError, unlock};

async fn unlocked(store: &Path, passphrase: Option<&str>) -> Result<Arc<dyn Remote>, RemoteError> {
    let (_, inner) = open_store(store);
    let passphrases = Passphrases::new(passphrase, None);
    let opened = unlock(
        inner,
        &passphrases,
        KdfCost::NONE,
        Deadline::None,
        &KnownKey::Nothing,
    )
    .await?;
    Ok(opened.remote)
}

async fn encrypted() -> Library {
    let store = tempfile::tempdir().unwrap();
    let (faulty, inner) = open_store(store.path());
    let passphrases = Passphrases::new(Some("correct horse"), None);
    let opened = unlock(
        inner,
        &passphrases,
        KdfCost::NONE,
        Deadline::None,
        &KnownKey::Nothing,
    )
    .await;
    Library::over(store, faulty, opened.unwrap().remote).await
}

fn log_file(library: &Library, object: LogObject) -> std::path::PathBuf {
    let name = format!("{:020}-{}", object.number, object.writer);
    library.store.path().join("log").join(name)
}

async fn manifests(library: &Library) -> Vec<LogObject> {
    library.remote.list_log(LogKind::Manifest, 0).await.unwrap()
}

#[tokio::test]
async fn an_encrypted_library_comes_back_from_the_store_and_the_passphrase() {
    let library = encrypted().await;
    let films = library.directory(EntryId::ROOT, "films");
    for name in ["heat.mkv", "ronin.mkv"] {
        library.stored_file(films.id, name, b"a film").await;
        library.publish().await;
    }
    let expected = tree(&library.index);
    let (state, store) = {
        let state = library.state.path().to_owned();
        drop((library.faulty, library.remote));
        drop(library.index);
        (state, library.store)
    };
    for passphrase in [None, Some("correct donkey")] {
        let refused = unlocked(store.path(), passphrase).await.unwrap_err();
        assert_eq!(refused.kind, RemoteErrorKind::Denied);
    }
    let remote = unlocked(store.path(), Some("correct horse")).await.unwrap();
    let empty = tempfile::tempdir().unwrap();
    let (index, _) = open_index(empty.path());
    let report = attach_to(&index, &remote).await.unwrap();
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(tree(&index), expected);
    let report = verify(&index, &remote, VerifyDepth::Blocks, &mut |_| ()).await;
    let report = report.unwrap();
    assert_eq!((report.packs, report.problems.len()), (2, 0));
    // A recovery of the existing state gives the same tree.
    drop(index);
    recover(&state, &remote, LibraryClaim::Continue)
        .await
        .unwrap();
    let (index, _) = open_index(&state);
    assert_eq!(tree(&index), expected);
}

/// The mark has lost its key, and there is no passphrase. The tree must not come back empty.
#[tokio::test]
async fn without_a_passphrase_no_manifest_is_skipped_as_damaged() {
    let library = encrypted().await;
    library.stored_file(EntryId::ROOT, "heat.mkv", b"x").await;
    library.publish().await;
    let mut mark = library.faulty.library().await.unwrap().unwrap();
    mark.wrap = None;
    library.faulty.update_library(&mark).await.unwrap();
    let bare: Arc<dyn Remote> = library.faulty.clone();
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open_index(state.path());
    let refused = attach_to(&index, &bare).await.unwrap_err();
    assert!(refused.to_string().contains("TGFS_PASSPHRASE"), "{refused}");
    let refused = recover(state.path(), &bare, LibraryClaim::Continue).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_manifest_that_was_changed_or_made_up_costs_itself_only() {
    let library = encrypted().await;
    let mut names = Vec::new();
    for name in ["a", "b", "c", "d"] {
        library.directory(EntryId::ROOT, name);
        library.publish().await;
        names.push(format!("/{name}"));
    }
    let objects = manifests(&library).await;
    assert_eq!(objects.len(), 4, "one a publish");
    let plain = library.remote.read_log(objects[3]).await.unwrap();
    for damage in ["flipped", "another's", "not encrypted"] {
        let path = log_file(&library, objects[2]);
        let kept = std::fs::read(&path).unwrap();
        let mut bytes = kept.clone();
        match damage {
            "flipped" => bytes[200] ^= 1,
            "another's" => bytes = std::fs::read(log_file(&library, objects[3])).unwrap(),
            _ => bytes = plain.to_vec(),
        }
        std::fs::write(&path, bytes).unwrap();
        let state = tempfile::tempdir().unwrap();
        let (index, _) = open_index(state.path());
        let report = attach_to(&index, &library.remote).await.unwrap();
        let skipped = &report.notes[0];
        assert!(
            skipped.contains("manifest 3: skipped"),
            "{damage}: {skipped}"
        );
        assert_eq!(paths(&index), ["", "/a", "/b", "/d"], "{damage}");
        std::fs::write(&path, kept).unwrap();
    }
}

#[tokio::test]
async fn a_writer_without_the_key_is_another_writer() {
    let library = encrypted().await;
    library.directory(EntryId::ROOT, "ours");
    library.publish().await;
    let next = library.index.log_head().number + 1;
    let theirs = LogObject {
        kind: LogKind::Manifest,
        number: next,
        writer: WriterId::random(),
    };
    let made_up = bytes::Bytes::from_static(b"made up");
    library.faulty.append_log(theirs, made_up).await.unwrap();
    library.directory(EntryId::ROOT, "more");
    let publisher = library.publisher();
    let stopped = publisher.drained().await.unwrap_err().to_string();
    publisher.stop().await;
    assert!(stopped.contains(&theirs.writer.to_string()), "{stopped}");
    let refused = attach_to(&library.index, &library.remote).await;
    assert!(matches!(refused, Err(AttachError::OtherWriter(_))));
}

#[tokio::test]
async fn verify_finds_what_was_changed_in_an_encrypted_pack() {
    let library = encrypted().await;
    let bytes = vec![3; 700_000];
    let changed = library.stored_file(EntryId::ROOT, "a", &bytes).await;
    library.stored_file(EntryId::ROOT, "b", &bytes).await;
    let id = packs(&changed)[0].id.to_string();
    let path = library.store.path().join("packs").join(&id[..2]).join(&id);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let check =
        async |remote| verify(&library.index, remote, VerifyDepth::Blocks, &mut |_| ()).await;
    let report = check(&library.remote).await.unwrap();
    let names: Vec<_> = report.problems.iter().map(|p| p.name.as_str()).collect();
    assert_eq!((names, report.packs), (vec!["a"], 2));
    // Without the key there are no findings, because the packs cannot be judged.
    let bare: Arc<dyn Remote> = library.faulty.clone();
    assert!(check(&bare).await.is_err());
}
