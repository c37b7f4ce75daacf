//! What a store says: records, packs, the log, and what is shown of them.
//!
//! Envelopes have checksums, which a stranger computes as well as we do. The payloads are therefore what is
//! mutated, and each gets its envelope here.

use bytes::Bytes;
use tgfs::codec::{self, Kind, MAGIC};
use tgfs::index::{Index, Owner};
use tgfs::media::hls::tags::{MasterUris, SegmentFormat};
use tgfs::media::hls::view::{ViewBody, ViewNode};
use tgfs::media::hls::{playlist, views};
use tgfs::model::{
    BlockIndex, Change, Digest, EntryId, EntryKind, Ino, LibraryId, LogRecord, Seq, Views,
    ViewsState, WriterId,
};
use tgfs::remote::{Cipher, LogDecoder, LogHeader, MasterKey, PackTable, Wrap};

/// Highest numbers that the header of a made log object allows.
const LAST: u64 = 1 << 20;

/// Puts a payload into an envelope.
pub fn seal(kind: Kind, schema: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![MAGIC, kind as u8];
    bytes.extend(schema.to_le_bytes());
    bytes.extend(payload);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Returns the parts of an input, each behind its length.
pub fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (part, behind) = rest.split_at(len);
        parts.push(part);
        data = behind;
    }
    parts
}

/// Any payload under any kind and schema number.
pub fn envelope(data: &[u8]) {
    let _ = codec::schema_of(data);
    let Some(([kind, schema], payload)) = data.split_first_chunk() else {
        return;
    };
    let kind = [
        Kind::LogRecord,
        Kind::ManifestHeader,
        Kind::KeyWrap,
        Kind::PackTable,
    ][usize::from(*kind) % 4];
    let envelope = seal(kind, u16::from(*schema) % 5, payload);
    assert!(codec::check(&envelope).is_ok());
    if let Ok(record) = codec::decode::<LogRecord>(&envelope) {
        let again = codec::encode(&record).map(|bytes| codec::decode::<LogRecord>(&bytes));
        assert_eq!(again, Ok(Ok(record)));
    }
    let _ = codec::decode::<LogHeader>(&envelope);
    let _ = Wrap::decode(&envelope).map(|wrap| wrap.plain_until());
    let mut short = &envelope[..envelope.len() - 1];
    assert!(codec::check(short).is_err());
    let _ = codec::read_frame(&mut short);
}

/// Table of a pack, plain or encrypted.
pub fn table(data: &[u8]) {
    let Some((schema, payload)) = data.split_first() else {
        return;
    };
    let envelope = seal(Kind::PackTable, u16::from(*schema) % 4, payload);
    let Ok(table) = PackTable::decode(&envelope) else {
        return;
    };
    let count = table.block_count();
    for block in [0, 1, count.wrapping_sub(1), count, u32::MAX].map(BlockIndex) {
        let range = table.block_range(block);
        assert_eq!(range.is_some(), block.0 < count);
        assert!(range.is_none_or(|range| range.len > 0 && range.end() <= table.data_len()));
        for cipher in [
            Some(Cipher::Plain),
            MasterKey::random().ok().map(Cipher::Keyed),
        ] {
            let Some(cipher) = cipher else { continue };
            let bytes = Bytes::copy_from_slice(payload);
            let _ = table.open_block(block, bytes.clone(), &cipher);
            let _ = table.stored_block(block, bytes, &cipher);
        }
    }
    let again = table.encode().map(|bytes| PackTable::decode(&bytes));
    assert_eq!(again, Ok(Ok(table)));
}

fn header() -> LogHeader {
    LogHeader {
        library: LibraryId::from_bytes([1; 16]),
        writer: WriterId::from_bytes([2; 16]),
        epoch: 0,
        number: 1,
        previous: Digest([0; 32]),
        first: Seq(1),
        last: Seq(LAST),
        next_ino: Ino(LAST),
        last_seq: Seq(LAST),
    }
}

/// Returns the log object whose records have these payloads; the first byte of each is its schema number.
fn log_object(data: &[u8]) -> Option<Vec<u8>> {
    let mut frames = Vec::new();
    codec::write_frame(&header(), &mut frames).ok()?;
    let mut put = |envelope: Vec<u8>| {
        frames.extend(u32::try_from(envelope.len()).unwrap_or(0).to_le_bytes());
        frames.extend(envelope);
    };
    let parts = parts(data);
    for part in &parts {
        let (schema, payload) = part.split_first().unwrap_or((&1, &[]));
        put(seal(Kind::LogRecord, 1 + u16::from(*schema) % 4, payload));
    }
    put(seal(Kind::LogEnd, 1, &(parts.len() as u64).to_le_bytes()));
    zstd::bulk::compress(&frames, 1).ok()
}

/// Returns the sound records of a log object.
fn records_of(object: &[u8]) -> Option<Vec<LogRecord>> {
    let mut decoder = LogDecoder::new(object).ok()?;
    let mut records = Vec::new();
    while let Ok(Some(record)) = decoder.next_record() {
        assert!(record.seq <= decoder.header().last_seq);
        records.push(record);
    }
    Some(records)
}

/// An object of the log.
pub fn log(data: &[u8]) {
    let _ = records_of(data);
    let Some(object) = log_object(data) else {
        return;
    };
    let mut decoder = LogDecoder::new(&object).ok();
    let mut count = 0;
    while let Some(decoder) = &mut decoder {
        match decoder.next_record() {
            Ok(Some(_)) => count += 1,
            // Each record is read or passed over; no damage hides the others.
            Ok(None) => {
                let passed_over = decoder.passed_over().records;
                assert_eq!(count + passed_over, parts(data).len() as u64);
                break;
            }
            Err(_) => break,
        }
    }
}

/// An object of the log, all the way into an index.
pub fn replay(data: &[u8]) {
    let Some(records) = log_object(data).and_then(|object| records_of(&object)) else {
        return;
    };
    let Ok(state) = tempfile::tempdir() else {
        return;
    };
    let owner = Owner { uid: 0, gid: 0 };
    let Ok((index, _)) = Index::open(state.path(), owner) else {
        return;
    };
    assert!(index.begin_fill().is_ok());
    assert!(index.fill(&records).is_ok());
    let head = index.log_head();
    assert!(index.finish_fill(head, Seq(LAST), Ino(LAST)).is_ok());
    // The tree is one: each entry is reached from the root once, and none has a parent that is no directory.
    let mut seen = std::collections::HashSet::new();
    let mut ahead = vec![EntryId::ROOT];
    while let Some(id) = ahead.pop() {
        assert!(seen.insert(id), "{id} is reached twice");
        let mut after = Ino(0);
        loop {
            let Ok(children) = index.children(id, after, 100) else {
                panic!("the children of {id} cannot be listed");
            };
            let Some(last) = children.last() else { break };
            after = last.ino;
            ahead.extend(children.iter().map(|child| child.id));
        }
    }
    assert!(seen.len() <= records.len() * 2 + 2);
}

/// Views of a film, as a record says them, and the playlists that they give.
pub fn shown(data: &[u8]) {
    let Some((schema, payload)) = data.split_first() else {
        return;
    };
    let envelope = seal(Kind::LogRecord, 1 + u16::from(*schema) % 4, payload);
    let Ok(record) = codec::decode::<LogRecord>(&envelope) else {
        return;
    };
    if record.check(Seq(u64::MAX), Ino(u64::MAX)).is_err() {
        return;
    }
    if let Change::Put(entry) = record.change
        && let EntryKind::File(content) = entry.kind
        && let ViewsState::Ready(views) = content.views
    {
        check_views(&views);
    }
}

fn check_views(film: &Views) {
    for format in [SegmentFormat::Fmp4, SegmentFormat::MpegTs] {
        if format.is_offered(film) {
            let master = playlist::master(film, format, &MasterUris::default());
            check_playlist(&master);
            let parsed = hls_m3u8::MasterPlaylist::try_from(master.as_str());
            assert!(parsed.is_ok(), "{:?}\n{master}", parsed.err());
            for size in master.split("RESOLUTION=").skip(1) {
                let size = size.split(',').next().unwrap_or_default();
                assert!(!size.starts_with("0x") && !size.ends_with("x0"), "{master}");
            }
        }
    }
    for directory in ["", "ts", "video", "audio-1", "sub-1", "ts/video"] {
        for entry in views::entries(film, directory).unwrap_or_default() {
            let path = format!("{directory}/{}", entry.name);
            let Some(ViewNode::File(file)) = views::find(film, &path) else {
                continue;
            };
            match file.body {
                ViewBody::Inline(text) if path.ends_with(".m3u8") => {
                    assert_eq!(file.size, text.len() as u64);
                    check_media(&String::from_utf8_lossy(&text), &path);
                }
                ViewBody::Mapped(at) | ViewBody::Transport(at) => {
                    let _ = views::assemble(film, at.track, at.segment, &[]);
                    let _ = views::transport(film, at.track, at.segment, &[]);
                }
                _ => {}
            }
        }
    }
}

fn check_media(text: &str, path: &str) {
    check_playlist(text);
    if path.ends_with("master.m3u8") {
        return;
    }
    // A film without segments has a playlist without any, which the parser refuses.
    if text.contains("#EXTINF") {
        let parsed = hls_m3u8::MediaPlaylist::try_from(text);
        assert!(parsed.is_ok(), "{path}: {:?}\n{text}", parsed.err());
    }
}

/// Every line is a tag or a URI, and no text of a record made one.
fn check_playlist(text: &str) {
    assert!(text.starts_with("#EXTM3U\n"));
    for line in text.lines() {
        let is_tag = line.starts_with("#EXT");
        let is_uri = [".m3u8", ".m4s", ".ts", ".vtt", ".mp4"];
        let is_uri = is_uri.iter().any(|end| line.ends_with(end)) && !line.contains(' ');
        assert!(is_tag || is_uri, "{line}");
        assert_eq!(line.matches('"').count() % 2, 0, "{line}");
    }
    let again = tgfs::http::untrusted::rewritten(text);
    assert_eq!(again.lines().count(), text.lines().count());
}
