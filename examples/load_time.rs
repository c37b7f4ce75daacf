//! Measures how long a new state takes to load a library of many entries from one manifest.
//! `cargo run --release --example load_time -- [entries]`

use std::sync::Arc;
use std::time::Instant;

use tgfs::index::{Index, Owner};
use tgfs::model::{
    Attributes, Blob, BlobId, Change, Digest, Entry, EntryId, EntryKind, Extent, ExtentSource,
    FileContent, FileState, Ino, LibraryClaim, LibraryId, LogRecord, Name, PackAddress, PackId,
    PackRef, PackSlice, Seq, Timestamp, WriterId, XattrMap,
};
use tgfs::remote::{LibraryMark, LocalRemote, LogEncoder, LogHeader, LogKind, LogObject, Remote};
use tgfs::upkeep::fill::{Patience, attach};

/// Files in each directory.
const FILES: u64 = 30;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let entries: u64 = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 300_000,
    };
    let place = tempfile::tempdir()?;
    let library = LibraryId::random();
    let remote: Arc<dyn Remote> = Arc::new(LocalRemote::open(&place.path().join("store"))?);
    let mark = LibraryMark {
        id: library,
        wrap: None,
    };
    remote.create_library(&mark).await?;
    write(&remote, library, entries).await?;
    let (index, _) = Index::open(&place.path().join("state"), Owner::of_process())?;
    let index = Arc::new(index);
    let begun = Instant::now();
    let patience = Patience::Limited(std::time::Duration::from_secs(3600));
    let report = attach(&index, &remote, LibraryClaim::Continue, patience).await?;
    println!(
        "{} entries in {:.1} s, {} in /lost+found",
        report.fill.entries,
        begun.elapsed().as_secs_f64(),
        report.fill.lost_and_found.len()
    );
    Ok(())
}

/// Writes the manifest, whose records come in the order in which the entries were made.
async fn write(remote: &Arc<dyn Remote>, library: LibraryId, entries: u64) -> anyhow::Result<()> {
    let writer = WriterId::random();
    let header = LogHeader {
        library,
        writer,
        epoch: 0,
        number: 1,
        previous: Digest([0; 32]),
        first: Seq(1),
        last: Seq(entries),
        next_ino: Ino(entries + 10),
        last_seq: Seq(entries),
    };
    let mut encoder = LogEncoder::new(&header)?;
    let (mut directory, mut pack) = (EntryId::ROOT, pack());
    for number in 1..=entries {
        let kind = match number % (FILES + 1) {
            1 => EntryKind::Directory,
            _ => EntryKind::File(Box::new(content(&pack))),
        };
        let is_directory = kind == EntryKind::Directory;
        let entry = Entry {
            id: EntryId::random(),
            parent: if is_directory {
                EntryId::ROOT
            } else {
                directory
            },
            name: Name::new(format!("entry number {number}.mkv"))?,
            ino: Ino(number + 1),
            attributes: attributes(),
            kind,
        };
        if is_directory {
            directory = entry.id;
            pack = self::pack();
        }
        encoder.push(&LogRecord {
            seq: Seq(number),
            change: Change::Put(Box::new(entry)),
        })?;
    }
    let object = LogObject {
        kind: LogKind::Manifest,
        number: 1,
        writer,
    };
    let bytes = encoder.finish()?;
    println!("the manifest has {} bytes", bytes.len());
    remote.append_log(object, bytes).await?;
    Ok(())
}

fn attributes() -> Attributes {
    let time = Timestamp::now();
    Attributes {
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        atime: time,
        mtime: time,
        ctime: time,
        created: time,
        xattrs: XattrMap::new(),
    }
}

fn pack() -> PackRef {
    PackRef {
        id: PackId::random(),
        address: PackAddress::Local,
        data_len: 30_000_000,
        len: 30_010_000,
        table_digest: Digest([7; 32]),
    }
}

fn content(pack: &PackRef) -> FileContent {
    let len = 1_000_000;
    let blob = BlobId::random();
    let mut content = FileContent::empty();
    (content.version, content.size, content.state) = (1, len, FileState::Stored);
    content.extents = vec![Extent {
        source: ExtentSource::Blob(blob),
        offset: 0,
        len,
    }];
    content.blobs = vec![Blob {
        id: blob,
        len,
        digest: Some(Digest([1; 32])),
        slices: vec![PackSlice {
            blob_offset: 0,
            pack_offset: 0,
            len,
            pack: pack.clone(),
        }],
    }];
    content
}
