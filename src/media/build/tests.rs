//! Tests with a scripted tool, for cases that no real test film shows.

use std::io::Cursor;
use std::sync::Mutex;

use crate::media::hls::view::{MappedSegment, Piece, ViewBody, ViewNode};
use crate::media::hls::views;
use crate::media::map;
use crate::media::mp4::boxes;
use crate::media::mp4::fragments::Sample;
use crate::media::mp4::segment_header;
use crate::media::tool::ToolOutput;
use crate::media::tool::exit::Complaint;
use crate::media::tool::task::Task;
use crate::process::{CancelFlag, Exit};

use super::*;

const KEY: u32 = 0x0200_0000;
const DELTA: u32 = 0x0101_0000;
const TIMESCALE: u32 = 1000;

/// Tool that answers each task with prepared bytes.
#[derive(Debug)]
struct Scripted {
    stream: Vec<u8>,
    exit: Exit,
    tasks: Mutex<Vec<Task>>,
}

struct Answer(Cursor<Vec<u8>>, Exit);

impl std::io::Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl ToolOutput for Answer {
    fn finish(self: Box<Self>) -> Result<Exit, MediaError> {
        Ok(self.1)
    }
}

impl MediaTool for Scripted {
    fn start(
        &self,
        _source: &Path,
        _container: Container,
        task: &Task,
        _cancel: &CancelFlag,
    ) -> Result<Box<dyn ToolOutput>, MediaError> {
        self.tasks.lock().unwrap().push(task.clone());
        let probe =
            br#"{"streams":[{"index":0,"codec_type":"video","codec_name":"h264"}],"format":{}}"#;
        let ended = |code| Exit {
            code: Some(code),
            signal: None,
            stderr: String::new(),
        };
        Ok(Box::new(match task {
            Task::Probe => Answer(Cursor::new(probe.to_vec()), ended(0)),
            _ => Answer(Cursor::new(self.stream.clone()), self.exit.clone()),
        }))
    }
}

fn words(list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Writes a movie of one H.264 track whose edit list starts at `media_time`.
fn movie(media_time: u32) -> Vec<u8> {
    let avcc = boxes::write(b"avcC", &[&[1, 0x64, 0, 0x1e, 0xff, 0xe0, 0]]);
    let mut visual = vec![0; 78];
    visual[24..28].copy_from_slice(&[2, 128, 1, 104]);
    let stsd = boxes::write(
        b"stsd",
        &[&words(&[0, 1]), &boxes::write(b"avc1", &[&visual, &avcc])],
    );
    let minf = boxes::write(b"minf", &[&boxes::write(b"stbl", &[&stsd])]);
    let mdhd = boxes::write(b"mdhd", &[&words(&[0, 0, 0, TIMESCALE, 0, 0])]);
    let hdlr = boxes::write(b"hdlr", &[&words(&[0, 0]), b"vide", &[0; 13]]);
    let mdia = boxes::write(b"mdia", &[&mdhd, &hdlr, &minf]);
    let tkhd = boxes::write(b"tkhd", &[&words(&[3, 0, 0, 1]), &[0; 64]]);
    let elst = boxes::write(b"elst", &[&words(&[0, 1, 0, media_time, 1 << 16])]);
    let trak = boxes::write(b"trak", &[&tkhd, &boxes::write(b"edts", &[&elst]), &mdia]);
    let mvhd = boxes::write(b"mvhd", &[&words(&[0, 0, 0, 90_000, 0]), &[0; 80]]);
    let trex = boxes::write(b"trex", &[&words(&[0, 1, 1, 0, 0, 0])]);
    boxes::write(b"moov", &[&mvhd, &trak, &boxes::write(b"mvex", &[&trex])])
}

fn sample(size: u32, composition: i32, flags: u32) -> Sample {
    Sample {
        size,
        duration: 40,
        composition,
        flags,
    }
}

/// Writes an IDR picture or another one, of the sample's size.
fn picture(sample: Sample, number: u8) -> Vec<u8> {
    let mut data = (sample.size - 4).to_be_bytes().to_vec();
    data.push(if sample.is_key() { 0x65 } else { 0x41 });
    data.resize(sample.size as usize, number);
    data
}

fn run(stream: Vec<u8>, source: &[u8], exit: i32) -> (tempfile::TempDir, BuildOutcome) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source");
    std::fs::write(&path, source).unwrap();
    let exit = Exit {
        code: Some(exit),
        signal: None,
        stderr: "it broke".to_owned(),
    };
    let tool: Arc<dyn MediaTool> = Arc::new(Scripted {
        stream,
        exit,
        tasks: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let derived = directory.path().join("derived");
    let request = BuildRequest {
        tool: &tool,
        source: &path,
        derived: &derived,
        policy: &CutPolicy::default(),
        compat: Compat::Off,
    };
    let outcome = runtime.block_on(build_views(request, &|_| {})).unwrap();
    (directory, outcome)
}

/// Makes two fragments with a second missing between them, negative offsets, and 25 s of pre-roll.
fn film() -> (Vec<u8>, Vec<u8>) {
    let first = [
        sample(100, 0, KEY),
        sample(50, -40, DELTA),
        sample(60, 40, DELTA),
    ];
    let second = [sample(90, 0, KEY), sample(40, 0, DELTA)];
    let mut stream = movie(25_000);
    let mut source = vec![0x1a, 0x45, 0xdf, 0xa3];
    for (number, (samples, time)) in [(&first[..], 0_u64), (&second[..], 1120)]
        .into_iter()
        .enumerate()
    {
        stream.extend(segment_header::write(samples, time, 1));
        for (index, sample) in (0_u8..).zip(samples) {
            let data = picture(*sample, index + 10 * u8::try_from(number).unwrap());
            stream.extend(&data);
            source.extend([9, 9, 9]);
            source.extend(data);
        }
    }
    (stream, source)
}

#[test]
fn times_are_never_negative_and_holes_stay() {
    let (stream, source) = film();
    let (directory, outcome) = run(stream, &source, 0);
    let BuildOutcome::Ready(views, _) = outcome else {
        panic!("{outcome:?}");
    };
    // 25 s of pre-roll and 40 ms of negative offsets do not fit into the usual 10 s.
    assert_eq!(views.origin_seconds, 26);
    let derived = std::fs::read(directory.path().join("derived")).unwrap();
    let ViewNode::File(file) = views::find(&views, "video/00001.m4s").unwrap() else {
        panic!("a directory");
    };
    let ViewBody::Mapped(MappedSegment { frame, .. }) = file.body else {
        panic!("{:?}", file.body);
    };
    let range = usize::try_from(frame.offset).unwrap()..usize::try_from(frame.end()).unwrap();
    let pieces = views::assemble(&views, 0, 0, &derived[range.clone()]).unwrap();
    assert_eq!(
        pieces.len(),
        1 + 5,
        "five pictures, none beside another: {pieces:?}"
    );
    assert!(matches!(pieces[1], Piece::Content(range) if range.offset == 7 && range.len == 100));
    let segment = map::decode_segment(&derived[range], 0).unwrap();
    let offsets: Vec<i32> = segment
        .samples
        .iter()
        .map(|sample| sample.composition)
        .collect();
    assert_eq!(offsets, [40, 0, 80, 40, 40]);
    assert_eq!(segment.decode_time, 26_000 - 25_000 - 40);
    assert_eq!(
        segment.samples[2].duration, 1040,
        "the picture before the hole lasts until its end"
    );
    assert_eq!(views.tracks[0].codec, "avc1.64001e");
}

#[test]
fn a_failed_pass_leaves_nothing() {
    let (stream, source) = film();
    let (directory, outcome) = run(stream.clone(), &source, 1);
    assert_eq!(
        outcome,
        BuildOutcome::Unreadable(UnreadableReason::Complaint(Complaint::Other(
            "it broke".to_owned()
        )))
    );
    assert!(!directory.path().join("derived").exists());
    // A stream cut anywhere, with a status of success, gives an error or a shorter film, and no panic.
    for cut in (0..stream.len()).step_by(7) {
        let mut head = stream.clone();
        head.truncate(cut);
        let tool: Arc<dyn MediaTool> = Arc::new(Scripted {
            stream: head,
            exit: Exit {
                code: Some(0),
                signal: None,
                stderr: String::new(),
            },
            tasks: Mutex::default(),
        });
        let path = directory.path().join("source");
        let context = BuildContext {
            tool,
            source: path,
            derived: directory.path().join("derived"),
            policy: CutPolicy::default(),
            compat: Compat::Off,
            cancel: CancelFlag::default(),
        };
        if let Err(error) = super::run(&context, &|_| {}) {
            assert!(!error.is_retryable(), "{cut}: {error}");
            assert!(!context.derived.exists());
        }
    }
}

#[test]
fn bytes_that_are_not_in_the_file_are_stored() {
    let (stream, _) = film();
    let (_keep, outcome) = run(
        stream,
        &[&[0x1a, 0x45, 0xdf, 0xa3][..], &[0xee; 500]].concat(),
        0,
    );
    let BuildOutcome::Ready(views, _) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        views.map.offset >= 100 + 50 + 60 + 90 + 40,
        "all samples lie before the map"
    );
}
