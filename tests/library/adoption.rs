//! Adoption of spool files: the index and the journal are lost, the spool and the store are not.

use std::fs;

use tgfs::vfs::{AccessMode, Existing};

use crate::house::{House, path};
use crate::material::noise;

const MIB: usize = 1 << 20;

#[test]
fn files_of_the_store_and_of_the_spool_come_back_without_index_and_journal() {
    let mut house = House::new();
    house.stored("films/stored.bin", &noise(MIB, 1));
    house.settled();
    house.refuse_packs();
    house.write("films/new.bin", &noise(MIB, 2)).unwrap();
    house.write("top.bin", &noise(1000, 3)).unwrap();
    house.stop();
    fs::write(
        house
            .directory("spool")
            .join("0123456789abcdef0123456789abcdef"),
        b"of unknown origin",
    )
    .unwrap();
    let spooled = || fs::read_dir(house.directory("spool")).unwrap().count();
    let before = spooled();
    house.remove_directory("state");
    house.start();
    assert!(house.read("films/stored.bin").unwrap() == noise(MIB, 1));
    assert!(house.read("films/new.bin").unwrap() == noise(MIB, 2));
    assert!(house.read("top.bin").unwrap() == noise(1000, 3));
    let strays = house.names("lost+found");
    assert_eq!(strays.len(), 1, "{strays:?}");
    let stray = format!("lost+found/{}", strays[0]);
    assert_eq!(house.read(&stray).unwrap(), b"of unknown origin");
    assert!(fs::read_dir(house.directory("spool")).unwrap().count() >= before);
    for name in ["films/new.bin", "top.bin", &stray] {
        assert_eq!(house.state(name), "failed", "{name}");
        house.vfs().retry(&path(name)).unwrap();
        house.wait_for(name, "stored");
    }
    house.restart();
    assert!(house.read("films/new.bin").unwrap() == noise(MIB, 2));
    assert_eq!(house.read(&stray).unwrap(), b"of unknown origin");
}

/// The spool file of a change in the middle of a file is sparse: its holes are bytes of the base.
#[test]
fn an_overlay_comes_back_over_its_base_and_not_over_zeros() {
    let mut house = House::new();
    let mut bytes = noise(2 * MIB, 1);
    house.stored("f.bin", &bytes);
    house.settled();
    house.refuse_packs();
    house.overwrite("f.bin", 1_000_000, b"changed");
    bytes[1_000_000..1_000_007].copy_from_slice(b"changed");
    house.stop();
    house.remove_directory("state");
    house.start();
    let ino = house.attr("f.bin").unwrap().ino;
    assert!(house.read("f.bin").unwrap() == bytes);
    house.vfs().retry(&path("f.bin")).unwrap();
    house.wait_for("f.bin", "stored");
    house.restart();
    assert!(house.read("f.bin").unwrap() == bytes);
    assert_eq!(house.attr("f.bin").unwrap().ino, ino);
}

#[test]
fn a_copy_over_a_stored_file_that_was_cut_short_harms_neither() {
    let mut house = House::new();
    let (old, new) = (noise(MIB, 1), noise(MIB / 2, 2));
    house.stored("films/f.bin", &old);
    house.settled();
    let handle = house
        .open("films/f.bin", AccessMode::Write, Existing::Truncate)
        .unwrap();
    house.write_at(handle, 0, &new).unwrap();
    house.kill();
    house.start();
    assert_eq!(house.state("films/f.bin"), "stored");
    assert!(house.read("films/f.bin").unwrap() == old);
    // The bytes of the new one that were written.
    assert_eq!(house.names("lost+found"), ["f.bin"]);
    assert_eq!(house.state("lost+found/f.bin"), "failed");
    assert!(house.read("lost+found/f.bin").unwrap() == new);
}

#[test]
fn a_file_of_the_user_in_the_place_of_lost_and_found_keeps_nothing_from_starting() {
    let mut house = House::new();
    house.stored("lost+found", b"mine");
    house.settled();
    for stray in [
        "0123456789abcdef0123456789abcdef",
        "1123456789abcdef0123456789abcdef",
    ] {
        house.stop();
        fs::write(house.directory("spool").join(stray), stray).unwrap();
        house.start();
        assert_eq!(house.read("lost+found").unwrap(), b"mine");
        let found = format!("lost+found.2/{stray}");
        assert_eq!(house.read(&found).unwrap(), stray.as_bytes());
    }
}
