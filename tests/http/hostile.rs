//! What a daemon serves and says of a store whose records a stranger wrote.

use std::path::Path;
use std::sync::Arc;

use tgfs::model::{
    Change, Entry, EntryId, EntryKind, FileContent, FileState, Ino, LogRecord, Name, Seq,
    TrackKind, Views, ViewsState, WriterId,
};
use tgfs::remote::{LocalRemote, LogDecoder, LogEncoder, LogKind, LogObject, Remote};

use crate::client::{as_stranger, get};
use crate::daemon::Daemon;
use crate::{FILM, addresses, film, path_of, playlists, source};

/// Ends its attribute and its line, names an address of its own, and turns the terminal's text around.
const EVIL: &str = "x\",URI=\"http://evil.example/a\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\r\nhttp://evil.example/b\n\u{1b}[2J\u{202e}<script>";
/// A name that the mount would take as well.
const EVIL_NAME: &str = "a\nevil.example\r\n\u{1b}[2J\u{202e}<script>&\".mkv";

/// Appends a manifest to a store without a passphrase. Its records are those of the films there, as `change` makes them.
fn forge(store: &Path, change: impl Fn(&mut Entry)) {
    let remote: Arc<dyn Remote> = Arc::new(LocalRemote::open(store).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut last, mut films) = (None, Vec::<Entry>::new());
        for object in remote.list_log(LogKind::Manifest, 0).await.unwrap() {
            let bytes = remote.read_log(object).await.unwrap();
            let mut decoder = LogDecoder::new(&bytes).unwrap();
            while let Some(record) = decoder.next_record().unwrap() {
                if let Change::Put(entry) = record.change
                    && matches!(entry.kind, EntryKind::File(_))
                {
                    films.retain(|film| film.id != entry.id);
                    films.push(*entry);
                }
            }
            last = Some(decoder.header().clone());
        }
        let mut header = last.unwrap();
        header.number += 1;
        header.writer = WriterId::random();
        header.next_ino = Ino(header.next_ino.0 + 100);
        header.last_seq = Seq(header.last_seq.0 + 100);
        let mut encoder = LogEncoder::new(&header).unwrap();
        // The log names what has no place.
        let mut orphan = films[0].clone();
        (orphan.id, orphan.parent) = (EntryId::random(), EntryId::random());
        (orphan.ino, orphan.kind) = (Ino(header.next_ino.0 - 1), EntryKind::Directory);
        orphan.name = Name::new(EVIL_NAME).unwrap();
        let lost = LogRecord {
            seq: header.last_seq,
            change: Change::Put(Box::new(orphan)),
        };
        encoder.push(&lost).unwrap();
        for mut film in films {
            change(&mut film);
            let change = Change::Put(Box::new(film));
            let seq = header.last_seq;
            encoder.push(&LogRecord { seq, change }).unwrap();
        }
        let object = LogObject {
            kind: LogKind::Manifest,
            number: header.number,
            writer: header.writer,
        };
        let bytes = encoder.finish().unwrap();
        remote.append_log(object, bytes).await.unwrap();
    });
}

fn content(entry: &mut Entry) -> &mut FileContent {
    match &mut entry.kind {
        EntryKind::File(content) => content,
        EntryKind::Directory => panic!("{:?} is no file", entry.name),
    }
}

/// Puts hostile text into each string of the views.
fn poison(views: &mut Views) {
    let evil = || EVIL.to_owned();
    for track in &mut views.tracks {
        (track.codec, track.language, track.title) = (evil(), evil(), evil());
        if let TrackKind::Video { range, .. } = &mut track.kind {
            *range = evil();
        }
    }
    for (number, subtitle) in views.subtitles.iter_mut().enumerate() {
        (subtitle.language, subtitle.title) = (evil(), evil());
        subtitle.key = format!("../{number}{EVIL}");
    }
    for file in &mut views.files {
        file.path = format!("../../{EVIL}");
    }
    for chapter in &mut views.chapters {
        chapter.title = evil();
    }
    views.note = Some(evil());
}

/// Returns a daemon with a new state over a store into which a stranger wrote.
fn daemon_over(store: &Path, log: &Path) -> Daemon {
    Daemon::start_with(&[
        ("TGFS_STORE", &format!("local:{}", store.display())),
        ("LOG_FILE", log.to_str().unwrap()),
        ("LOG_LEVEL", "debug"),
    ])
}

/// Asserts that a text for people or programs has no line of the stranger and nothing that moves a cursor. A name in JSON
/// is the one that the file has, also where it turns the text around.
fn expect_plain(what: &str, text: &str) {
    for line in text.lines() {
        let is_fine = |c: char| !c.is_control() && (c != '\u{202e}' || what.contains("json"));
        let is_plain = line.chars().all(|c| c == '\t' || is_fine(c));
        assert!(is_plain, "{what}: {line:?}");
        let begins = |word: &str| line.trim_start().starts_with(word);
        assert!(
            !begins("http://evil") && !begins("evil.example"),
            "{what}: {text}"
        );
    }
}

/// Asserts that a playlist has only relative addresses, and that each of its quotes is closed where its attribute ends.
fn expect_playlist(path: &str, text: &str) {
    expect_plain(path, text);
    assert!(text.starts_with("#EXTM3U"), "{path}: {text}");
    assert!(!text.contains("URI=\"http"), "{path}: {text}");
    for address in addresses(text) {
        assert!(!address.contains("://"), "{path}: {address}");
    }
}

#[test]
fn strings_of_a_stranger_stay_in_their_place() {
    let place = tempfile::tempdir().unwrap();
    let (store, log) = (place.path().join("store"), place.path().join("log"));
    let owner = Daemon::start_with(&[("TGFS_STORE", &format!("local:{}", store.display()))]);
    film::make(&source(&owner));
    let path = source(&owner);
    owner.run(&["upload", "--to", "/Films", path.to_str().unwrap()]);
    owner.run(&["status", "--wait", FILM]);
    drop(owner);
    forge(&store, |entry| {
        entry.name = Name::new(EVIL_NAME).unwrap();
        match &mut content(entry).views {
            ViewsState::Ready(views) => poison(views),
            other => panic!("{other:?}"),
        }
    });
    let daemon = daemon_over(&store, &log);
    let list: serde_json::Value =
        serde_json::from_slice(&get(&daemon, "/files.json").body).unwrap();
    let id = list["files"][0]["id"].as_str().unwrap();
    the_playlists_are_plain(&daemon, id);
    for name in ["chapters.json", "chapters.vtt"] {
        let text = as_stranger(&daemon, "GET", &format!("/segment/{id}/{name}"), &[]).text();
        assert!(text.contains("evil"), "{name}: {text}");
        expect_plain(name, &text);
    }

    let film = format!("/Films/{EVIL_NAME}");
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["status"],
        &["status", "--json"],
        &["status", &film],
        &["status", &film, "--json"],
        &["url", &film],
    ] {
        expect_plain(&format!("{arguments:?}"), &daemon.run(arguments));
    }
    for path in ["/fs/Films/", "/", "/files.json"] {
        let page = get(&daemon, path).text();
        let is_text = path.ends_with("json") || !page.contains("<script>&");
        assert!(is_text, "{path}: {page}");
        expect_plain(path, &page);
    }
    drop(daemon);
    expect_plain("the log", &logged(&log));
}

fn the_playlists_are_plain(daemon: &Daemon, id: &str) {
    let mut count = 0;
    for container in ["fmp4", "ts"] {
        let master = format!("/playlist/local/{id}.m3u8");
        let asked = format!("{master}?container={container}");
        let text = as_stranger(daemon, "GET", &asked, &[]).text();
        expect_playlist(&asked, &text);
        hls_m3u8::MasterPlaylist::try_from(text.as_str()).unwrap();
        for address in playlists(&text) {
            let path = path_of(&master, &address);
            let text = as_stranger(daemon, "GET", &path, &[]).text();
            expect_playlist(&path, &text);
            count += 1;
        }
    }
    assert!(count >= 6, "{count} playlists");
}

/// Returns the text of the log file, which has the day in its name.
fn logged(log: &Path) -> String {
    let folder = std::fs::read_dir(log.parent().unwrap()).unwrap();
    let files = folder.map(|file| file.unwrap().path());
    let texts = files.filter(|file| file.is_file());
    let text: String = texts
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    assert!(
        text.contains("evil.example"),
        "the log says nothing: {text}"
    );
    text
}

#[test]
fn the_reason_of_a_stranger_is_one_line() {
    let place = tempfile::tempdir().unwrap();
    let (store, log) = (place.path().join("store"), place.path().join("log"));
    let owner = Daemon::start_with(&[("TGFS_STORE", &format!("local:{}", store.display()))]);
    let text = owner.directory().join("notes.txt");
    std::fs::write(&text, "words").unwrap();
    owner.run(&["upload", "--to", "/", text.to_str().unwrap()]);
    owner.run(&["status", "--wait", "/notes.txt"]);
    drop(owner);
    forge(&store, |entry| {
        let content = content(entry);
        content.state = FileState::Failed(EVIL.to_owned());
        content.views = ViewsState::Unreadable(EVIL.to_owned());
    });
    let daemon = daemon_over(&store, &log);
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["status"],
        &["status", "--json"],
        &["status", "/notes.txt"],
        &["status", "/notes.txt", "--json"],
    ] {
        expect_plain(&format!("{arguments:?}"), &daemon.run(arguments));
    }
    expect_plain("/files.json", &get(&daemon, "/files.json").text());
}
