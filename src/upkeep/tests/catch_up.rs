//! Tests of starts with a log that is ahead of the index.

use super::*;
use crate::model::AttachState;

/// Copies the state as it is on the disk at this moment.
fn copy_of(library: &Library) -> tempfile::TempDir {
    library.index.compact_journal().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_files(library.state.path(), copy.path());
    copy
}

pub(super) fn copy_files(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_files(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

/// Makes a library whose log goes on, by the same writer, after `copy_of` was taken.
async fn copied_and_gone_on() -> (Library, tempfile::TempDir) {
    let library = Library::new().await;
    library.directory(EntryId::ROOT, "before");
    let publisher = library.publisher();
    publisher.drained().await.unwrap();
    let copy = copy_of(&library);
    library.stored_file(EntryId::ROOT, "later", b"x").await;
    publisher.drained().await.unwrap();
    publisher.stop().await;
    (library, copy)
}

#[tokio::test]
async fn a_lost_acknowledgement_is_noted_beside_new_changes() {
    let library = Library::new().await;
    library.directory(EntryId::ROOT, "before");
    let publisher = library.publisher();
    publisher.drained().await.unwrap();
    let film = library.stored_file(EntryId::ROOT, "film", b"x").await;
    let copy = copy_of(&library);
    publisher.drained().await.unwrap();
    publisher.stop().await;
    let (index, _) = open_index(copy.path());
    assert_eq!(index.store_status().borrow().state, AttachState::Reaching);
    // The store did not answer at once, and the user went on.
    let mut renamed = film.clone();
    renamed.name = Name::new("renamed").unwrap();
    index.commit(&[put(&renamed)]).unwrap();
    let report = attach_to(&index, &library.remote).await.unwrap();
    assert_eq!((report.manifests, report.notes.len()), (1, 0));
    assert_eq!(report.fill.entries, 0, "nothing had to be read in");
    assert_eq!(index.log_head(), library.index.log_head());
    assert_eq!(paths(&index), ["", "/before", "/renamed"]);
    assert!(!index.is_published(film.id).unwrap());
    assert!(index.store_status().borrow().is_attached());
}

#[tokio::test]
async fn a_state_from_a_copy_is_brought_up_to_date() {
    let (library, copy) = copied_and_gone_on().await;
    let (index, _) = open_index(copy.path());
    attach_to(&index, &library.remote).await.unwrap();
    assert_eq!(tree(&index), tree(&library.index));
    assert_eq!(index.log_head(), library.index.log_head());
}

#[tokio::test]
async fn a_state_from_a_copy_that_went_on_is_refused_and_recovered() {
    let (library, copy) = copied_and_gone_on().await;
    let (index, _) = open_index(copy.path());
    let content = EntryKind::File(Box::new(spooled_content(7)));
    let mut entry = library.entry(EntryId::ROOT, "ours", content);
    entry.ino = index.next_ino();
    index.commit(&[put(&entry)]).unwrap();
    let refused = attach_to(&index, &library.remote).await.unwrap_err();
    assert!(matches!(refused, AttachError::Diverged(_)), "{refused}");
    assert!(refused.to_string().contains("tgfs recover"));
    assert_eq!(paths(&index), ["", "/before", "/ours"]);
    assert!(!index.store_status().borrow().is_attached());
    drop(index);
    recover(copy.path(), &library.remote, LibraryClaim::Continue)
        .await
        .unwrap();
    let (index, _) = open_index(copy.path());
    let mut found = paths(&index);
    found.retain(|path| !path.starts_with("/lost+found"));
    assert_eq!(found, ["", "/before", "/later", "/ours"]);
}

#[tokio::test]
async fn manifests_are_read_side_by_side_and_taken_in_order() {
    let library = Library::new().await;
    let mut entry = library.directory(EntryId::ROOT, "0");
    library.publish().await;
    for number in 1..12 {
        entry.name = Name::new(number.to_string()).unwrap();
        library.commit(&[put(&entry)]);
        library.publish().await;
    }
    let expected = tree(&library.index);
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open_index(state.path());
    // The library answers, but the first manifest does not.
    let pass = Fault::Delay(std::time::Duration::ZERO);
    library.faulty.inject(Operation::ReadLog, &pass, 1);
    library.faulty.inject(Operation::ReadLog, &Fault::Hang, 1);
    let before = library.faulty.calls();
    let filling = {
        let (index, remote) = (Arc::clone(&index), Arc::clone(&library.remote));
        tokio::spawn(async move { attach_to(&index, &remote).await })
    };
    while library.faulty.calls() < before + 1 + 8 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    library.faulty.heal();
    let report = filling.await.unwrap().unwrap();
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(report.manifests, 12);
    assert_eq!(tree(&index), expected);
}

/// A long log is expensive to find, since the ids of a channel have to be scanned.
#[tokio::test]
async fn only_what_came_behind_the_snapshot_is_looked_for() {
    let library = Library::new().await;
    let mut entry = library.entry(EntryId::ROOT, "large", EntryKind::Directory);
    let noise: Vec<u8> = (0..80_000)
        .flat_map(|_| *EntryId::random().as_bytes())
        .collect();
    entry
        .attributes
        .xattrs
        .insert(b"user.noise".to_vec(), noise);
    library.commit(&[put(&entry)]);
    library.publish().await;
    library.directory(EntryId::ROOT, "behind");
    library.publish().await;
    let snapshots = library.remote.list_log(LogKind::Snapshot, 0).await.unwrap();
    let newest = snapshots.last().unwrap().number;
    assert!(newest > 0);
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open_index(state.path());
    let before = library.faulty.lists().len();
    attach_to(&index, &library.remote).await.unwrap();
    let lists = library.faulty.lists().split_off(before);
    let expected = [(LogKind::Snapshot, 0), (LogKind::Manifest, newest)];
    assert_eq!(lists, expected);
    assert_eq!(tree(&index), tree(&library.index));
}

#[tokio::test]
async fn a_library_whose_making_was_not_answered_is_ours() {
    let (state, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (faulty, remote) = open_store(store.path());
    let (index, _) = open_index(state.path());
    faulty.inject(Operation::AppendLog, &Fault::LoseReply, 1);
    attach_to(&index, &remote).await.unwrap();
    let mark = remote.library().await.unwrap().unwrap();
    assert_eq!(mark.id, index.library_id());
}
