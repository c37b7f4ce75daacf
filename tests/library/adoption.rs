//! Adoption of spool files: the index and the journal are lost, the spool and the store are not.

use std::fs;

use tgfs::vfs::{AccessMode, Existing};

use crate::material::noise;
use crate::test_library::{TestLibrary, path};

const MIB: usize = 1 << 20;

#[test]
fn files_of_the_store_and_of_the_spool_come_back_without_index_and_journal() {
    let mut library = TestLibrary::new();
    library.stored("films/stored.bin", &noise(MIB, 1));
    library.settled();
    library.refuse_packs();
    library.write("films/new.bin", &noise(MIB, 2)).unwrap();
    library.write("top.bin", &noise(1000, 3)).unwrap();
    library.stop();
    fs::write(
        library
            .directory("spool")
            .join("0123456789abcdef0123456789abcdef"),
        b"of unknown origin",
    )
    .unwrap();
    let spooled = || fs::read_dir(library.directory("spool")).unwrap().count();
    let before = spooled();
    library.remove_directory("state");
    library.start();
    assert!(library.read("films/stored.bin").unwrap() == noise(MIB, 1));
    assert!(library.read("films/new.bin").unwrap() == noise(MIB, 2));
    assert!(library.read("top.bin").unwrap() == noise(1000, 3));
    let strays = library.names("lost+found");
    assert_eq!(strays.len(), 1, "{strays:?}");
    let stray = format!("lost+found/{}", strays[0]);
    assert_eq!(library.read(&stray).unwrap(), b"of unknown origin");
    assert!(fs::read_dir(library.directory("spool")).unwrap().count() >= before);
    for name in ["films/new.bin", "top.bin", &stray] {
        assert_eq!(library.state(name), "failed", "{name}");
        library.vfs().retry(&path(name)).unwrap();
        library.wait_for(name, "stored");
    }
    library.restart();
    assert!(library.read("films/new.bin").unwrap() == noise(MIB, 2));
    assert_eq!(library.read(&stray).unwrap(), b"of unknown origin");
}

/// The spool file of a change in the middle of a file is sparse: its holes are bytes of the base.
#[test]
fn an_overlay_comes_back_over_its_base_and_not_over_zeros() {
    let mut library = TestLibrary::new();
    let mut bytes = noise(2 * MIB, 1);
    library.stored("f.bin", &bytes);
    library.settled();
    library.refuse_packs();
    library.overwrite("f.bin", 1_000_000, b"changed");
    bytes[1_000_000..1_000_007].copy_from_slice(b"changed");
    library.stop();
    library.remove_directory("state");
    library.start();
    let ino = library.attr("f.bin").unwrap().ino;
    assert!(library.read("f.bin").unwrap() == bytes);
    library.vfs().retry(&path("f.bin")).unwrap();
    library.wait_for("f.bin", "stored");
    library.restart();
    assert!(library.read("f.bin").unwrap() == bytes);
    assert_eq!(library.attr("f.bin").unwrap().ino, ino);
}

#[test]
fn a_copy_over_a_stored_file_that_was_cut_short_harms_neither() {
    let mut library = TestLibrary::new();
    let (old, new) = (noise(MIB, 1), noise(MIB / 2, 2));
    library.stored("films/f.bin", &old);
    library.settled();
    let handle = library
        .open("films/f.bin", AccessMode::Write, Existing::Truncate)
        .unwrap();
    library.write_at(handle, 0, &new).unwrap();
    library.kill();
    library.start();
    assert_eq!(library.state("films/f.bin"), "stored");
    assert!(library.read("films/f.bin").unwrap() == old);
    // The bytes of the new one that were written.
    assert_eq!(library.names("lost+found"), ["f.bin"]);
    assert_eq!(library.state("lost+found/f.bin"), "failed");
    assert!(library.read("lost+found/f.bin").unwrap() == new);
}

#[test]
fn a_file_of_the_user_in_the_place_of_lost_and_found_keeps_nothing_from_starting() {
    let mut library = TestLibrary::new();
    library.stored("lost+found", b"mine");
    library.settled();
    for stray in [
        "0123456789abcdef0123456789abcdef",
        "1123456789abcdef0123456789abcdef",
    ] {
        library.stop();
        fs::write(library.directory("spool").join(stray), stray).unwrap();
        library.start();
        assert_eq!(library.read("lost+found").unwrap(), b"mine");
        let found = format!("lost+found.2/{stray}");
        assert_eq!(library.read(&found).unwrap(), stray.as_bytes());
    }
}
