//! The work that loading a log takes, counted in rows that are read.

use std::sync::atomic::Ordering;

use super::*;
use crate::model::LogRecord;

/// Loads these entries, whose parents are found by their position, and returns the reads for each.
fn reads_per_entry(count: u64, parent_of: impl Fn(u64) -> Option<u64>) -> u64 {
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open(state.path());
    let id_of = |number: u64| {
        let mut bytes = *Digest::of(&number.to_le_bytes()).0.first_chunk().unwrap();
        bytes[15] |= 1;
        EntryId::from_bytes(bytes)
    };
    let record = |number: u64| {
        let parent = parent_of(number).map_or(EntryId::ROOT, id_of);
        let mut entry = entry(&index, parent, &format!("e{number}"), EntryKind::Directory);
        (entry.id, entry.ino) = (id_of(number), Ino(number + 10));
        LogRecord {
            seq: Seq(number + 1),
            change: Change::Put(Box::new(entry)),
        }
    };
    let records: Vec<LogRecord> = (0..count).map(record).collect();
    index.begin_fill().unwrap();
    let reads = || {
        let read = |store: &crate::index::store::RowStore| {
            Ok::<_, IndexError>(store.reads.load(Ordering::Relaxed))
        };
        index.core.read(read).unwrap()
    };
    let before = reads();
    index.fill(&records).unwrap();
    let head = LogHead::default();
    let report = index
        .finish_fill(head, Seq(count), Ino(count + 20))
        .unwrap();
    assert!(report.entries >= count);
    // Each entry has a place.
    for number in 0..count {
        let node = index.node_by_ino(Ino(number + 10)).unwrap().unwrap();
        let child = index.child(node.parent, &node.name).unwrap().unwrap();
        assert_eq!(child.id, node.id);
    }
    (reads() - before) / count
}

/// Whatever tree a log holds, an entry takes a bounded number of reads.
#[test]
fn an_entry_takes_a_bounded_number_of_reads() {
    const COUNT: u64 = 3000;
    const MOST: u64 = 30;
    let flat = reads_per_entry(COUNT, |number| (number > 0).then_some(0));
    let chain = reads_per_entry(COUNT, |number| number.checked_sub(1));
    let ring = reads_per_entry(COUNT, |number| Some((number + 1) % COUNT));
    let below_a_ring = reads_per_entry(COUNT, |number| match number {
        0..100 => Some((number + 1) % 100),
        _ => Some(number - 1),
    });
    for reads in [flat, chain, ring, below_a_ring] {
        assert!(reads <= MOST, "{flat} {chain} {ring} {below_a_ring}");
    }
}

fn set_writes(index: &Index, count: u64) {
    let set = |store: &crate::index::store::RowStore| {
        store.writes_left.store(count, Ordering::Relaxed);
        Ok::<_, IndexError>(())
    };
    index.core.read(set).unwrap();
}

fn writes_left(index: &Index) -> u64 {
    let read = |store: &crate::index::store::RowStore| {
        Ok::<_, IndexError>(store.writes_left.load(Ordering::Relaxed))
    };
    index.core.read(read).unwrap()
}

/// A library with an unpublished change, and records of the log that change, remove and add entries of every kind.
fn library_and_records(state: &Path) -> (Index, Vec<LogRecord>) {
    let (index, _) = open(state);
    let file = |index: &Index, name: &str| {
        let content = in_pack(spooled(9), &pack(100));
        let kind = EntryKind::File(Box::new(content));
        entry(index, EntryId::ROOT, name, kind)
    };
    let mut entries: Vec<Entry> = (0..12).map(|n| file(&index, &format!("old {n}"))).collect();
    entries.push(directory(&index, EntryId::ROOT, "old directory"));
    let puts: Vec<Change> = entries
        .iter()
        .map(|entry| Change::Put(Box::new(entry.clone())))
        .collect();
    let seq = index.commit(&puts).unwrap();
    let head = LogHead::default();
    let records: Vec<LogRecord> = puts
        .into_iter()
        .map(|change| LogRecord { seq, change })
        .collect();
    index.acknowledge(head, &records).unwrap();
    let mut unpublished = [file(&index, "unpublished"), file(&index, "overtaken")];
    for entry in &unpublished {
        index
            .commit(&[Change::Put(Box::new(entry.clone()))])
            .unwrap();
    }

    let mut records = Vec::new();
    let mut add = |change: Change| {
        let seq = Seq(100 + records.len() as u64);
        records.push(LogRecord { seq, change });
    };
    for (number, entry) in entries.iter().enumerate() {
        let mut changed = entry.clone();
        match number % 4 {
            0 => changed.name = Name::new(format!("new {number}")).unwrap(),
            1 => changed.kind = EntryKind::Directory,
            2 => changed.kind = file(&index, "x").kind,
            _ => {
                let released = Vec::new();
                add(Change::Remove {
                    id: entry.id,
                    released,
                });
                continue;
            }
        }
        add(Change::Put(Box::new(changed)));
    }
    unpublished[1].name = Name::new("taken over").unwrap();
    add(Change::Put(Box::new(unpublished[1].clone())));
    for number in 0..12 {
        add(Change::Put(Box::new(file(
            &index,
            &format!("added {number}"),
        ))));
    }
    (index, records)
}

/// Returns a line for each entry: how it is found, and what it is.
fn listing(index: &Index) -> Vec<String> {
    let mut lines = Vec::new();
    for child in index.children(EntryId::ROOT, Ino(0), 1000).unwrap() {
        let entry = index.entry(child.id).unwrap().unwrap();
        let by_number = index.node_by_ino(entry.ino).unwrap().unwrap();
        let by_name = index.child(EntryId::ROOT, &entry.name).unwrap().unwrap();
        assert_eq!([by_number.id, by_name.id], [entry.id; 2]);
        lines.push(format!("{entry:?}"));
    }
    lines.sort();
    lines
}

/// Wherever filling ends, the next one gives the same tree. No row is taken for damaged, and those of other modules
/// (keys are among them) stay.
#[test]
fn filling_may_end_between_any_two_writes() {
    let fill = |index: &Index, records: &[LogRecord]| {
        index.begin_fill()?;
        index.fill(records)?;
        index.finish_fill(LogHead::default(), Seq(900), Ino(900))
    };
    let state = tempfile::tempdir().unwrap();
    let (index, records) = library_and_records(state.path());
    index.rows("keys").unwrap().put(b"key", b"secret").unwrap();
    index.shutdown().unwrap();
    let before = crash_copy(state.path());
    drop(index);

    let whole = crash_copy(before.path());
    let (index, _) = open(whole.path());
    let library = index.library_id();
    set_writes(&index, 1_000_000);
    fill(&index, &records).unwrap();
    let steps = 1_000_000 - writes_left(&index);
    let expected = listing(&index);
    assert!(steps > 20, "{steps}");
    assert_eq!(expected.len(), 13 - 3 + 12 + 2, "{expected:#?}");

    for step in 0..steps {
        let state = crash_copy(before.path());
        let (index, _) = open(state.path());
        set_writes(&index, step);
        fill(&index, &records).unwrap_err();
        drop(index);
        let (index, report) = open(state.path());
        assert_eq!(
            report.state,
            IndexCondition::Intact,
            "step {step}: {report:?}"
        );
        assert_eq!(report.must_fill, step > 0, "step {step}");
        let secret = index.rows("keys").unwrap().get(b"key").unwrap();
        assert_eq!(secret.as_deref(), Some(&b"secret"[..]), "step {step}");
        assert_eq!(index.library_id(), library, "step {step}");
        fill(&index, &records).unwrap();
        assert_eq!(listing(&index), expected, "step {step}");
        drop(index);
        // The sum over all rows is right.
        let (_, report) = open(state.path());
        assert_eq!(
            report.state,
            IndexCondition::Intact,
            "step {step}: {report:?}"
        );
    }
}
