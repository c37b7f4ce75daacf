//! Reads of bytes that only the store has, while the store is damaged or away.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use tgfs::model::ErrorKind;
use tgfs::remote::RemoteErrorKind;
use tgfs::remote::testing::{Fault, Operation};

use crate::library::LibrarySettings;
use crate::material::noise;
use crate::test_library::{ALWAYS, TestLibrary};

const MIB: usize = 1 << 20;

fn far() -> TestLibrary {
    let mut library = TestLibrary::with(LibrarySettings {
        read_deadline: Duration::from_secs(2),
        ..LibrarySettings::default()
    });
    library.stored("far.bin", &noise(2 * MIB, 1));
    library.settled();
    library.restart();
    library
}

fn packs(library: &TestLibrary) -> Vec<PathBuf> {
    fs::read_dir(library.directory("store").join("packs"))
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

#[test]
fn a_flipped_bit_is_an_error_and_never_bytes() {
    let library = far();
    for pack in packs(&library) {
        let file = fs::OpenOptions::new().write(true).read(true).open(pack);
        let (file, mut byte) = (file.unwrap(), [0]);
        file.read_exact_at(&mut byte, 600_000).unwrap();
        file.write_all_at(&[byte[0] ^ 4], 600_000).unwrap();
    }
    assert_eq!(
        library.read("far.bin").unwrap_err().kind,
        ErrorKind::Corrupt
    );
}

#[test]
fn a_pack_that_was_cut_or_removed_is_an_error_and_never_zeros() {
    let library = far();
    for pack in packs(&library) {
        let file = fs::OpenOptions::new().write(true).open(&pack).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(100).unwrap();
        file.set_len(len).unwrap();
    }
    assert!(library.read("far.bin").is_err());
    for pack in packs(&library) {
        fs::remove_file(pack).unwrap();
    }
    assert!(library.read("far.bin").is_err());
}

#[test]
fn a_remote_that_is_away_fails_within_the_deadline_and_leaves_the_rest_alone() {
    for fault in [Fault::Fail(RemoteErrorKind::Unavailable), Fault::Hang] {
        let library = far();
        library.stored("cached.bin", &noise(MIB, 2));
        library.read("cached.bin").unwrap();
        library.remote().inject(Operation::Get, &fault, ALWAYS);
        library.refuse_packs();
        library.write("near.bin", &noise(MIB, 3)).unwrap();
        let error = library.read("far.bin").unwrap_err();
        assert_eq!(error.kind, ErrorKind::RemoteUnavailable, "{error}");
        assert!(library.read("near.bin").unwrap() == noise(MIB, 3));
        assert_eq!(library.names("").len(), 4);
        assert_eq!(library.attr("far.bin").unwrap().size, 2 * MIB as u64);
        library.remote().heal();
        assert!(library.read("far.bin").unwrap() == noise(2 * MIB, 1));
    }
}

#[test]
fn cached_bytes_are_read_while_the_remote_is_away() {
    let library = far();
    let first = library.read("far.bin").unwrap();
    let fault = Fault::Fail(RemoteErrorKind::Unavailable);
    library.remote().inject(Operation::Get, &fault, ALWAYS);
    assert!(library.read("far.bin").unwrap() == first);
}

#[test]
fn a_spool_file_that_is_gone_is_an_error_and_never_zeros() {
    let mut library = TestLibrary::new();
    library.refuse_packs();
    library.write("near.bin", &noise(MIB, 1)).unwrap();
    library.stop();
    library.remove_directory("spool");
    library.start();
    library.refuse_packs();
    assert!(library.read("near.bin").is_err());
    assert_eq!(library.attr("near.bin").unwrap().size, MIB as u64);
}
