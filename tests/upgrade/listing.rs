//! A library as text, one line for each file: what the mount shows, and what HTTP serves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::child::Daemon;
use crate::client::get;
use crate::daemon::Site;

/// Lists every directory, file and view of the mount, then every playlist and segment of every film.
pub fn of(site: &Site, running: &Daemon) -> String {
    let mut text = String::new();
    tree(site.mountpoint(), "", &mut text);
    let files = site.json(&["list", "--json"]);
    let mut served = BTreeMap::new();
    for file in files.as_array().unwrap() {
        let (path, state) = (file["path"].as_str().unwrap(), file["state"].as_str());
        writeln!(text, "list {} {path}", state.unwrap()).unwrap();
        if file["has_views"] == true {
            let id = file["id"].as_str().unwrap();
            let address = format!("/playlist/local/{id}.m3u8");
            crawl(running, &address, &mut served);
        }
    }
    for (path, digest) in served {
        writeln!(text, "http {digest} {path}").unwrap();
    }
    text
}

/// Lists `directory`, which the mount shows as `shown`, with everything below it.
fn tree(directory: &Path, shown: &str, text: &mut String) {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let (path, shown) = (directory.join(&name), format!("{shown}/{name}"));
        let metadata = fs::symlink_metadata(&path).unwrap();
        let (mode, ino) = (metadata.mode(), metadata.ino());
        let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
        if metadata.is_dir() {
            writeln!(text, "dir {mode:o} {ino} {seconds}.{nanos} {shown}").unwrap();
            tree(&path, &shown, text);
        } else {
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, metadata.len(), "{shown}");
            let (len, digest) = (bytes.len(), short_digest(&bytes));
            writeln!(
                text,
                "file {mode:o} {ino} {seconds}.{nanos} {len} {digest} {shown}"
            )
            .unwrap();
        }
    }
}

fn short_digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

/// Follows each address in the playlists, and notes the digest of each answer.
fn crawl(running: &Daemon, path: &str, served: &mut BTreeMap<String, String>) {
    if served.contains_key(path) {
        return;
    }
    let reply = get(running, path);
    assert_eq!(reply.status, 200, "{path}");
    if !reply.body.starts_with(b"#EXTM3U") {
        served.insert(path.to_owned(), short_digest(&reply.body));
        return;
    }
    // The releases before had absolute addresses in the multivariant playlist.
    let playlist = match path
        .strip_suffix(".m3u8")
        .and_then(|path| path.rsplit_once('/'))
    {
        Some((directory, id)) => {
            let relative = format!("{id}/");
            reply
                .text()
                .replace(&relative, &format!("{directory}/{id}/"))
        }
        None => reply.text(),
    };
    served.insert(path.to_owned(), short_digest(playlist.as_bytes()));
    for address in addresses(&playlist) {
        crawl(running, &address.replace("../../..", ""), served);
    }
}

/// The addresses in a playlist: on lines of their own, and in `URI="…"`.
fn addresses(playlist: &str) -> impl Iterator<Item = &str> {
    let addresses = playlist
        .lines()
        .filter_map(|line| match line.strip_prefix('#') {
            None => Some(line),
            Some(tag) => tag.split_once("URI=\"")?.1.split('"').next(),
        });
    addresses.filter(|address| !address.is_empty())
}
