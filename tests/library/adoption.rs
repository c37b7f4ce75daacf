//! Index and journal are gone, spool and store are not.

use std::fs;

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

/// The spool file of a change in the middle is a sparse file: its holes are the base's bytes.
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
