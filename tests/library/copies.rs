//! Copies inside the library share bytes.

use std::time::Duration;

use tgfs::vfs::{AccessMode, CopyRange, Existing};

use crate::house::House;
use crate::material::noise;

const MIB: usize = 1 << 20;

#[test]
fn a_copy_of_a_stored_file_shares_its_packs_until_both_are_gone() {
    let mut house = House::new();
    let bytes = noise(3 * MIB, 1);
    house.stored("a.bin", &bytes);
    house.settled();
    let (puts, packs) = (house.remote().puts(), house.packs_held());
    house.copy("a.bin", "b.bin").unwrap();
    house.wait_for("b.bin", "stored");
    house.settled();
    assert_eq!((house.remote().puts(), house.packs_held()), (puts, packs));
    house.remove("a.bin").unwrap();
    house.settled();
    assert_eq!(house.cleanup(Duration::ZERO).deleted, 0);
    house.restart();
    assert!(house.read("b.bin").unwrap() == bytes);
    house.remove("b.bin").unwrap();
    house.settled();
    assert_eq!(house.cleanup(Duration::from_secs(3600)).deleted, 0);
    assert_eq!(house.packs_held(), packs, "kept for the time that is set");
    house.cleanup_until(0);
}

#[test]
fn a_copy_of_a_spooled_file_is_sent_with_it_and_once() {
    let mut house = House::new();
    let bytes = noise(3 * MIB, 1);
    house.refuse_packs();
    house.write("a.bin", &bytes).unwrap();
    let used = house.spool_used();
    house.copy("a.bin", "b.bin").unwrap();
    assert_eq!(house.spool_used(), used, "the copy takes spool");
    house.remove("a.bin").unwrap();
    house.restart();
    assert!(house.read("b.bin").unwrap() == bytes);
    house.wait_for("b.bin", "stored");
    house.copy("b.bin", "c.bin").unwrap();
    house.settled();
    assert_eq!(house.packs_held(), 1);
    assert!(house.read("c.bin").unwrap() == bytes);
}

#[test]
fn two_names_of_the_same_spooled_bytes_are_sent_once() {
    let house = House::new();
    let bytes = noise(9 * MIB, 1);
    house.refuse_packs();
    house.write("a.bin", &bytes).unwrap();
    house.copy("a.bin", "b.bin").unwrap();
    house.remote().heal();
    house.wait_for("a.bin", "stored");
    house.wait_for("b.bin", "stored");
    assert_eq!(house.packs_held(), 9);
    assert!(house.read("a.bin").unwrap() == bytes);
    assert!(house.read("b.bin").unwrap() == bytes);
}

/// The source may go before the copy is closed.
#[test]
fn a_copy_holds_its_bytes_from_the_moment_it_is_made() {
    let house = House::new();
    let bytes = noise(2 * MIB, 1);
    house.stored("a.bin", &bytes);
    house.settled();
    let from = house
        .open("a.bin", AccessMode::Read, Existing::Keep)
        .unwrap();
    let to = house.create("b.bin").unwrap();
    let vfs = house.vfs();
    house
        .block_on(vfs.copy_file_range(CopyRange {
            from,
            from_offset: 0,
            to,
            to_offset: 0,
            len: bytes.len() as u64,
        }))
        .unwrap();
    house.vfs().release(from);
    house.remove("a.bin").unwrap();
    house.until("the removal is published", || {
        house.index().unpublished().unwrap().len() <= 2
    });
    house.cleanup(Duration::ZERO);
    house.close(to).unwrap();
    house.wait_for("b.bin", "stored");
    house.settled();
    house.cleanup(Duration::ZERO);
    assert!(house.read("b.bin").unwrap() == bytes);
}
