//! Tests with names that are no text, as long as a name may be, or made to control a terminal. One of them
//! never removes an answer about all.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::mount::Mount;
use crate::scratch::{Ended, Scratch};
use crate::strm::film;

const NO_TEXT: &[u8] = b"caf\xe9.mkv";
const HOSTILE: &str = "a\n\u{1b}]0;owned\u{7}\r\u{9b}31m.mkv";

fn run(scratch: &Scratch, arguments: &[&str], path: &[u8]) -> Ended {
    let mut command = scratch.command(arguments);
    Ended::of(command.arg(OsStr::from_bytes(path)).output().unwrap())
}

/// The longest name that a film can have.
fn long_name() -> String {
    format!("{}xx.mkv", "あ".repeat(83))
}

fn strm_files(directory: &Path) -> Vec<PathBuf> {
    let items = std::fs::read_dir(directory).unwrap();
    let mut found: Vec<PathBuf> = items.map(|item| item.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn one_odd_name_removes_no_answer_about_all() {
    let scratch = Scratch::new();
    let made = scratch.path().join("film.mkv");
    film(&made);
    let mount = Mount::start(&scratch, &[]);
    let long = long_name();
    let names: [&[u8]; 4] = [b"Heat.mkv", NO_TEXT, long.as_bytes(), HOSTILE.as_bytes()];
    for name in names {
        let place = mount.mountpoint.join(OsStr::from_bytes(name));
        std::fs::copy(&made, place).unwrap();
        let path = [b"/", name].concat();
        run(&scratch, &["status", "--wait"], &path).ok();
    }

    let listed = scratch.run(&["list"]).ok();
    assert!(
        listed.contains("4 files") && listed.contains("/caf\\xE9.mkv\n"),
        "{listed}"
    );
    assert!(
        !listed.contains('\u{1b}') && !listed.contains('\u{9b}'),
        "{listed:?}"
    );
    let json = scratch.run(&["list", "--json"]).json();
    let of = |path: &str| {
        let mut files = json.as_array().unwrap().iter();
        files.find(|file| file["path"] == path).unwrap().clone()
    };
    assert_eq!(of("/caf\\xE9.mkv")["path_bytes"], "/caf%E9.mkv");
    assert!(of("/Heat.mkv").get("path_bytes").is_none());
    assert_eq!(
        of("/caf\\xE9.mkv")["urls"]["mount_bytes"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .nth(1),
        Some("caf%E9.mkv")
    );

    // The last line is a path for programs, in its exact bytes.
    let mut url = scratch.command(&["url"]);
    let told = url
        .arg(OsStr::from_bytes(b"/caf\xe9.mkv"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let last = told
        .stdout
        .trim_ascii_end()
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap();
    assert!(Path::new(OsStr::from_bytes(last)).is_file(), "{told:?}");

    let strm = ["strm", "--base-url", "http://nas:8080", "library"];
    let told = scratch.run(&strm).ok();
    assert!(told.starts_with("4 films: 4 written"), "{told}");
    let library = scratch.path().join("library");
    let files = strm_files(&library);
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(
        files.contains(&library.join(OsStr::from_bytes(b"caf\xe9.strm"))),
        "{files:?}"
    );
    assert!(
        scratch
            .run(&strm)
            .ok()
            .starts_with("4 films: 0 written, 4 kept, 0 removed")
    );

    let inside = [mount.mountpoint.as_os_str().as_bytes(), b"/", NO_TEXT].concat();
    assert_eq!(
        run(&scratch, &["retry"], &inside).ok(),
        "queued /caf\\xE9.mkv\n"
    );
    run(&scratch, &["status", "--wait"], &inside).ok();
    let removed = run(&scratch, &["delete"], &inside).ok();
    assert_eq!(removed, "removed /caf\\xE9.mkv (1 file)\n");
    let error = run(&scratch, &["url"], HOSTILE.replace('a', "b").as_bytes()).failed();
    assert_eq!(error.lines().count(), 1, "{error:?}");
    assert!(!error.trim_end().contains(char::is_control), "{error:?}");
    scratch.run(&["umount", "my films"]).ok();
}

/// A file in the way of one film's directory is named, and the other films are written.
#[test]
fn a_strm_file_that_cannot_be_written_does_not_stop_the_others() {
    let scratch = Scratch::new();
    film(&scratch.path().join("film.mkv"));
    for to in ["/Alien", "/Zorro"] {
        scratch.run(&["upload", "--to", to, "film.mkv"]).ok();
    }
    let library = scratch.path().join("library");
    std::fs::create_dir(&library).unwrap();
    std::fs::write(library.join("Alien"), "in the way").unwrap();
    let ended = scratch.run(&["strm", "--base-url", "http://nas:8080", "library"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stdout.starts_with("2 films: 1 written"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("library/Alien"), "{ended:?}");
    assert!(library.join("Zorro/film.strm").exists());
}

#[test]
fn a_mountpoint_that_is_no_text_is_as_good_as_another() {
    let scratch = Scratch::new();
    let place = OsStr::from_bytes(b"m\xfc nt");
    let mount = Mount::at(&scratch, &[], place);
    std::fs::write(mount.mountpoint.join("x"), "x").unwrap();
    let typed = mount.mountpoint.join("x");
    run(
        &scratch,
        &["status", "--wait"],
        typed.as_os_str().as_bytes(),
    )
    .ok();
    assert!(scratch.run(&["list"]).ok().contains("1 file"));
    run(&scratch, &["umount"], place.as_bytes()).ok();
}

#[test]
fn one_of_several_files_does_not_stop_the_others() {
    let scratch = Scratch::new();
    for name in ["a", "c"] {
        std::fs::write(scratch.path().join(name), name).unwrap();
    }
    let ended = scratch.run(&["upload", "a", "missing", "c"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(
        ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("tgfs: "))
            .count(),
        1,
        "{ended:?}"
    );
    assert!(ended.stderr.contains("missing"), "{ended:?}");
    assert_eq!(
        scratch
            .run(&["list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let ended = scratch.run(&["retry", "/a", "/missing", "/c"]);
    assert_eq!(
        (ended.status, ended.stdout.as_str()),
        (1, "queued /a\nqueued /c\n"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("/missing") && ended.stderr.contains("1 of 3"),
        "{ended:?}"
    );
}
