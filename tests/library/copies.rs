//! Copies inside the library share bytes.

use std::time::Duration;

use tgfs::vfs::{AccessMode, CopyRange, Existing};

use crate::material::noise;
use crate::test_library::TestLibrary;

const MIB: usize = 1 << 20;

#[test]
fn a_copy_of_a_stored_file_shares_its_packs_until_both_are_gone() {
    let mut library = TestLibrary::new();
    let bytes = noise(3 * MIB, 1);
    library.stored("a.bin", &bytes);
    library.settled();
    let (puts, packs) = (library.remote().puts(), library.packs_held());
    library.copy("a.bin", "b.bin").unwrap();
    library.wait_for("b.bin", "stored");
    library.settled();
    assert_eq!(
        (library.remote().puts(), library.packs_held()),
        (puts, packs)
    );
    library.remove("a.bin").unwrap();
    library.settled();
    assert_eq!(library.cleanup(Duration::ZERO).deleted, 0);
    library.restart();
    assert!(library.read("b.bin").unwrap() == bytes);
    library.remove("b.bin").unwrap();
    library.settled();
    assert_eq!(library.cleanup(Duration::from_secs(3600)).deleted, 0);
    assert_eq!(library.packs_held(), packs, "kept for the time that is set");
    library.cleanup_until(0);
}

#[test]
fn a_copy_of_a_spooled_file_is_sent_with_it_and_once() {
    let mut library = TestLibrary::new();
    let bytes = noise(3 * MIB, 1);
    library.refuse_packs();
    library.write("a.bin", &bytes).unwrap();
    let used = library.spool_used();
    library.copy("a.bin", "b.bin").unwrap();
    assert_eq!(library.spool_used(), used, "the copy takes spool");
    library.remove("a.bin").unwrap();
    library.restart();
    assert!(library.read("b.bin").unwrap() == bytes);
    library.wait_for("b.bin", "stored");
    library.copy("b.bin", "c.bin").unwrap();
    library.settled();
    assert_eq!(library.packs_held(), 1);
    assert!(library.read("c.bin").unwrap() == bytes);
}

#[test]
fn two_names_of_the_same_spooled_bytes_are_sent_once() {
    let library = TestLibrary::new();
    let bytes = noise(9 * MIB, 1);
    library.refuse_packs();
    library.write("a.bin", &bytes).unwrap();
    library.copy("a.bin", "b.bin").unwrap();
    library.remote().heal();
    library.wait_for("a.bin", "stored");
    library.wait_for("b.bin", "stored");
    assert_eq!(library.packs_held(), 9);
    assert!(library.read("a.bin").unwrap() == bytes);
    assert!(library.read("b.bin").unwrap() == bytes);
}

/// The source may go before the copy is closed.
#[test]
fn a_copy_holds_its_bytes_from_the_moment_it_is_made() {
    let library = TestLibrary::new();
    let bytes = noise(2 * MIB, 1);
    library.stored("a.bin", &bytes);
    library.settled();
    let from = library
        .open("a.bin", AccessMode::Read, Existing::Keep)
        .unwrap();
    let to = library.create("b.bin").unwrap();
    let vfs = library.vfs();
    library
        .block_on(vfs.copy_file_range(CopyRange {
            from,
            from_offset: 0,
            to,
            to_offset: 0,
            len: bytes.len() as u64,
        }))
        .unwrap();
    library.vfs().release(from);
    library.remove("a.bin").unwrap();
    library.until("the removal is published", || {
        library.index().unpublished().unwrap().len() <= 2
    });
    library.cleanup(Duration::ZERO);
    library.close(to).unwrap();
    library.wait_for("b.bin", "stored");
    library.settled();
    library.cleanup(Duration::ZERO);
    assert!(library.read("b.bin").unwrap() == bytes);
}
