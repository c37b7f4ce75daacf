//! A library with a passphrase: nothing changes for its user, and nothing in the store is readable.

use std::fs;
use std::path::Path;

use crate::library::LibrarySettings;
use crate::material::noise;
use crate::test_library::{TestLibrary, film};

const SENTENCE: &[u8] = b"a sentence that nobody else shall read\n";

fn encrypted(passphrase: &'static str) -> TestLibrary {
    TestLibrary::with(LibrarySettings {
        passphrase: Some(passphrase),
        ..LibrarySettings::default()
    })
}

/// Returns which of `words` occur in files below `directory`, and the number of files.
fn search<'a>(directory: &Path, words: &[&'a [u8]], found: &mut Vec<&'a [u8]>) -> usize {
    let mut files = 0;
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files += search(&path, words, found);
            continue;
        }
        files += 1;
        let bytes = fs::read(&path).unwrap();
        for word in words {
            if bytes.windows(word.len()).any(|window| window == *word) {
                found.push(word);
            }
        }
    }
    files
}

#[test]
fn nothing_of_a_library_can_be_read_in_its_store() {
    let mut library = encrypted("correct horse");
    let (film, text) = (film(), SENTENCE.repeat(50_000));
    library.stored("Heat (1995)/heat.mkv", &film);
    library.stored("letters/to nobody.txt", &text);
    library.stored("small.txt", SENTENCE);
    library.overwrite("letters/to nobody.txt", 1_000_000, b"changed in the middle");
    library.settled();
    let middle = &film[film.len() / 2..][..64];
    let words = [
        SENTENCE,
        b"in the middle",
        middle,
        b"heat.mkv",
        b"to nobody.txt",
        b"small.txt",
        b"correct horse",
    ];
    let store = library.directory("store");
    let mut found = Vec::new();
    let files = search(&store, &words, &mut found);
    assert_eq!(found, Vec::<&[u8]>::new());
    assert!(files > 8, "{files}");

    // The store and the passphrase are enough.
    library.stop();
    for name in ["state", "spool"] {
        library.remove_directory(name);
    }
    library.start();
    let mut changed = text;
    changed[1_000_000..][..21].copy_from_slice(b"changed in the middle");
    assert!(library.read("letters/to nobody.txt").unwrap() == changed);
    assert!(library.read("Heat (1995)/heat.mkv").unwrap() == film);
    assert!(library.read("small.txt").unwrap() == SENTENCE);
    library.wait_for("Heat (1995)/heat.mkv", "stored");
    let playlist = library
        .read(".hls/Heat (1995)/heat.mkv/master.m3u8")
        .unwrap();
    assert!(playlist.starts_with(b"#EXTM3U"));

    // A new passphrase opens the packs that were stored under the old one.
    library.stop();
    library.settings.old_passphrase = library.settings.passphrase.replace("correct donkey");
    library.start();
    library.stored("after.bin", &noise(2_000_000, 3));
    library.stop();
    library.settings.old_passphrase = None;
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert!(library.read("after.bin").unwrap() == noise(2_000_000, 3));
    assert!(library.read("Heat (1995)/heat.mkv").unwrap() == film);
}

#[test]
fn a_library_is_encrypted_from_its_passphrase_on() {
    let mut library = TestLibrary::new();
    library.stored("before.txt", SENTENCE);
    library.settled();
    library.stop();
    library.settings.passphrase = Some("correct horse");
    library.start();
    library.stored("after.txt", &[b"now: ", SENTENCE].concat());
    library.settled();
    let mut found = Vec::new();
    let words: [&[u8]; 3] = [b"now: a sentence", b"after.txt", SENTENCE];
    search(&library.directory("store"), &words, &mut found);
    assert_eq!(found, [SENTENCE], "the one from before");
    library.stop();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert_eq!(library.names("").join(" "), ".hls after.txt before.txt");
    assert!(library.read("before.txt").unwrap() == SENTENCE);
    assert!(library.read("after.txt").unwrap().starts_with(b"now: a"));
}
