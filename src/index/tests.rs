mod clean;
mod damage;
mod full_disk;
mod golden;
mod load;
mod outbox;

use std::path::Path;

use super::*;
use crate::model::{
    Attributes, Blob, BlobId, Change, Digest, Entry, EntryId, EntryKind, Extent, ExtentSource,
    FileContent, FileState, Ino, LibraryId, Name, PackAddress, PackId, PackRef, PackSlice, Seq,
    Timestamp, ViewsState, XattrMap,
};

fn owner() -> Owner {
    Owner { uid: 1, gid: 2 }
}

fn open(state: &Path) -> (Index, OpenReport) {
    Index::open(state, owner()).unwrap()
}

/// Copies the state as a crash would leave it: the files as they are now, without a shutdown.
fn crash_copy(state: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(state, copy.path());
    copy
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_directory(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

fn attributes() -> Attributes {
    let now = Timestamp {
        seconds: 1_700_000_000,
        nanos: 5,
    };
    Attributes {
        mode: 0o644,
        uid: 1,
        gid: 2,
        atime: now,
        mtime: now,
        ctime: now,
        created: now,
        xattrs: XattrMap::new(),
    }
}

fn entry(index: &Index, parent: EntryId, name: &str, kind: EntryKind) -> Entry {
    Entry {
        id: EntryId::random(),
        parent,
        name: Name::new(name).unwrap(),
        ino: index.next_ino(),
        attributes: attributes(),
        kind,
    }
}

fn directory(index: &Index, parent: EntryId, name: &str) -> Entry {
    entry(index, parent, name, EntryKind::Directory)
}

fn spooled(size: u64) -> FileContent {
    let blob = BlobId::random();
    FileContent {
        version: 1,
        size,
        extents: vec![Extent {
            source: ExtentSource::Blob(blob),
            offset: 0,
            len: size,
        }],
        blobs: vec![Blob {
            id: blob,
            len: size,
            digest: None,
            slices: Vec::new(),
        }],
        state: FileState::Spooled,
        views: ViewsState::Pending,
        hidden_sidecars: Vec::new(),
    }
}

fn pack(len: u64) -> PackRef {
    PackRef {
        id: PackId::random(),
        address: PackAddress::Local,
        data_len: len,
        len: len + 100,
        table_digest: Digest([7; 32]),
    }
}

fn in_pack(mut content: FileContent, pack: &PackRef) -> FileContent {
    for blob in &mut content.blobs {
        blob.slices = vec![PackSlice {
            blob_offset: 0,
            pack_offset: 0,
            len: blob.len,
            pack: pack.clone(),
        }];
    }
    content
}

fn file(index: &Index, parent: EntryId, name: &str, content: FileContent) -> Entry {
    entry(index, parent, name, EntryKind::File(Box::new(content)))
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

/// Returns all entries by path from the root, found by listing directories.
fn tree(index: &Index) -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), EntryId::ROOT)];
    while let Some((path, id)) = open.pop() {
        let entry = index.entry(id).unwrap().expect("listed entries exist");
        found.push((path.clone(), entry));
        for child in index.children(id, Ino(0), 1000).unwrap() {
            let by_name = index.child(id, &child.name).unwrap();
            assert_eq!(by_name.as_ref(), Some(&child));
            let by_ino = index.node_by_ino(child.ino).unwrap().unwrap();
            assert_eq!(by_ino.id, child.id);
            let path = format!("{path}/{}", child.name.display());
            open.push((path, child.id));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn a_new_state_has_a_root() {
    let state = tempfile::tempdir().unwrap();
    let (index, report) = open(state.path());
    assert_eq!(report.state, IndexCondition::Fresh);
    let root = index.node(EntryId::ROOT).unwrap().unwrap();
    assert_eq!(root.ino, Ino::ROOT);
    assert_eq!(root.attributes.mode, 0o755);
    assert_eq!((root.attributes.uid, root.attributes.gid), (1, 2));
    assert_eq!(tree(&index).len(), 1);
}

#[test]
fn the_tree_survives_a_clean_stop_and_a_crash() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let folder = directory(&index, EntryId::ROOT, "films");
    index.commit(&[put(&folder)]).unwrap();
    let film = file(&index, folder.id, "heat.mkv", spooled(17));
    index.commit(&[put(&film)]).unwrap();
    let before = tree(&index);
    assert_eq!(before.len(), 3);
    let id = index.library_id();

    let crashed = crash_copy(state.path());
    let (after_crash, report) = open(crashed.path());
    assert_eq!(report.state, IndexCondition::Intact);
    assert_eq!(tree(&after_crash), before);
    assert_eq!(after_crash.library_id(), id);
    assert!(after_crash.next_ino() > film.ino);

    index.shutdown().unwrap();
    drop(index);
    let (index, report) = open(state.path());
    assert_eq!(report.state, IndexCondition::Intact);
    assert_eq!(report.rolled_forward, 0);
    assert_eq!(tree(&index), before);
}

#[test]
fn names_can_be_traded_and_not_stolen() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let mut a = file(&index, EntryId::ROOT, "a", spooled(1));
    let mut b = file(&index, EntryId::ROOT, "b", spooled(2));
    index.commit(&[put(&a), put(&b)]).unwrap();
    a.name = Name::new("b").unwrap();
    let stolen = index.commit(&[put(&a)]).unwrap_err();
    assert!(matches!(stolen, IndexError::NameTaken(_)));
    assert_eq!(
        index.entry(a.id).unwrap().unwrap().name,
        Name::new("a").unwrap()
    );
    b.name = Name::new("a").unwrap();
    index.commit(&[put(&a), put(&b)]).unwrap();
    let child = index.child(EntryId::ROOT, &a.name).unwrap().unwrap();
    assert_eq!(child.id, a.id);

    // A rename over a file removes the replaced file in the same commit.
    let c = file(&index, EntryId::ROOT, "b", spooled(3));
    index.commit(&[remove(&a), put(&c)]).unwrap();
    assert_eq!(index.node(a.id).unwrap(), None);
    assert_eq!(index.node_by_ino(a.ino).unwrap(), None);
    assert_eq!(tree(&index).len(), 3);
    assert!(matches!(
        index.commit(&[Change::Remove {
            id: EntryId::ROOT,
            released: Vec::new()
        }]),
        Err(IndexError::Root)
    ));
}

#[test]
fn a_listing_goes_on_where_it_stopped() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let files: Vec<_> = (0..10)
        .map(|n| file(&index, EntryId::ROOT, &format!("{n}"), spooled(1)))
        .collect();
    for file in &files {
        index.commit(&[put(file)]).unwrap();
    }
    let first = index.children(EntryId::ROOT, Ino(0), 4).unwrap();
    index
        .commit(&[remove(&files[0]), remove(&files[5])])
        .unwrap();
    let rest = index
        .children(EntryId::ROOT, first.last().unwrap().ino, 100)
        .unwrap();
    let names: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|child| child.name.display())
        .collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "6", "7", "8", "9"]);
}

#[test]
fn a_second_daemon_and_a_newer_state_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let refused = Index::open(state.path(), owner()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string()),
        "{refused}"
    );
    drop(index);
    std::fs::write(state.path().join("version"), "2\n").unwrap();
    let refused = Index::open(state.path(), owner()).unwrap_err();
    assert!(matches!(refused, IndexError::NewerVersion { .. }));
}

#[test]
fn rows_of_other_modules_survive() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let jobs = index.rows("jobs").unwrap();
    let other = index.rows("jobs2").unwrap();
    jobs.put(b"a1", b"x").unwrap();
    jobs.put(b"a2", b"y").unwrap();
    jobs.put(b"b", b"z").unwrap();
    other.put(b"a3", b"w").unwrap();
    jobs.remove(b"a1").unwrap();
    assert_eq!(jobs.scan(b"a").unwrap(), [(b"a2".to_vec(), b"y".to_vec())]);
    assert_eq!(jobs.scan(b"").unwrap().len(), 2);
    drop((jobs, other));
    drop(index);
    let (index, _) = open(state.path());
    assert_eq!(
        index.rows("jobs").unwrap().get(b"b").unwrap().as_deref(),
        Some(&b"z"[..])
    );
}

#[test]
fn a_store_that_failed_opens_again_by_itself() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let a = file(&index, EntryId::ROOT, "a", spooled(1));
    index.commit(&[put(&a)]).unwrap();
    let before = tree(&index);
    // The index is in the state that follows a write to a full disk.
    *index.core.store_mut() = None;
    assert_eq!(tree(&index), before);
    *index.core.store_mut() = None;
    let b = file(&index, EntryId::ROOT, "b", spooled(1));
    index.commit(&[put(&b)]).unwrap();
    assert_eq!(tree(&index).len(), 3);
}

#[test]
fn a_failed_commit_does_not_come_back() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let a = file(&index, EntryId::ROOT, "a", spooled(1));
    index.commit(&[put(&a)]).unwrap();
    let journal = index.sizes().unwrap().journal;
    let mut thief = file(&index, EntryId::ROOT, "a", spooled(2));
    index.commit(&[put(&thief)]).unwrap_err();
    thief.name = Name::new("c").unwrap();
    thief.ino = a.ino;
    index.commit(&[put(&thief)]).unwrap_err();
    assert_eq!(index.sizes().unwrap().journal, journal);
    let copy = crash_copy(state.path());
    let (reopened, _) = open(copy.path());
    assert_eq!(tree(&reopened), tree(&index));
}

/// The umask says what the database makes; what it holds is for our user only.
#[test]
fn the_database_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("index");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (_index, _) = open(state.path());
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for name in ["db", "conf", "blobs"] {
        let found = std::fs::metadata(directory.join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o077, 0, "{name}");
    }
}

/// What lies in the place of a file of the state is neither waited for nor followed.
#[test]
fn only_regular_files_of_the_state_are_opened() {
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;
    for name in ["lock", "version", "index/db", "index/conf", "journal"] {
        for kind in ["link", "fifo"] {
            let state = tempfile::tempdir().unwrap();
            drop(open(state.path()));
            let path = match name {
                "journal" => damage::newest_journal(state.path()),
                name => state.path().join(name),
            };
            let moved = state.path().join("moved");
            std::fs::rename(&path, &moved).unwrap();
            let before = std::fs::read(&moved).unwrap();
            match kind {
                "link" => symlink(&moved, &path).unwrap(),
                _ => nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap(),
            }
            // An index whose database cannot be used is made anew; all else ends the start.
            let text = match Index::open(state.path(), owner()) {
                Ok((_, report)) if name.starts_with("index") => report.notes.join("; "),
                Ok(_) => "opened".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(text.contains("no regular file"), "{name} {kind}: {text}");
            assert_eq!(std::fs::read(&moved).unwrap(), before, "{name} {kind}");
        }
    }
}
