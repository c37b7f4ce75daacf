use super::*;
use crate::index::clean::{self, Left};

/// Makes a stopped state with a file in it, and returns its tree.
fn stopped(state: &Path) -> Vec<(String, Entry)> {
    let (index, _) = open(state);
    index
        .commit(&[put(&file(&index, EntryId::ROOT, "a", spooled(1)))])
        .unwrap();
    let found = tree(&index);
    index.shutdown().unwrap();
    found
}

fn left(state: &Path) -> Left {
    clean::take(state, &state.join("index"))
}

#[test]
fn a_clean_stop_is_known_once() {
    let state = tempfile::tempdir().unwrap();
    let expected = stopped(state.path());
    let copy = crash_copy(state.path());
    assert_eq!(left(copy.path()), Left::Clean);
    assert_eq!(left(copy.path()), Left::Somehow);

    let (index, report) = open(state.path());
    assert_eq!(report.state, IndexCondition::Intact);
    assert_eq!(tree(&index), expected);
    // A kill at this moment would leave this state.
    assert_eq!(left(crash_copy(state.path()).path()), Left::Somehow);
}

#[test]
fn what_changes_after_the_mark_is_seen() {
    let state = tempfile::tempdir().unwrap();
    stopped(state.path());
    let longer = crash_copy(state.path());
    let path = longer.path().join("index/db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.push(0);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(left(longer.path()), Left::Somehow);

    let more = crash_copy(state.path());
    std::fs::create_dir_all(more.path().join("index/blobs")).unwrap();
    std::fs::write(more.path().join("index/blobs/1"), b"").unwrap();
    assert_eq!(left(more.path()), Left::Somehow);

    // Another release must look at each row, since it may know fewer kinds of them.
    let other = crash_copy(state.path());
    let mark = other.path().join("index.clean");
    let text = std::fs::read_to_string(&mark).unwrap();
    std::fs::write(&mark, format!("9{text}")).unwrap();
    assert_eq!(left(other.path()), Left::Somehow);
}

#[test]
fn a_commit_after_the_stop_is_kept() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    index.shutdown().unwrap();
    let late = file(&index, EntryId::ROOT, "late", spooled(1));
    index.commit(&[put(&late)]).unwrap();
    index.sync().unwrap();
    let expected = tree(&index);
    drop(index);
    let (index, _) = open(state.path());
    assert_eq!(tree(&index), expected);
}
