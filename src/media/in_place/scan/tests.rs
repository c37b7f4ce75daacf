//! Tests with streams made by hand, both sound and damaged.

use std::io::Write;

use super::*;
use crate::media::in_place::packet::SYNC;
use crate::media::in_place::tables::ProgramEntry;

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;
const TABLE: u16 = 0x1000;
/// Ticks of a picture.
const FRAME: u64 = 3600;
/// Pictures of a group.
const GROUP: u64 = 12;

fn program(streams: &[(u8, u16)]) -> ProgramMap {
    ProgramMap {
        number: 1,
        clock_pid: VIDEO,
        descriptors: Vec::new(),
        streams: streams
            .iter()
            .map(|&(kind, pid)| ProgramEntry {
                kind,
                pid,
                descriptors: Vec::new(),
            })
            .collect(),
    }
}

/// Packets one behind the other.
struct Film {
    bytes: Vec<u8>,
    counters: std::collections::BTreeMap<u16, u8>,
}

impl Film {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            counters: std::collections::BTreeMap::new(),
        }
    }

    fn packet(&mut self, pid: u16, starts: bool, payload: &[u8]) {
        let counter = self.counters.entry(pid).or_default();
        let [high, low] = pid.to_be_bytes();
        let start = if starts { 0x40 } else { 0 };
        // Stuffing is in the adaptation field.
        let room = PACKET - 4 - payload.len();
        let control = if room == 0 { 0x10 } else { 0x30 };
        self.bytes
            .extend([SYNC, high | start, low, control | *counter]);
        if room > 0 {
            self.bytes.push((room - 1) as u8);
            self.bytes.extend(
                std::iter::once(0)
                    .chain(std::iter::repeat(0xff))
                    .take(room - 1),
            );
        }
        self.bytes.extend_from_slice(payload);
        *counter = (*counter + 1) & 15;
    }

    fn tables(&mut self, program: &ProgramMap) {
        let packets = tables::write(program, TABLE).unwrap();
        for (pid, packet) in [(PAT_PID, &packets[..PACKET]), (TABLE, &packets[PACKET..])] {
            self.packet(pid, true, &packet[4..]);
        }
    }

    fn pes(&mut self, pid: u16, time: u64, data: &[u8]) {
        let bits = |shift: u32| (time >> shift & 0xff) as u8;
        let stamp = [
            0x21 | bits(29) & 0x0e,
            bits(22),
            bits(14) | 1,
            bits(7),
            bits(0) << 1 | 1,
        ];
        let id = if pid == VIDEO { 0xe0 } else { 0xc0 };
        let mut pes = vec![0, 0, 1, id, 0, 0, 0x80, 0x80, 5];
        pes.extend(stamp);
        pes.extend_from_slice(data);
        let mut starts = true;
        for part in pes.chunks(PACKET - 4) {
            self.packet(pid, starts, part);
            starts = false;
        }
    }

    fn picture(&mut self, number: u64, time: u64) {
        let unit: &[u8] = if number.is_multiple_of(GROUP) {
            &[0x65, 0x88]
        } else {
            &[0x41, 0x9a]
        };
        let set = [0, 0, 0, 1, 0x67, 0x64, 0, 0x1e, 0xac];
        let head = [
            &[0, 0, 0, 1, 9, 0xf0][..],
            &set,
            &[0, 0, 1],
            unit,
            &[0x55; 300],
        ];
        self.pes(VIDEO, time, &head.concat());
    }

    /// Adds `pictures` pictures with sound, and tables before each group.
    fn play(&mut self, pictures: u64, from: u64, program: &ProgramMap) {
        for number in 0..pictures {
            let time = (from + number * FRAME) & ((1 << 33) - 1);
            if number.is_multiple_of(GROUP) {
                self.tables(program);
            }
            self.picture(number, time);
            self.pes(AUDIO, time, &[0xff; 50]);
        }
    }
}

fn both() -> ProgramMap {
    program(&[(0x1b, VIDEO), (0x0f, AUDIO)])
}

fn sound_film() -> Vec<u8> {
    let mut film = Film::new();
    film.play(60, 900_000, &both());
    film.bytes
}

fn scanned(bytes: &[u8]) -> Result<TransportScan, InPlaceRefusal> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    match scan(&file, VIDEO, &CancelFlag::default(), &|_| {}).unwrap() {
        Attempt::Made(found) => Ok(found),
        Attempt::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn a_sound_stream_is_cut_at_its_key_frames() {
    let bytes = sound_film();
    let found = scanned(&bytes).unwrap();
    assert_eq!((found.stride, found.end), (188, bytes.len() as u64));
    assert_eq!(found.program, both());
    assert_eq!(found.codec, "avc1.64001e");
    assert!(found.sections.is_some());
    assert_eq!(found.keys.len(), 5);
    for (number, key) in found.keys.iter().enumerate() {
        let at = usize::try_from(key.offset).unwrap();
        let packet = packet::parse(&bytes[at..]).unwrap();
        assert!(packet.pid == VIDEO && packet.starts);
        assert_eq!(key.start, Start::Independent);
        assert_eq!(key.show, (number as u64 * GROUP * FRAME) as i64);
        // The last tables come just before the key frame.
        assert_eq!(key.counters, (number as u8, number as u8));
    }
    assert_eq!(found.shown_until, 60 * FRAME as i64);
    assert_eq!(found.base, 900_000);
}

#[test]
fn time_stamps_go_round() {
    let mut film = Film::new();
    film.play(60, (1 << 33) - 20 * FRAME, &both());
    let found = scanned(&film.bytes).unwrap();
    let shown: Vec<i64> = found.keys.iter().map(|key| key.show).collect();
    let expected: Vec<i64> = (0..5).map(|n| n * (GROUP * FRAME) as i64).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_table_may_change_while_the_streams_stay() {
    let mut film = Film::new();
    film.play(24, 900_000, &both());
    let mut other = both();
    other.streams[1].descriptors = b"\x0a\x04fra\0".to_vec();
    film.play(24, 900_000 + 24 * FRAME, &other);
    let found = scanned(&film.bytes).unwrap();
    assert_eq!((found.keys.len(), found.sections), (4, None));
}

#[test]
fn what_is_not_sound_is_refused() {
    let refused = |bytes: &[u8], word: &str| match scanned(bytes) {
        Err(InPlaceRefusal(reason)) => assert!(reason.contains(word), "{reason}"),
        Ok(_) => panic!("taken, though {word}"),
    };
    let sound = sound_film();
    let middle = 100 * PACKET;
    refused(
        &[&sound[..middle], &[0; 50][..], &sound[middle..]].concat(),
        "missing",
    );
    refused(&[&[0][..], &sound].concat(), "first byte");
    let mut film = Film::new();
    film.play(24, 900_000, &both());
    film.play(24, 900_000 + 60 * 90_000, &both());
    refused(&film.bytes, "jump");
    let mut film = Film::new();
    film.play(24, 900_000, &both());
    film.play(24, 100_000, &both());
    refused(&film.bytes, "jump");
    let mut film = Film::new();
    film.play(24, 900_000, &both());
    film.play(
        24,
        900_000 + 24 * FRAME,
        &program(&[(0x1b, VIDEO), (0x81, 0x102)]),
    );
    refused(&film.bytes, "streams change");
    let mut film = Film::new();
    film.play(24, 900_000, &program(&[(0x42, VIDEO)]));
    refused(&film.bytes, "kind");
    let mut film = Film::new();
    (1..GROUP).for_each(|number| film.picture(number, number * FRAME));
    refused(&film.bytes, "table");
    film.tables(&both());
    (1..GROUP).for_each(|number| film.picture(number, (GROUP + number) * FRAME));
    refused(&film.bytes, "key frame");
    let mut scrambled = sound.clone();
    let packets = scrambled.chunks_exact_mut(PACKET);
    packets
        .filter(|p| p[1] & 0x1f == 1)
        .for_each(|packet| packet[3] |= 0x80);
    refused(&scrambled, "encrypted");
}

/// A damaged stream is taken or refused, and its places to cut at stay valid.
#[test]
fn damage_is_survived() {
    let sound = sound_film();
    let mut state = 20_261_125_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut taken = 0;
    for _ in 0..400 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random(20) {
            let at = random(bytes.len());
            // Heads of packets matter most.
            let at = if random(2) == 0 {
                at / PACKET * PACKET + random(24)
            } else {
                at
            };
            let at = at.min(bytes.len() - 1);
            bytes[at] = random(256) as u8;
        }
        bytes.truncate(bytes.len() - random(3) * random(2000));
        let Ok(found) = scanned(&bytes) else { continue };
        taken += 1;
        assert!(found.end <= bytes.len() as u64);
        assert!(found.keys.is_sorted_by_key(|key| (key.offset, key.show)));
        for key in &found.keys {
            assert_eq!(key.offset % PACKET as u64, 0);
            assert!(key.offset < found.end);
        }
    }
    assert!(taken > 20, "{taken} of 400 taken");
}
