//! Seeds that are records or messages, made from values: `cargo test --test fuzz -- --ignored write_seeds`.

mod telegram;

use std::path::PathBuf;

use tgfs::codec;
use tgfs::model::*;
use tgfs::remote::{LogHeader, PackInput, SealedPack};

fn keep(target: &str, name: &str, bytes: &[u8]) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(name), bytes).unwrap();
}

fn part(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_le_bytes()[..], bytes].concat()
}

/// Returns schema number and payload of a record, the number counted from `base`.
fn payload<S: codec::Stored>(record: &S, base: u8) -> Vec<u8> {
    let envelope = codec::encode(record).unwrap();
    let mut bytes = vec![envelope[2] - base];
    bytes.extend(&envelope[4..envelope.len() - 4]);
    bytes
}

fn blob(byte: u8, len: u64) -> Blob {
    let pack = PackRef {
        id: PackId::from_bytes([byte; 16]),
        address: PackAddress::Telegram(TelegramAddress {
            channel: ChannelId::new(5),
            message: MessageId::new(6),
            document: 7,
            dc: 2,
        }),
        data_len: len,
        len: len + 100,
        table_digest: Digest([byte; 32]),
    };
    Blob {
        id: BlobId::from_bytes([byte; 16]),
        len,
        digest: Some(Digest([byte; 32])),
        slices: vec![PackSlice {
            blob_offset: 0,
            pack_offset: 0,
            len,
            pack,
        }],
    }
}

fn track(kind: TrackKind, codec: &str) -> Track {
    let segment = |duration, size| SegmentInfo { duration, size };
    Track {
        kind,
        codec: codec.into(),
        timescale: 1000,
        init: vec![1, 2, 3],
        language: "en".into(),
        title: "Stereo".into(),
        default: true,
        peak_bits: 8000,
        average_bits: 4000,
        segments: vec![segment(4000, 3760), segment(3500, 1880)],
        frames: vec![(ByteRange::new(0, 50), 2)],
        transport_sizes: vec![3760, 1880],
        first_pictures: vec![376, 376],
        role: AudioRole::Main,
        captions: Vec::new(),
    }
}

fn views(in_place: Option<InPlace>) -> Views {
    let video = TrackKind::Video {
        width: 640,
        height: 360,
        millihertz: 25_000,
        range: "SDR".into(),
    };
    let audio = TrackKind::Audio {
        channels: 2,
        sample_rate: 48_000,
    };
    let subtitle = Subtitle {
        key: "eng".into(),
        language: "en".into(),
        title: "English".into(),
        default: true,
        forced: false,
        hearing_impaired: true,
        texts: vec![(SubtitleFormat::Srt, ByteRange::new(10, 20))],
        segments: vec![ByteRange::new(30, 5), ByteRange::new(35, 5)],
    };
    Views {
        derived: blob(8, 1000),
        map: ByteRange::new(100, 200),
        map_digest: Digest([9; 32]),
        layout: 1,
        origin_seconds: 10,
        duration_ms: 7500,
        independent_segments: true,
        tracks: vec![track(video, "avc1.640028"), track(audio, "mp4a.40.2")],
        subtitles: vec![subtitle],
        note: Some("it ends early".into()),
        files: vec![DerivedFile {
            path: "thumbnail.jpg".into(),
            purpose: FilePurpose::Picture,
            range: ByteRange::new(40, 50),
        }],
        chapters: Vec::new(),
        in_place,
    }
}

fn record(seq: u64, entry: Entry) -> LogRecord {
    LogRecord {
        seq: Seq(seq),
        change: Change::Put(Box::new(entry)),
    }
}

fn entry(id: u8, parent: EntryId, name: &str, kind: EntryKind) -> Entry {
    let time = Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    };
    Entry {
        id: EntryId::from_bytes([id; 16]),
        parent,
        name: Name::new(name).unwrap(),
        ino: Ino(u64::from(id) + 1),
        attributes: Attributes {
            mode: 0o644,
            uid: 1,
            gid: 1,
            atime: time,
            mtime: time,
            ctime: time,
            created: time,
            xattrs: XattrMap::from([(b"user.a".to_vec(), b"b".to_vec())]),
        },
        kind,
    }
}

fn film(views: ViewsState) -> EntryKind {
    let content = blob(3, 5640);
    EntryKind::File(Box::new(FileContent {
        version: 1,
        size: 5640,
        extents: vec![Extent {
            source: ExtentSource::Blob(content.id),
            offset: 0,
            len: 5640,
        }],
        blobs: vec![content],
        state: FileState::Stored,
        views,
        hidden_sidecars: Vec::new(),
    }))
}

fn records() {
    let place = InPlace {
        offset: 0,
        stride: 188,
        tables: vec![0x47; 376],
        counters: vec![0, 1],
        kept: vec![0x100],
        inside: 2,
        zero: 900_000,
    };
    let mut old = views(None);
    old.files.clear();
    let states = [
        ("old", ViewsState::Ready(Box::new(old))),
        ("files", ViewsState::Ready(Box::new(views(None)))),
        ("in-place", ViewsState::Ready(Box::new(views(Some(place))))),
        ("unreadable", ViewsState::Unreadable("no moov".into())),
    ];
    let directory = EntryId::from_bytes([2; 16]);
    let mut parts = Vec::new();
    let mut put = |record: &LogRecord| parts.extend(part(&payload(record, 1)));
    put(&record(
        1,
        entry(2, EntryId::ROOT, "films", EntryKind::Directory),
    ));
    for (number, (name, state)) in (3..).zip(states) {
        let record = record(
            u64::from(number),
            entry(number, directory, name, film(state)),
        );
        keep("views", name, &payload(&record, 1));
        keep("envelope", name, &[&[0], &payload(&record, 0)[..]].concat());
        put(&record);
    }
    put(&record(
        20,
        entry(
            9,
            EntryId::from_bytes([8; 16]),
            "lost",
            EntryKind::Directory,
        ),
    ));
    put(&LogRecord {
        seq: Seq(21),
        change: Change::Remove {
            id: EntryId::from_bytes([3; 16]),
            released: blob(3, 5640)
                .slices
                .into_iter()
                .map(|slice| slice.pack)
                .collect(),
        },
    });
    keep("log", "usual", &parts);
    keep("replay", "usual", &parts);
    let header = LogHeader {
        library: LibraryId::from_bytes([1; 16]),
        writer: WriterId::from_bytes([2; 16]),
        epoch: 0,
        number: 1,
        previous: Digest([0; 32]),
        first: Seq(1),
        last: Seq(9),
        next_ino: Ino(9),
        last_seq: Seq(9),
    };
    keep(
        "envelope",
        "header",
        &[&[1], &payload(&header, 0)[..]].concat(),
    );
}

fn tables() {
    for (name, cipher) in [
        ("plain", tgfs::remote::Cipher::Plain),
        (
            "encrypted",
            tgfs::remote::Cipher::Keyed(tgfs::remote::MasterKey::random().unwrap()),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        std::fs::write(&path, vec![7; 600_009]).unwrap();
        let input = |offset, len| PackInput {
            path: path.clone(),
            offset,
            len,
        };
        let inputs = vec![input(0, 600_000), input(600_000, 9)];
        let pack = SealedPack::seal(inputs, &cipher).unwrap();
        let envelope = pack.table().encode().unwrap();
        let bytes = [&[envelope[2]], &envelope[4..envelope.len() - 4]].concat();
        keep("table", name, &bytes);
        keep(
            "envelope",
            &format!("table-{name}"),
            &[&[3], &bytes[..]].concat(),
        );
    }
}

fn texts() {
    keep("range", "some", b"bytes=0-99,200-,-5");
    keep(
        "range",
        "large",
        b"Bytes = 18446744073709551615-, 1-18446744073709551616",
    );
    let request = "/playlist/local/0123.m3u8?v=12&code=%41%ff\nHost: films.local:8080\n\
         X-Forwarded-For: 203.0.113.9, 127.0.0.1\nX-Forwarded-Host: a.example\nX-Forwarded-Prefix: /films/\n\
         Range: bytes=0-1\nIf-Range: \"0123\"\nIf-None-Match: W/\"0123\", *\n\
         If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\nCookie: tgfs=a; __Host-tgfs=b\nOrigin: http://[::1]:80";
    keep("request", "usual", request.as_bytes());
    keep("request", "path", b"/fs/a%2fb/%2e%2e/..%00/\xff/c%c3%a9%");
    keep(
        "control",
        "requests",
        br#"{"do":"upload","directory":"/films","name":[255,47],"size":9,"wait":"no"}"#,
    );
    keep(
        "control",
        "delete",
        br#"{"do":"delete","targets":["/a/../b",[46,46],"//"]}"#,
    );
    keep(
        "control",
        "answer",
        br#"{"is":"progress","path":"/a","step":"upload","done":1,"total":2}"#,
    );
    keep("control", "daemon", br#"{"is":"daemon","pid":1,"version":"0.1","mountpoint":"/m\\xE9","http":null,"public":null,"store":"local:/s","state_dir":"/d"}"#);
    let ids = "library=01010101010101010101010101010101 home=5";
    keep(
        "caption",
        "pack",
        format!("tgfs1 pack id=02020202020202020202020202020202 {ids}").as_bytes(),
    );
    keep(
        "caption",
        "library",
        format!("tgfs1 library {ids} key=abcdef01").as_bytes(),
    );
    keep("caption", "log", format!("tgfs1 snapshot number=18446744073709551615 writer=03030303030303030303030303030303 piece=2/3 mark=8 first=7 before=2147483647 manifest=9 {ids}").as_bytes());
}

#[test]
#[ignore = "writes the seeds"]
fn write_seeds() {
    records();
    tables();
    telegram::answers();
    telegram::dialogues();
    texts();
}
