//! A library with a passphrase: nothing changes for its user, and nothing in the store is readable.

use std::fs;
use std::path::Path;

use crate::house::{House, film};
use crate::library::LibrarySettings;
use crate::material::noise;

const SENTENCE: &[u8] = b"a sentence that nobody else shall read\n";

fn encrypted(passphrase: &'static str) -> House {
    House::with(LibrarySettings {
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
    let mut house = encrypted("correct horse");
    let (film, text) = (film(), SENTENCE.repeat(50_000));
    house.stored("Heat (1995)/heat.mkv", &film);
    house.stored("letters/to nobody.txt", &text);
    house.stored("small.txt", SENTENCE);
    house.overwrite("letters/to nobody.txt", 1_000_000, b"changed in the middle");
    house.settled();
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
    let store = house.directory("store");
    let mut found = Vec::new();
    let files = search(&store, &words, &mut found);
    assert_eq!(found, Vec::<&[u8]>::new());
    assert!(files > 8, "{files}");

    // The store and the passphrase are enough.
    house.stop();
    for name in ["state", "spool"] {
        house.remove_directory(name);
    }
    house.start();
    let mut changed = text;
    changed[1_000_000..][..21].copy_from_slice(b"changed in the middle");
    assert!(house.read("letters/to nobody.txt").unwrap() == changed);
    assert!(house.read("Heat (1995)/heat.mkv").unwrap() == film);
    assert!(house.read("small.txt").unwrap() == SENTENCE);
    house.wait_for("Heat (1995)/heat.mkv", "stored");
    let playlist = house.read(".hls/Heat (1995)/heat.mkv/master.m3u8").unwrap();
    assert!(playlist.starts_with(b"#EXTM3U"));

    // A new passphrase opens the packs that were stored under the old one.
    house.stop();
    house.settings.old_passphrase = house.settings.passphrase.replace("correct donkey");
    house.start();
    house.stored("after.bin", &noise(2_000_000, 3));
    house.stop();
    house.settings.old_passphrase = None;
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert!(house.read("after.bin").unwrap() == noise(2_000_000, 3));
    assert!(house.read("Heat (1995)/heat.mkv").unwrap() == film);
}

#[test]
fn a_library_is_encrypted_from_its_passphrase_on() {
    let mut house = House::new();
    house.stored("before.txt", SENTENCE);
    house.settled();
    house.stop();
    house.settings.passphrase = Some("correct horse");
    house.start();
    house.stored("after.txt", &[b"now: ", SENTENCE].concat());
    house.settled();
    let mut found = Vec::new();
    let words: [&[u8]; 3] = [b"now: a sentence", b"after.txt", SENTENCE];
    search(&house.directory("store"), &words, &mut found);
    assert_eq!(found, [SENTENCE], "the one from before");
    house.stop();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert_eq!(house.names("").join(" "), ".hls after.txt before.txt");
    assert!(house.read("before.txt").unwrap() == SENTENCE);
    assert!(house.read("after.txt").unwrap().starts_with(b"now: a"));
}
