//! The whole library: files and films go in, come out, and are recovered from the channel alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::get;
use crate::daemon::{Daemon, Site};
use crate::film;
use crate::material::{Random, noise};
use crate::service::{HOME, Service};

const FILM: &str = "Films/Heat (1995)/Heat (1995).mkv";

/// Entry as `stat` and `read` show it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    mode: u32,
    size: u64,
    modified: (i64, i64),
    digest: Option<String>,
}

/// Returns everything below `root`, views and sidecars included, by path.
fn look(root: &Path) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for item in fs::read_dir(&directory).unwrap() {
            let path = item.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let digest = metadata.is_file().then(|| {
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                blake3::hash(&bytes).to_string()
            });
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            let entry = Seen {
                inode: metadata.ino(),
                mode: metadata.mode(),
                size: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                digest,
            };
            seen.insert(name.to_owned(), entry);
            if metadata.is_dir() {
                pending.push(path);
            }
        }
    }
    seen
}

/// Returns the MD5 of each decoded video frame.
fn frames(input: &str) -> Vec<String> {
    #[rustfmt::skip]
    let arguments = ["-nostdin", "-v", "error", "-i", input, "-map", "0:v", "-f", "framemd5", "-"];
    let output = Command::new("ffmpeg")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(output.status.success(), "{input}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let frames = text.lines().filter(|line| !line.starts_with('#'));
    frames
        .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

fn playlist_url(daemon: &Daemon) -> String {
    let reply = get(daemon, "/files.json");
    let list: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let file = &list["files"].as_array().unwrap().iter();
    let film = file
        .clone()
        .find(|file| file["path"] == format!("/{FILM}"))
        .unwrap();
    let id = film["id"].as_str().unwrap();
    format!("http://{}/playlist/local/{id}.m3u8", daemon.address())
}

fn expect_it_plays(site: &Site, daemon: &Daemon, expected: &[String]) {
    let views = site.file(".hls").join(FILM).join("master.m3u8");
    assert!(frames(views.to_str().unwrap()) == expected, "by the mount");
    assert!(frames(&playlist_url(daemon)) == expected, "over HTTP");
}

/// Makes a tree with a film, many small files, an empty one and an empty directory.
fn make_source(root: &Path) {
    let folder = root.join("Films/Heat (1995)");
    fs::create_dir_all(&folder).unwrap();
    film::make(&folder.join("Heat (1995).mkv"));
    for name in ["e.srt", "s.srt"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    fs::create_dir_all(root.join("Notes/empty")).unwrap();
    let mut random = Random(3);
    for number in 0..40 {
        let len = usize::try_from(random.below(40_000)).unwrap();
        let path = root.join(format!("Notes/note {number}.txt"));
        fs::write(path, noise(len, number)).unwrap();
    }
    fs::write(root.join("Notes/nothing"), b"").unwrap();
    fs::write(root.join("large.bin"), noise(3_500_000, 77)).unwrap();
}

fn expect_same_bytes(source: &Path, root: &Path) {
    let output = Command::new("diff")
        .args(["-r", "--exclude", ".hls", "--exclude", "*.srt"])
        .args([source, root])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Makes a directory of programs that holds only those that mount.
fn without_ffmpeg(site: &Site) -> PathBuf {
    let programs = site.outside("programs");
    fs::create_dir(&programs).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|directory| directory.join("fusermount3"));
    let fusermount = found.filter(|program| program.is_file()).last().unwrap();
    std::os::unix::fs::symlink(fusermount, programs.join("fusermount3")).unwrap();
    programs
}

#[test]
fn a_library_goes_in_plays_and_comes_back_from_the_channel_alone() {
    let service = Service::with_bots(3);
    let site = Site::new(&service);
    let source = site.outside("source");
    make_source(&source);
    let expected = frames(source.join(FILM).to_str().unwrap());
    assert_eq!(expected.len(), film::FRAMES);

    let daemon = site.start();
    let copy = Command::new("cp")
        .arg("-a")
        .arg(source.join("."))
        .arg(site.mountpoint())
        .status();
    assert!(copy.unwrap().success());
    site.packs_are_out();
    expect_same_bytes(&source, site.mountpoint());
    expect_it_plays(&site, &daemon, &expected);
    let before = look(site.mountpoint());
    site.finish(daemon);

    // The next daemon signs no bot in again.
    let keys = service.calls("handshake");
    let signed_in = service.calls("auth.importBotAuthorization");
    let daemon = site.start();
    expect_same_bytes(&source, site.mountpoint());
    expect_it_plays(&site, &daemon, &expected);
    assert_eq!(look(site.mountpoint()), before);
    assert_eq!(service.calls("handshake"), keys);
    assert_eq!(service.calls("auth.importBotAuthorization"), signed_in);
    daemon.stop();

    // The settings alone bring everything back, and nothing is made or sent anew.
    let posts = service.posts(HOME).unwrap();
    site.lose_state();
    let programs = without_ffmpeg(&site);
    let site = site.with("PATH", programs.to_str().unwrap());
    let daemon = site.start();
    assert_eq!(look(site.mountpoint()), before);
    expect_same_bytes(&source, site.mountpoint());
    expect_it_plays(&site, &daemon, &expected);
    assert_eq!(site.stat("spool", "size"), 0);
    daemon.stop();
    let documents = |posts: &[telegram_sim::PostView]| {
        let all = posts.iter().filter(|post| post.document.is_some());
        all.map(|post| post.id).collect::<Vec<_>>()
    };
    assert_eq!(
        documents(&service.posts(HOME).unwrap()),
        documents(&posts),
        "posted anew"
    );
}
