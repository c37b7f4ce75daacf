//! Tests of TGFS_PASSPHRASE as a user sets and changes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::scratch::{Ended, Scratch};

const HORSE: (&str, &str) = ("TGFS_PASSPHRASE", "correct horse");
const DONKEY: (&str, &str) = ("TGFS_PASSPHRASE", "correct donkey");
const WAS_HORSE: (&str, &str) = ("TGFS_PASSPHRASE_OLD", "correct horse");

/// Runs a command with settings, on the store beside the state.
fn run(scratch: &Scratch, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = scratch.command(arguments);
    command.env("TGFS_STORE", "local:store");
    command.envs(settings.iter().copied());
    let ended = Ended::of(command.output().unwrap());
    let told = format!("{ended:?}");
    assert!(
        !told.contains("horse") && !told.contains("donkey"),
        "{told}"
    );
    ended
}

fn files(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for item in std::fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            // `lock` holds the last process's id.
            false if path.ends_with("lock") => {}
            false => {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
}

fn store(scratch: &Scratch) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    files(&scratch.path().join("store"), &mut found);
    found
}

#[test]
fn a_library_needs_its_passphrase_and_takes_a_new_one() {
    let scratch = Scratch::new();
    let secret = b"a sentence for nobody else ".repeat(10_000);
    std::fs::write(scratch.path().join("letter.txt"), &secret).unwrap();
    let upload = ["upload", "letter.txt"];
    run(&scratch, &[HORSE], &upload).ok();
    let listed = run(&scratch, &[HORSE], &["list"]).ok();
    assert!(listed.contains("letter.txt"), "{listed}");
    let stored = store(&scratch);
    let is_plain = |bytes: &Vec<u8>| bytes.windows(10).any(|window| window == b"a sentence");
    assert!(stored.len() >= 3 && !stored.values().any(is_plain));

    // Every command refuses a missing or wrong passphrase and changes nothing.
    for settings in [&[][..], &[DONKEY], &[DONKEY, ("TGFS_PASSPHRASE_OLD", "x")]] {
        for arguments in [
            &["list"][..],
            &upload,
            &["verify"],
            &["recover"],
            &["serve"],
        ] {
            let told = run(&scratch, settings, arguments).failed_with_hints();
            assert!(told.contains("TGFS_PASSPHRASE"), "{arguments:?}: {told}");
        }
    }
    let told = run(&scratch, &[], &["list"]).failed();
    assert!(told.contains("this library is encrypted"), "{told}");
    let told = run(&scratch, &[WAS_HORSE], &["list"]).failed();
    assert!(told.contains("goes only together"), "{told}");
    assert!(store(&scratch) == stored);

    // One command with both passphrases changes it.
    run(&scratch, &[DONKEY, WAS_HORSE], &["list"]).ok();
    assert!(run(&scratch, &[HORSE], &["list"]).status == 1);
    std::fs::remove_dir_all(scratch.state()).unwrap();
    let recovered = run(&scratch, &[DONKEY], &["recover"]).ok();
    assert!(recovered.contains("1 file"), "{recovered}");
    let verified = run(&scratch, &[DONKEY], &["verify", "--deep"]).ok();
    assert!(verified.contains("0 findings"), "{verified}");
    let shown = run(&scratch, &[DONKEY], &["config"]).ok();
    assert!(shown.contains("********"), "{shown}");
}
