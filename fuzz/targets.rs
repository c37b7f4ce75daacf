//! The fuzz targets: one function each, which takes any bytes and panics if a promise is broken. cargo-fuzz
//! runs them under libFuzzer (`fuzz_targets/`), `tests/fuzz` on the stable toolchain.
//!
//! A new target is one function here, its line in [`TARGETS`], its file in `fuzz_targets/`, its entry in
//! `fuzz/Cargo.toml` and a directory of seeds in `corpus/`. The ignored test `write_seeds` of `tests/fuzz` makes
//! the seeds that are records.

#[path = "targets/network.rs"]
mod network;
#[path = "targets/stored.rs"]
pub mod stored;

use std::fs::File;
use std::io::Write as _;

use tgfs::codec;

use tgfs::config::dotenv as dotenv_file;
use tgfs::media::error::MediaError;
use tgfs::media::in_place::scan;
use tgfs::media::inspect::opening::opening_ranges;
use tgfs::media::inspect::sniff as sniffing;
use tgfs::media::map as sample_map;
use tgfs::media::mp4::boxes;
use tgfs::media::mp4::fragments::{self as fragment_reader, Movie, Sample, Sink};
use tgfs::media::mp4::init;
use tgfs::media::subtitles::{ReadingWork, SubtitleDocument, SubtitleError};
use tgfs::model::LogRecord;
use tgfs::process::CancelFlag;

/// A target, with the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("answers", network::answers),
    ("caption", network::caption),
    ("control", network::control),
    ("dialogue", network::dialogue),
    ("dotenv", dotenv),
    ("envelope", stored::envelope),
    ("fragments", fragments),
    ("log", stored::log),
    ("map", map),
    ("opening", opening),
    ("range", network::range),
    ("records", records),
    ("replay", stored::replay),
    ("request", network::request),
    ("sniff", sniff),
    ("subtitles", subtitles),
    ("table", stored::table),
    ("transport", transport),
    ("views", stored::shown),
];

/// Runs the target called `name`, for libFuzzer.
#[allow(dead_code)]
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = found else {
        panic!("there is no target {name}");
    };
    target(data);
}

/// The container of a file that a user copied in.
pub fn sniff(data: &[u8]) {
    let _ = sniffing::sniff(data);
}

/// Counts what a stream of fragments hands on.
#[derive(Default)]
struct Counting {
    tracks: usize,
    bytes: usize,
}

impl Sink for Counting {
    fn movie(&mut self, movie: Movie) -> Result<(), MediaError> {
        for track in &movie.tracks {
            let _ = init::describe(track);
            let _ = init::write(&movie, track, 0);
        }
        self.tracks = movie.tracks.len();
        Ok(())
    }
    fn fragment(&mut self, track: usize, _: u64) -> Result<(), MediaError> {
        assert!(track < self.tracks);
        Ok(())
    }
    fn sample(&mut self, _: usize, sample: Sample, data: &[u8]) -> Result<(), MediaError> {
        assert_eq!(sample.size as usize, data.len());
        self.bytes += data.len();
        Ok(())
    }
}

/// What a media tool that was taken over could write into its pipe.
pub fn fragments(data: &[u8]) {
    let mut sink = Counting::default();
    let mut input = data;
    let _ = fragment_reader::read(&mut input, &mut sink);
    assert!(sink.bytes <= data.len());
    for found in boxes::iterate(data) {
        assert!(found.body.len() < found.whole.len());
    }
}

fn file_of(data: &[u8]) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(data)?;
    Ok(file)
}

/// Tables of a film, in a file that is larger than they say or smaller.
pub fn opening(data: &[u8]) {
    let Ok(file) = file_of(data) else { return };
    let len = data.len() as u64;
    for len in [len, len + (100 << 20)] {
        if file.set_len(len).is_err() {
            return;
        }
        let Ok(ranges) = opening_ranges(&file, len) else {
            continue;
        };
        assert!(
            ranges
                .iter()
                .all(|range| range.len > 0 && range.end() <= len)
        );
        assert!(ranges.windows(2).all(|two| two[0].end() < two[1].offset));
    }
}

/// A transport stream. Its video has the first stream that a table names, or one of the usual numbers.
pub fn transport(data: &[u8]) {
    let Ok(file) = file_of(data) else { return };
    for video in [0x100, 0x101, 0x1011] {
        let scanned = scan::scan(&file, video, &CancelFlag::default(), &|_| {});
        let Ok(attempt) = scanned else { continue };
        if let tgfs::media::attempt::Attempt::Made(found) = attempt {
            assert!(!found.keys.is_empty());
            assert!(
                found
                    .keys
                    .windows(2)
                    .all(|two| two[0].offset < two[1].offset)
            );
            assert!(found.end <= data.len() as u64);
        }
    }
}

/// A subtitle file of any form. Reading takes steps in proportion to its length, and what is written is
/// read again with as many cues.
pub fn subtitles(data: &[u8]) {
    let mut work = ReadingWork::new(data.len(), CancelFlag::default());
    let document = match SubtitleDocument::sniff(data, "en", &mut work) {
        Ok(document) => document,
        Err(error) => {
            assert_ne!(error, SubtitleError::TooSlow);
            return;
        }
    };
    let _ = document.to_srt(&mut work);
    let text = document.to_vtt();
    let mut work = ReadingWork::new(text.len(), CancelFlag::default());
    let again = SubtitleDocument::sniff(text.as_bytes(), "en", &mut work);
    let count = again.map(|again| again.cues().len());
    assert_eq!(count, Ok(document.cues().len()), "{text}");
}

/// The settings' file. Every line is an assignment or a problem.
pub fn dotenv(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = dotenv_file::parse(&text);
    let lines = text.lines().count() + 1;
    assert!(found.assignments.len() + found.problems.len() <= lines);
    assert!(found.assignments.iter().all(|one| one.line <= lines));
}

/// Stored records, alone and in frames.
pub fn records(data: &[u8]) {
    let _ = codec::check(data);
    if let Ok(record) = codec::decode::<LogRecord>(data) {
        let _ = codec::encode(&record);
    }
    let mut input = data;
    while let Ok(Some(envelope)) = codec::read_frame(&mut input) {
        let _ = codec::decode::<LogRecord>(&envelope);
    }
}

/// A frame of the map, which a store sends.
pub fn map(data: &[u8]) {
    for index in [0, 1, usize::MAX] {
        let _ = sample_map::decode_segment(data, index);
    }
}
