//! One pass over a transport stream, which finds its program and the places where its video can be cut.
//! A stream that does not look sound is refused with a reason in words. Such a film is copied like others.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::first::FirstPacket;
use super::packet::{self, PACKET, PAT_PID, Packet};
use super::pictures::{Start, VideoCoding};
use super::tables::{self, ProgramMap, Sections};
use crate::media::attempt::Attempt;
use crate::media::mp4::captions::CaptionDetector;
use crate::model::CaptionChannel;
use crate::process::CancelFlag;

/// Packets read at a time: a megabyte.
const READ_PACKETS: usize = 5600;
/// Bytes of a picture that are examined: more than the parameter sets and messages before it take.
const HEAD_BYTES: usize = 4096;
/// Least distance of a place to cut at from the key frame before it: 0.25 s in 1/90000 s. It bounds the
/// number of key frames by the film's length.
const NEAREST_KEY: i64 = 22_500;
/// Longest gap between two pictures, in 1/90000 s, up to which ffmpeg takes time stamps as they are.
const LONGEST_GAP: i64 = 10 * 90_000;
/// Longest step back of time stamps, as for reordered pictures without decoding times.
const LONGEST_STEP_BACK: i64 = 90_000;
/// Most key frames that are believed: 48 h with four a second.
const MAX_KEYS: usize = 700_000;

/// Reason, in words, why the segments of a film cannot be ranges of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlaceRefusal(pub &'static str);

impl fmt::Display for InPlaceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A place to cut at. Times are in 1/90000 s on the video's own line, which does not wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFrame {
    /// Offset of its first packet in the file.
    pub offset: u64,
    pub show: i64,
    pub decode: i64,
    pub start: Start,
    /// Counters of the last packets of both tables before it.
    pub counters: (u8, u8),
}

/// Result of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportScan {
    /// Bytes from packet to packet.
    pub stride: u16,
    /// Offset behind the last whole packet.
    pub end: u64,
    pub program: ProgramMap,
    pub table_pid: u16,
    /// Both tables, if they never change, fit into one packet each, and describe this program alone.
    pub sections: Option<(Vec<u8>, Vec<u8>)>,
    pub coding: VideoCoding,
    pub codec: String,
    pub keys: Vec<KeyFrame>,
    /// Time of the first packet that ffmpeg returns.
    pub first: i64,
    /// Time at which the last picture ends.
    pub shown_until: i64,
    /// The first time stamp of the video, as it is in the file.
    pub base: u64,
    /// PIDs of streams of AAC that describe their channels themselves.
    pub own_layouts: Vec<u16>,
    /// Captions in the pictures.
    pub captions: Vec<CaptionChannel>,
}

struct Scanner {
    video: u16,
    offset: u64,
    programs: Option<Vec<(u16, u16)>>,
    all_section: Vec<u8>,
    table_pid: Option<u16>,
    program: Option<(ProgramMap, Vec<u8>)>,
    all: Sections,
    table: Sections,
    is_constant: bool,
    /// Counters of the tables: first and last.
    all_counters: Option<(u8, u8)>,
    table_counters: Option<(u8, u8)>,
    coding: Option<VideoCoding>,
    codec: Option<String>,
    clock: Option<Clock>,
    picture: Option<Picture>,
    keys: Vec<KeyFrame>,
    first: FirstPacket,
    captions: CaptionDetector,
}

/// The video's time line.
struct Clock {
    base: u64,
    /// The last decoding time as it is in the file. `decode` is the same on the line.
    raw: u64,
    decode: i64,
    /// Last step forward.
    step: i64,
    shown: i64,
}

/// The picture that is being read.
struct Picture {
    offset: u64,
    times: Option<(i64, i64)>,
    counters: (Option<u8>, Option<u8>),
    head: Vec<u8>,
}

/// Scans `file` for the program that has the stream `video`. `progress` gets the bytes read so far.
///
/// # Errors
/// When the file cannot be read. The inner error is the reason for a refusal.
pub fn scan(
    file: &File,
    video: u16,
    cancel: &CancelFlag,
    progress: &dyn Fn(u64),
) -> io::Result<Attempt<TransportScan, InPlaceRefusal>> {
    let len = file.metadata()?.len();
    let mut head = [0; 1024];
    let filled = file.read_at(&mut head, 0)?;
    let Some((stride, skip)) = stride(&head[..filled]) else {
        return Ok(Attempt::Refused(InPlaceRefusal(
            "its packets do not start at its first byte",
        )));
    };
    let mut scanner = Scanner::new(video);
    let mut buffer = vec![0; stride * READ_PACKETS];
    let end = len - len % stride as u64;
    while scanner.offset < end {
        let want = usize::try_from(end - scanner.offset).unwrap_or(usize::MAX);
        let part = buffer.len().min(want);
        file.read_exact_at(&mut buffer[..part], scanner.offset)?;
        for bytes in buffer[..part].chunks_exact(stride) {
            let Some(packet) = packet::parse(&bytes[skip..]) else {
                return Ok(Attempt::Refused(InPlaceRefusal(
                    "packets are missing or damaged in it",
                )));
            };
            if let Err(refusal) = scanner.take(&packet) {
                return Ok(Attempt::Refused(refusal));
            }
            scanner.offset += stride as u64;
        }
        progress(scanner.offset);
        if cancel.is_cancelled() {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "nobody waits for it",
            ));
        }
    }
    Ok(Attempt::from(scanner.finish(stride, end)))
}

/// Returns the bytes from packet to packet, and the bytes before each packet.
fn stride(head: &[u8]) -> Option<(usize, usize)> {
    [(PACKET, 0), (PACKET + 4, 4)]
        .into_iter()
        .find(|(stride, skip)| {
            let starts = head.iter().skip(*skip).step_by(*stride);
            head.len() > skip + 2 * stride && starts.into_iter().all(|byte| *byte == packet::SYNC)
        })
}

impl Scanner {
    fn new(video: u16) -> Self {
        Self {
            video,
            offset: 0,
            programs: None,
            all_section: Vec::new(),
            table_pid: None,
            program: None,
            all: Sections::default(),
            table: Sections::default(),
            is_constant: true,
            all_counters: None,
            table_counters: None,
            coding: None,
            codec: None,
            clock: None,
            picture: None,
            keys: Vec::new(),
            first: FirstPacket::default(),
            captions: CaptionDetector::default(),
        }
    }

    fn take(&mut self, packet: &Packet<'_>) -> Result<(), InPlaceRefusal> {
        if packet.pid == PAT_PID {
            note(&mut self.all_counters, packet.counter);
            return match self.all.take(packet.starts, packet.payload) {
                Some(section) => self.take_all(section),
                None => Ok(()),
            };
        }
        let pids = self.programs.iter().flatten().map(|(_, pid)| *pid);
        if self.table_pid == Some(packet.pid)
            || (self.table_pid.is_none() && pids.into_iter().any(|pid| pid == packet.pid))
        {
            note(&mut self.table_counters, packet.counter);
            return match self.table.take(packet.starts, packet.payload) {
                Some(section) => self.take_table(packet.pid, section),
                None => Ok(()),
            };
        }
        if packet.scrambled && self.has(packet.pid) {
            return Err(InPlaceRefusal("it is encrypted"));
        }
        if packet.pid != packet::NULL_PID {
            self.first.take(self.offset, packet);
        }
        if packet.pid == self.video {
            self.take_video(packet)?;
        }
        Ok(())
    }

    fn has(&self, pid: u16) -> bool {
        let program = self.program.iter();
        pid == self.video
            || program
                .flat_map(|(program, _)| &program.streams)
                .any(|s| s.pid == pid)
    }

    fn take_all(&mut self, section: Vec<u8>) -> Result<(), InPlaceRefusal> {
        let Some(programs) = tables::programs(&section) else {
            self.is_constant = false;
            return Ok(());
        };
        match &self.programs {
            None => {
                self.programs = Some(programs);
                self.all_section = section;
            }
            Some(known) => {
                self.is_constant &= self.all_section == section;
                let own = self.table_pid;
                let keeps = |list: &[(u16, u16)]| list.iter().any(|(_, pid)| Some(*pid) == own);
                if own.is_some() && keeps(known) && !keeps(&programs) {
                    return Err(InPlaceRefusal("its programs change"));
                }
            }
        }
        Ok(())
    }

    fn take_table(&mut self, pid: u16, section: Vec<u8>) -> Result<(), InPlaceRefusal> {
        let Some(program) = tables::program(&section) else {
            self.is_constant &= self.table_pid.is_none();
            return Ok(());
        };
        match &self.program {
            Some((known, known_section)) => {
                if *known_section != section {
                    self.is_constant = false;
                    let shape = |program: &ProgramMap| -> Vec<(u8, u16)> {
                        program.streams.iter().map(|s| (s.kind, s.pid)).collect()
                    };
                    if shape(known) != shape(&program) || known.number != program.number {
                        return Err(InPlaceRefusal("its streams change"));
                    }
                }
            }
            // The program with the video is taken if there are several.
            None => {
                if let Some(stream) = program.streams.iter().find(|s| s.pid == self.video) {
                    self.coding = VideoCoding::of(stream.kind);
                    if self.coding.is_none() {
                        return Err(InPlaceRefusal(
                            "its video is of a kind that is not known here",
                        ));
                    }
                    self.table_pid = Some(pid);
                    self.program = Some((program, section));
                }
            }
        }
        Ok(())
    }

    fn take_video(&mut self, packet: &Packet<'_>) -> Result<(), InPlaceRefusal> {
        if !packet.starts {
            if let Some(picture) = &mut self.picture {
                picture.take(packet.payload);
            }
            return Ok(());
        }
        self.end_picture()?;
        let Some(header) = packet::pes_header(packet.payload) else {
            return Ok(());
        };
        let mut times = None;
        if let (Some(show), Some(decode)) = (header.show, header.decode) {
            times = Some(Clock::advance(&mut self.clock, show, decode)?);
        }
        let last = |counters: Option<(u8, u8)>| counters.map(|(_, last)| last);
        let mut picture = Picture {
            offset: self.offset,
            times,
            counters: (last(self.all_counters), last(self.table_counters)),
            head: Vec::new(),
        };
        picture.take(packet.payload.get(header.len..).unwrap_or_default());
        self.picture = Some(picture);
        Ok(())
    }

    fn end_picture(&mut self) -> Result<(), InPlaceRefusal> {
        let Some(picture) = self.picture.take() else {
            return Ok(());
        };
        if let Some(coding) = self.coding {
            coding.detect_captions(&picture.head, &mut self.captions);
        }
        // Without a table the coding of the pictures is not known, so nothing is cut there.
        let (Some((show, decode)), Some(coding)) = (picture.times, self.coding) else {
            return Ok(());
        };
        let start = coding.start(&picture.head);
        if start == Start::Other {
            return Ok(());
        }
        if self.codec.is_none() {
            self.codec = coding.name(&picture.head);
        }
        if self
            .keys
            .last()
            .is_some_and(|last| show - last.show < NEAREST_KEY)
        {
            return Ok(());
        }
        if self.keys.len() == MAX_KEYS {
            return Err(InPlaceRefusal(
                "it has more key frames than a film can have",
            ));
        }
        self.keys.push(KeyFrame {
            offset: picture.offset,
            show,
            decode,
            start,
            counters: (
                before(picture.counters.0, self.all_counters),
                before(picture.counters.1, self.table_counters),
            ),
        });
        Ok(())
    }

    fn finish(mut self, stride: usize, end: u64) -> Result<TransportScan, InPlaceRefusal> {
        self.end_picture()?;
        let missing = InPlaceRefusal("its program has no table that can be read");
        let (Some((program, section)), Some(table_pid), Some(coding)) =
            (self.program, self.table_pid, self.coding)
        else {
            return Err(missing);
        };
        let (Some(clock), Some(codec)) = (self.clock, self.codec) else {
            return Err(InPlaceRefusal("no key frame is found in it"));
        };
        if self.keys.is_empty() {
            return Err(InPlaceRefusal("no key frame is found in it"));
        }
        let is_alone = self.programs.is_some_and(|programs| programs.len() == 1);
        let fits = tables::packets(PAT_PID, &self.all_section).len() == PACKET
            && tables::packets(table_pid, &section).len() == PACKET;
        let is_plain = stride == PACKET && self.is_constant && is_alone && fits;
        let first = self.first.time(&program);
        Ok(TransportScan {
            stride: u16::try_from(stride).unwrap_or(0),
            end,
            sections: is_plain.then_some((self.all_section, section)),
            program,
            table_pid,
            coding,
            codec,
            first: first.map_or(0, |raw| packet::step(clock.base, raw)),
            keys: self.keys,
            shown_until: clock.shown + clock.step.max(1),
            base: clock.base,
            own_layouts: self.first.own_layouts(),
            captions: self.captions.finish(),
        })
    }
}

/// Keeps the first counter and the last.
fn note(counters: &mut Option<(u8, u8)>, counter: u8) {
    *counters = Some((counters.map_or(counter, |(first, _)| first), counter));
}

/// Returns the counter of a table's last packet. Before the first packet it is the counter that comes
/// before that packet's own.
fn before(last: Option<u8>, counters: Option<(u8, u8)>) -> u8 {
    last.unwrap_or_else(|| counters.map_or(15, |(first, _)| first.wrapping_sub(1) & 15))
}

impl Clock {
    /// Returns the presentation and decoding time on the line.
    fn advance(
        clock: &mut Option<Self>,
        show: u64,
        decode: u64,
    ) -> Result<(i64, i64), InPlaceRefusal> {
        let delay = packet::step(decode, show);
        if !(-LONGEST_STEP_BACK..=LONGEST_GAP).contains(&delay) {
            return Err(InPlaceRefusal("its time stamps contradict each other"));
        }
        let clock = clock.get_or_insert(Self {
            base: decode,
            raw: decode,
            decode: 0,
            step: 0,
            shown: delay,
        });
        let step = packet::step(clock.raw, decode);
        if !(-LONGEST_STEP_BACK..=LONGEST_GAP).contains(&step) {
            return Err(InPlaceRefusal("its time stamps jump"));
        }
        clock.raw = decode;
        clock.decode += step;
        if step > 0 {
            clock.step = step;
        }
        let shown = clock.decode + delay;
        clock.shown = clock.shown.max(shown);
        Ok((shown, clock.decode))
    }
}

impl Picture {
    fn take(&mut self, payload: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        self.head
            .extend_from_slice(&payload[..payload.len().min(room)]);
    }
}

#[cfg(test)]
mod tests;
