//! Stored bytes never change within a version: a change here needs a new schema number and a
//! conversion from the old one, not a new expectation.

use super::*;
use crate::codec::{Stored, decode, encode};
use crate::index::record::*;
use crate::model::stored::{AttributesV1, PackRefV1, StoredForm as _};
use crate::model::{
    AdoptedAddress, AudioRole, ByteRange, CaptionChannel, Chapter, DerivedFile, FilePurpose,
    InPlace, LogRecord, SegmentInfo, Subtitle, SubtitleFormat, SubtitleTexts, TelegramAddress,
    Track, TrackKind, Views,
};

fn id(byte: u8) -> EntryId {
    EntryId::from_bytes([byte; 16])
}
fn sample_pack() -> PackRef {
    PackRef {
        id: PackId::from_bytes([4; 16]),
        address: PackAddress::Local,
        data_len: 5,
        len: 100,
        table_digest: Digest([6; 32]),
    }
}
fn sample_content() -> FileContent {
    let blob = BlobId::from_bytes([3; 16]);
    FileContent {
        version: 2,
        size: 9,
        extents: vec![
            Extent {
                source: ExtentSource::Blob(blob),
                offset: 0,
                len: 5,
            },
            Extent {
                source: ExtentSource::Zeros,
                offset: 0,
                len: 4,
            },
        ],
        blobs: vec![Blob {
            id: blob,
            len: 5,
            digest: Some(Digest([8; 32])),
            slices: vec![PackSlice {
                blob_offset: 0,
                pack_offset: 0,
                len: 5,
                pack: sample_pack(),
            }],
        }],
        state: FileState::Failed("why".into()),
        views: ViewsState::Unsupported("codec".into()),
        hidden_sidecars: vec![Name::new("a.srt").unwrap()],
    }
}
/// Returns views as the first release writes them.
fn sample_views() -> Views {
    Views {
        derived: Blob {
            id: BlobId::from_bytes([5; 16]),
            len: 90,
            digest: None,
            slices: Vec::new(),
        },
        map: ByteRange::new(40, 50),
        map_digest: Digest([7; 32]),
        layout: 1,
        origin_seconds: 10,
        duration_ms: 6500,
        independent_segments: true,
        tracks: vec![Track {
            kind: TrackKind::Video {
                width: 640,
                height: 360,
                millihertz: 24_000,
                range: "SDR".into(),
            },
            codec: "avc1.64001e".into(),
            timescale: 12_288,
            init: vec![1, 2, 3],
            language: "en".into(),
            title: "t".into(),
            default: true,
            peak_bits: 9,
            average_bits: 8,
            segments: vec![SegmentInfo {
                duration: 79_872,
                size: 1000,
            }],
            frames: vec![(ByteRange::new(8, 42), 1)],
            transport_sizes: Vec::new(),
            first_pictures: Vec::new(),
            role: AudioRole::Main,
            captions: Vec::new(),
        }],
        subtitles: vec![Subtitle {
            key: "eng".into(),
            language: "en".into(),
            title: String::new(),
            default: false,
            forced: true,
            hearing_impaired: false,
            texts: vec![(SubtitleFormat::Ass, ByteRange::new(0, 30))],
            segments: vec![ByteRange::new(30, 10)],
        }],
        note: Some("n".into()),
        files: Vec::new(),
        chapters: Vec::new(),
        in_place: None,
    }
}
/// Returns views with chapters, which the newest form holds.
fn chaptered_views() -> Views {
    Views {
        chapters: vec![
            Chapter {
                start_ms: 0,
                end_ms: 2500,
                title: "One".into(),
            },
            Chapter {
                start_ms: 2500,
                end_ms: 6500,
                title: String::new(),
            },
        ],
        ..sample_views()
    }
}
fn with_views(views: Views) -> FileContent {
    FileContent {
        views: ViewsState::Ready(Box::new(views)),
        ..sample_content()
    }
}
fn sample_entry() -> Entry {
    let mut attributes = attributes();
    attributes.xattrs.insert(b"user.a".to_vec(), b"b".to_vec());
    Entry {
        id: id(1),
        parent: id(2),
        name: Name::new("film").unwrap(),
        ino: Ino(77),
        attributes,
        kind: EntryKind::File(Box::new(sample_content())),
    }
}

/// Whoever may write to a store without a passphrase writes the records. Their strings stand in playlists.
#[test]
fn hostile_strings_and_modes_are_harmless_once_they_are_read() {
    const HOSTILE: &str = "avc1\"\n#EXT-X-MEDIA:URI=\"http://evil/\u{202e}\u{1b}[2J";
    let hostile = || HOSTILE.to_owned();
    let mut views = sample_views();
    let track = &mut views.tracks[0];
    (track.codec, track.language, track.title) = (hostile(), hostile(), hostile());
    let subtitle = &mut views.subtitles[0];
    (subtitle.key, subtitle.language, subtitle.title) = (hostile(), hostile(), hostile());
    views.chapters = vec![Chapter {
        start_ms: 0,
        end_ms: 1,
        title: hostile().replace('"', ""),
    }];
    views.note = Some(hostile().replace('"', ""));
    views.files = vec![DerivedFile {
        path: format!("fonts/{HOSTILE}"),
        purpose: FilePurpose::Font,
        range: ByteRange::new(0, 9),
    }];
    let mut entry = sample_entry();
    entry.kind = EntryKind::File(Box::new(with_views(views)));
    entry.attributes.mode = 0o170_644;
    entry.attributes.xattrs.insert(Vec::new(), b"b".to_vec());
    let record = LogRecord {
        seq: Seq(1),
        change: Change::Put(Box::new(entry)),
    };
    let read: LogRecord = decode(&encode(&record).unwrap()).unwrap();
    let shown = format!("{read:?}");
    for harm in ["\\n", "\\\"", "\\u{1b}", "\\u{202e}"] {
        assert!(!shown.contains(harm), "{harm}: {shown}");
    }
    let Change::Put(entry) = read.change else {
        panic!("{shown}");
    };
    assert_eq!(entry.attributes.mode, 0o644);
    assert_eq!(entry.attributes.xattrs.len(), 1);
}

fn identity() -> IdentityV1 {
    IdentityV1 {
        library: LibraryId::from_bytes([9; 16]),
        store: "local:/x".into(),
    }
}

fn check<S: Stored + PartialEq + std::fmt::Debug>(record: &S, expected: &str) {
    let bytes = encode(record).unwrap();
    assert_eq!(&decode::<S>(&bytes).unwrap(), record);
    let digest = Digest::of(&bytes).to_string();
    assert_eq!(
        &digest[..16],
        expected,
        "{record:?} in {} bytes",
        bytes.len()
    );
}

#[test]
fn rows_keep_their_bytes() {
    let node = |kind| NodeV1 {
        seq: Seq(1),
        parent: id(2),
        name: Name::new("film").unwrap(),
        ino: Ino(77),
        attributes: AttributesV1::of(&attributes()),
        kind,
    };
    check(&node(NodeKindV1::Directory), "e686412cbbcc18ef");
    check(&node(NodeKindV1::File { size: 9 }), "523b7dfbc1616c7d");
    check(&sample_content(), "9904e13a7e4ceb77");
    let child = |kind| ChildV1 {
        id: id(1),
        ino: Ino(77),
        name: Name::new("film").unwrap(),
        kind,
    };
    check(&child(ChildKindV1::Directory), "4ed3d1576c3b3cc1");
    check(&child(ChildKindV1::File), "8ec58c8ea154fb16");
    check(&InodeV1(id(1)), "a34b034bc5aae742");
    check(&ReferenceV1, "939a4f9a8e6f1de6");
    let since = attributes().mtime;
    let dying = DyingV1 {
        pack: PackRefV1::of(&sample_pack()),
        since,
        owner: id(1),
        seq: Seq(3),
    };
    check(&dying, "1fefc84655cbe056");
    let place = |message| TelegramAddress {
        channel: crate::model::ChannelId::new(1 << 40),
        message: crate::model::MessageId::new(message),
        document: -7,
        dc: 4,
    };
    let at = |address| DyingV1 {
        pack: PackRefV1::of(&PackRef {
            address,
            ..sample_pack()
        }),
        ..dying.clone()
    };
    check(&at(PackAddress::Telegram(place(5))), "51be05577763fb77");
    let adopted = AdoptedAddress {
        document: place(6),
        table: place(7),
    };
    check(&at(PackAddress::Adopted(adopted)), "9ee793ab3db96f63");
    let dirty = |tombstone| DirtyV1 {
        seq: Seq(3),
        since,
        tombstone,
    };
    check(&dirty(None), "149b855888a26cd4");
    let tombstone = TombstoneV1 {
        released: vec![PackRefV1::of(&sample_pack())],
        after: vec![id(5)],
    };
    check(&dirty(Some(tombstone)), "ea0ac2966ea9482e");
    let meta = MetaV1 {
        identity: identity(),
        last_seq: Seq(3),
        next_ino: Ino(78),
        sum: 12,
        fill: FillV1::Needed,
        log: LogHeadV1 {
            number: 2,
            digest: [1; 32],
            epoch: 1,
        },
    };
    check(&meta, "cb8f0e12b3232765");
    check(&RowV1(b"row".to_vec()), "19aa27a7dd92bb7e");
}

#[test]
fn views_keep_their_bytes() {
    check(&with_views(sample_views()), "a98a030445988943");
    let mut views = sample_views();
    views.tracks[0].transport_sizes = vec![1128];
    views.tracks[0].first_pictures = vec![700];
    views.files = vec![DerivedFile {
        path: "fonts/a.ttf".into(),
        purpose: FilePurpose::Font,
        range: ByteRange::new(1, 2),
    }];
    let content = with_views(views);
    check(&content.clone(), "4926dcd3165cf61f");
    let entry = Entry {
        kind: EntryKind::File(Box::new(content)),
        ..sample_entry()
    };
    let change = Change::Put(Box::new(entry));
    let log = LogRecord {
        seq: Seq(3),
        change: change.clone(),
    };
    check(&log, "1c085189d34bd931");
    let record = JournalRecord {
        seq: Seq(3),
        next_ino: Ino(78),
        changes: vec![change].into(),
    };
    check(&record, "a6e2d3909e51ade0");
    // A release that only knows schema 1 reports the newer schema, and does not call it damage.
    let schemas = [encode(&log).unwrap()[2], encode(&record).unwrap()[2]];
    assert_eq!(schemas, [2, 2]);
}

#[test]
fn chapters_keep_their_bytes() {
    let content = with_views(chaptered_views());
    check(&content, "f1f5fe386230e64b");
    assert_eq!(encode(&content).unwrap()[2], 5);
}

/// A store may hold chapters that no film has. The others stay.
#[test]
fn impossible_chapters_are_left_out() {
    let mut views = chaptered_views();
    let before = views.chapters[0].clone();
    views.chapters.insert(1, before);
    views.chapters[2].end_ms = 1;
    let read: FileContent = decode(&encode(&with_views(views)).unwrap()).unwrap();
    let ViewsState::Ready(read) = read.views else {
        panic!("{read:?}");
    };
    assert_eq!(read.chapters, chaptered_views().chapters[..1]);
}

#[test]
fn purposes_and_captions_keep_their_bytes() {
    let mut views = sample_views();
    views.tracks[0].captions = vec![CaptionChannel::Channel(1), CaptionChannel::Service(6)];
    let mut commentary = views.tracks[0].clone();
    (commentary.role, commentary.captions) = (AudioRole::Commentary, Vec::new());
    views.tracks.push(commentary);
    let content = with_views(views);
    check(&content, "45f005b6a2182556");
    assert_eq!(encode(&content).unwrap()[2], 4);
}

#[test]
fn segments_in_place_keep_their_bytes() {
    let mut views = sample_views();
    views.in_place = Some(InPlace {
        offset: 188,
        stride: 188,
        tables: vec![0x47, 1, 2],
        counters: vec![0x21],
        kept: vec![0x100],
        inside: 1,
        zero: 126_000,
    });
    let content = with_views(views);
    check(&content, "f3626b9278cd23c8");
    assert_eq!(encode(&content).unwrap()[2], 3);
}

#[test]
fn texts_of_a_subtitle_file_keep_their_bytes() {
    let content = FileContent {
        views: ViewsState::Subtitles(Box::new(SubtitleTexts {
            derived: sample_views().derived,
            texts: vec![
                (SubtitleFormat::Vtt, ByteRange::new(0, 50)),
                (SubtitleFormat::Srt, ByteRange::new(50, 40)),
            ],
            encoding: "windows-1252".into(),
            cues: 3,
            note: Some("n".into()),
        })),
        ..sample_content()
    };
    check(&content.clone(), "e8e64e060b4f21d1");
    let entry = Entry {
        kind: EntryKind::File(Box::new(content)),
        ..sample_entry()
    };
    let log = LogRecord {
        seq: Seq(3),
        change: Change::Put(Box::new(entry)),
    };
    check(&log, "06bb84167e85bf75");
    assert_eq!(encode(&log).unwrap()[2], 3);
}

#[test]
fn journal_and_log_records_keep_their_bytes() {
    let header = JournalHeaderV1 {
        number: 1,
        base: Seq(2),
        identity: identity(),
    };
    check(&header, "438868132a87cce2");
    let changes = vec![
        Change::Remove {
            id: id(5),
            released: vec![sample_pack()],
        },
        Change::Put(Box::new(sample_entry())),
    ];
    let log = |change: &Change| LogRecord {
        seq: Seq(3),
        change: change.clone(),
    };
    check(&log(&changes[0]), "6dd423d6aaea6fa2");
    check(&log(&changes[1]), "19ce2b8d02451bb2");
    let record = JournalRecord {
        seq: Seq(3),
        next_ino: Ino(78),
        changes: changes.into(),
    };
    check(&record, "605582d65b57a8cd");
}

#[test]
fn the_address_of_a_post_keeps_its_bytes() {
    let address = TelegramAddress {
        channel: crate::model::ChannelId::new(1_234_567_890),
        message: crate::model::MessageId::new(5),
        document: -6,
        dc: 4,
    };
    let record = LogRecord {
        seq: Seq(3),
        change: Change::Remove {
            id: id(5),
            released: vec![PackRef {
                address: PackAddress::Telegram(address),
                ..sample_pack()
            }],
        },
    };
    check(&record, "bce6994c2fa2aa8f");
}
