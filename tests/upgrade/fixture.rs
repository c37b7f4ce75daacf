//! The fixture: its archives, and how an old program writes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tgfs::failpoint::Step;

use crate::daemon::{Site, wait_for};
use crate::{listing, material};

/// Where the library of a fixture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A local store.
    Local,
    /// A local store, and a state whose last run was killed.
    Killed,
    /// A channel of the simulated service.
    Channel,
}

impl Place {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Killed => "killed",
            Self::Channel => "channel",
        }
    }

    /// Directories that are packed.
    const fn directories(self) -> [&'static str; 2] {
        match self {
            Self::Local | Self::Killed => ["state", "store"],
            Self::Channel => ["state", "service"],
        }
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/release-0.1")
}

fn archive(place: Place) -> PathBuf {
    directory().join(format!("{}.tar.gz", place.as_str()))
}

fn listing(place: Place) -> PathBuf {
    directory().join(format!("{}.listing", place.as_str()))
}

/// The library as the old program showed it, in the form of [`listing::of`].
pub fn expected(place: Place) -> String {
    fs::read_to_string(listing(place)).unwrap()
}

pub fn unpack(place: Place, into: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--file"])
        .arg(archive(place))
        .arg("--directory")
        .arg(into);
    succeed(tar);
}

fn succeed(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", material::said(&output));
}

/// Lets the old program write a library, and packs it together with what it shows.
pub fn write(place: Place) {
    let program = std::env::var_os("TGFS_OLD_PROGRAM").unwrap();
    let mut site = Site::new(place, program.into());
    let films = site.path().join("films");
    fs::create_dir(&films).unwrap();
    let running = site.start();
    fill(&site, &films);
    running.stop();
    if place == Place::Killed {
        let running = site.start_to_die(Step::PackPut);
        fs::write(site.mountpoint().join("Notes/last.txt"), "the last words").unwrap();
        wait_for("the daemon dies", || !running.is_alive());
        drop(running);
        let _ = tgfs::fuse::clean_stale(site.mountpoint());
    } else {
        // A second run reads the rows that the first one wrote, and stops cleanly.
        site.start().stop();
    }
    site.stop_service();
    pack(place, site.path());
    site.start_service(place);
    let running = site.start();
    fs::write(listing(place), listing::of(&site, &running)).unwrap();
    running.stop();
}

fn pack(place: Place, from: &Path) {
    fs::create_dir_all(directory()).unwrap();
    let mut tar = Command::new("tar");
    tar.env("GZIP", "-9")
        .args(["--create", "--gzip", "--sparse", "--owner=0", "--group=0"])
        .args(["--exclude=lock", "--exclude=*.sock", "--file"])
        .arg(archive(place))
        .arg("--directory")
        .arg(from)
        .args(place.directories());
    succeed(tar);
}

const CUES: &str =
    "1\n00:00:00,200 --> 00:00:01,500\nHello\n\n2\n00:00:02,000 --> 00:00:03,500\nAgain\n";

/// A film of four seconds.
fn film(directory: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let cues = directory.join("cues.srt");
    fs::write(&cues, CUES).unwrap();
    let out = directory.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i"])
        .arg("color=c=navy:s=96x64:r=12:d=4")
        .args(["-f", "lavfi", "-i", "sine=d=4", "-i"])
        .arg(&cues)
        .args(["-map", "0", "-map", "1", "-c:v", "libx264", "-g", "12"])
        .args([
            "-preset", "veryfast", "-c:a", "aac", "-b:a", "24k", "-ac", "1",
        ])
        .args(arguments)
        .arg(&out);
    succeed(ffmpeg);
    out
}

/// Files of all kinds, then renames and deletes, each stored before the next.
fn fill(site: &Site, films: &Path) {
    #[rustfmt::skip]
    let matroska = film(films, "film.mkv", &[
        "-map", "2", "-map", "2", "-c:s", "srt",
        "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=spa",
    ]);
    let transport = film(films, "film.ts", &[]);
    let root = site.mountpoint();
    for folder in [
        "Films/Small (2001)",
        "Films/On air",
        "Notes/deep/er",
        "Notes/emptied",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let small = root.join("Films/Small (2001)");
    fs::copy(&matroska, small.join("Small (2001).mkv")).unwrap();
    fs::write(
        small.join("Small (2001).fre.srt"),
        CUES.replace("Hello", "Bonjour"),
    )
    .unwrap();
    fs::copy(&transport, root.join("Films/On air/programme.ts")).unwrap();
    fs::write(root.join("Films/broken.mkv"), material::noise(3000, 1)).unwrap();
    fs::write(root.join("Notes/deep/er/notes.txt"), "a first line\n").unwrap();
    fs::write(root.join("Notes/empty.txt"), "").unwrap();
    fs::write(root.join("Notes/gone.bin"), material::noise(2000, 2)).unwrap();
    fs::write(root.join("Notes/before.bin"), material::noise(2000, 3)).unwrap();
    site.settled();
    // A generated subtitle that the user does not want.
    fs::remove_file(small.join("Small (2001).spa.srt")).unwrap();
    fs::rename(&small, root.join("Films/Kept")).unwrap();
    fs::rename(
        root.join("Notes/before.bin"),
        root.join("Notes/deep/after.bin"),
    )
    .unwrap();
    fs::remove_file(root.join("Notes/gone.bin")).unwrap();
    fs::remove_dir(root.join("Notes/emptied")).unwrap();
    // Whoever runs the test may write.
    open_up(root);
    site.settled();
}

fn open_up(directory: &Path) {
    for item in fs::read_dir(directory).unwrap() {
        let item = item.unwrap();
        if item.file_name() == ".hls" || !item.file_type().unwrap().is_dir() {
            continue;
        }
        fs::set_permissions(item.path(), Permissions::from_mode(0o777)).unwrap();
        open_up(&item.path());
    }
}
