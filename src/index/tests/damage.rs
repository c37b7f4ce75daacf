use super::*;

/// Makes a state with some history, and returns its tree.
fn sample(state: &Path) -> Vec<(String, Entry)> {
    let (index, _) = open(state);
    for folder in 0..5 {
        let folder = directory(&index, EntryId::ROOT, &format!("folder {folder}"));
        index.commit(&[put(&folder)]).unwrap();
        for number in 0..40 {
            let name = format!("file {number}");
            let mut film = file(&index, folder.id, &name, spooled(number + 1));
            index.commit(&[put(&film)]).unwrap();
            if number % 3 == 0 {
                film.attributes.mtime.seconds += 1;
                index.commit(&[put(&film)]).unwrap();
            }
            if number % 7 == 0 {
                index.commit(&[remove(&film)]).unwrap();
            }
        }
    }
    let found = tree(&index);
    index.shutdown().unwrap();
    found
}

fn database_files(state: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(state.join("index"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Checks that the tree survives. All of it is unpublished, so the journal has it and no remote is needed.
fn check_survives(state: &Path, expected: &[(String, Entry)], what: &str) {
    let (index, report) = open(state);
    let found = tree(&index);
    assert!(found == expected, "{what}: {report:?}");
}

#[test]
fn damaged_database_files_cost_nothing() {
    let state = tempfile::tempdir().unwrap();
    let expected = sample(state.path());
    let places = 34;
    for place in 0..places {
        for damage in ["flip", "cut", "zero"] {
            let copy = crash_copy(state.path());
            for path in database_files(copy.path()) {
                let mut bytes = std::fs::read(&path).unwrap();
                // Damage is done only where there is data, since sled rounds its file up with zeros.
                let used = bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                let at = used * place / places;
                match damage {
                    "flip" => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 0x10;
                        }
                    }
                    "cut" => bytes.truncate(at),
                    _ => bytes[at..used].fill(0),
                }
                std::fs::write(&path, bytes).unwrap();
            }
            let what = format!("{damage} at {place}/{places}");
            check_survives(copy.path(), &expected, &what);
        }
    }
}

/// The keys of a library are nowhere else in the state.
#[test]
fn a_damaged_database_keeps_the_keys_of_the_store() {
    let state = tempfile::tempdir().unwrap();
    let expected = sample(state.path());
    let (index, _) = open(state.path());
    index.key_store().put(b"wrap", b"secret").unwrap();
    let lost =
        crate::index::store::Writes::from([(crate::index::key::node(expected[1].1.id), None)]);
    let lose = |store: &crate::index::store::RowStore| {
        store.apply(crate::index::store::KeySpace::Records, &lost)
    };
    index.core.read(lose).unwrap();
    drop(index);
    let (index, report) = open(state.path());
    assert_eq!(report.state, IndexCondition::Damaged);
    let key = index.key_store().get(b"wrap").unwrap();
    assert_eq!(key.as_deref(), Some(&b"secret"[..]));
    assert!(tree(&index) == expected);
}

#[test]
fn a_lost_database_costs_nothing() {
    let state = tempfile::tempdir().unwrap();
    let expected = sample(state.path());
    std::fs::remove_dir_all(state.path().join("index")).unwrap();
    let (index, report) = open(state.path());
    assert_eq!(report.state, IndexCondition::Damaged);
    assert!(report.must_fill);
    assert_eq!(tree(&index), expected);
    let refused = index.commit(&[put(&directory(&index, EntryId::ROOT, "x"))]);
    assert!(matches!(refused, Err(IndexError::Filling)));
}

#[test]
fn an_emptied_or_half_written_snapshot_costs_nothing() {
    let state = tempfile::tempdir().unwrap();
    let expected = sample(state.path());
    for content in [&b""[..], b"half"] {
        for name in ["snap.0000000000000000", "snap.00000000FFFFFFFF.generating"] {
            let copy = crash_copy(state.path());
            std::fs::write(copy.path().join("index").join(name), content).unwrap();
            check_survives(copy.path(), &expected, name);
        }
    }
}

#[test]
fn an_older_database_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let a = file(&index, EntryId::ROOT, "a", spooled(1));
    index.commit(&[put(&a)]).unwrap();
    index.shutdown().unwrap();
    let older = crash_copy(state.path());
    let b = file(&index, EntryId::ROOT, "b", spooled(1));
    index.commit(&[put(&b)]).unwrap();
    let expected = tree(&index);
    index.shutdown().unwrap();
    drop(index);
    std::fs::remove_dir_all(state.path().join("index")).unwrap();
    copy_directory(&older.path().join("index"), &state.path().join("index"));
    check_survives(state.path(), &expected, "older database");
}

pub(super) fn newest_journal(state: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(state.join("journal"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.pop().unwrap()
}

#[test]
fn a_torn_journal_keeps_what_is_before_the_tear() {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let bare = crash_copy(state.path());
    let names: Vec<_> = (0..5).map(|n| format!("{n}")).collect();
    for name in &names {
        index
            .commit(&[put(&file(&index, EntryId::ROOT, name, spooled(1)))])
            .unwrap();
    }
    index.sync().unwrap();
    let journal = newest_journal(state.path());
    let bytes = std::fs::read(&journal).unwrap();
    let start = std::fs::metadata(newest_journal(bare.path()))
        .unwrap()
        .len() as usize;
    for end in (start..bytes.len()).step_by(7) {
        // The database is from before, and the journal is torn.
        let copy = crash_copy(bare.path());
        std::fs::write(newest_journal(copy.path()), &bytes[..end]).unwrap();
        let (reopened, report) = open(copy.path());
        let found: Vec<_> = tree(&reopened)
            .into_iter()
            .skip(1)
            .map(|(path, _)| path[1..].to_owned())
            .collect();
        assert_eq!(found, names[..found.len()], "cut at {end}");
        let whole = start + (bytes.len() - start) * found.len() / names.len();
        assert!(end - whole <= (bytes.len() - start) / names.len());
        assert_eq!(report.journal_bytes_cut as usize, end - whole, "{end}");
    }
}

#[test]
fn a_damaged_journal_beside_a_whole_database_costs_nothing() {
    let state = tempfile::tempdir().unwrap();
    let expected = sample(state.path());
    let journal = newest_journal(state.path());
    let bytes = std::fs::read(&journal).unwrap();
    for place in 0..20 {
        let copy = crash_copy(state.path());
        let mut bad = bytes.clone();
        bad[bytes.len() * place / 20] ^= 1;
        std::fs::write(newest_journal(copy.path()), bad).unwrap();
        check_survives(copy.path(), &expected, &format!("journal {place}/20"));
        // The part that was cut from the journal was restated from the database.
        std::fs::remove_dir_all(copy.path().join("index")).unwrap();
        check_survives(copy.path(), &expected, &format!("then database {place}/20"));
    }
}
