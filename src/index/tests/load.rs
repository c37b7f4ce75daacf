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
