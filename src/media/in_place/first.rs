//! Looks at the first packets of each stream. Of them is the packet that ffmpeg returns first, from which it
//! counts EXTINF when it seeks; and the first header of AAC, which says where its channels belong.
//!
//! ffmpeg returns a PES packet when it is complete: by its announced length, or when the next one of
//! its stream starts. It holds pictures back until the next one begins.

use std::collections::BTreeMap;

use super::packet::{self, Packet};
use super::pictures::VideoCoding;
use super::tables::ProgramMap;

/// Most streams that are watched: more than any program has.
const MAX_STREAMS: usize = 64;
/// PES packets of each stream that are watched.
const WATCHED: usize = 2;
/// Bytes of the film that are watched: far more than a group of pictures.
const WATCHED_BYTES: u64 = 256 << 20;

/// The first PES packets of each stream.
#[derive(Debug, Default)]
pub struct FirstPacket {
    streams: BTreeMap<u16, Vec<WatchedPes>>,
}

#[derive(Debug)]
struct WatchedPes {
    /// Time stamp of 33 bits.
    time: Option<u64>,
    /// Bytes that are still missing, if the packet announces its length.
    missing: Option<usize>,
    /// Offset in the file at which the packet was complete.
    whole_at: Option<u64>,
    /// True if it starts with AAC whose places of channels have no number.
    has_own_layout: bool,
}

/// Returns true for an ADTS header (ISO/IEC 14496-3 §1.A.2) whose channel configuration is 0: the stream
/// itself describes its channels, which browsers do not read.
fn has_own_layout(audio: &[u8]) -> bool {
    let is_adts = |head: &[u8]| head[0] == 0xff && head[1] & 0xf6 == 0xf0;
    let head = audio.get(..4).filter(|head| is_adts(head));
    head.is_some_and(|head| head[2] & 1 == 0 && head[3] >> 6 == 0)
}

impl FirstPacket {
    /// Receives the packet that starts at `offset` of the file.
    pub fn take(&mut self, offset: u64, packet: &Packet<'_>) {
        if offset > WATCHED_BYTES {
            return;
        }
        if !self.streams.contains_key(&packet.pid) {
            if !packet.starts || self.streams.len() == MAX_STREAMS {
                return;
            }
            self.streams.insert(packet.pid, Vec::new());
        }
        let Some(list) = self.streams.get_mut(&packet.pid) else {
            return;
        };
        if packet.starts {
            if let Some(last) = list.last_mut() {
                last.whole_at.get_or_insert(offset);
            }
            if list.len() < WATCHED
                && let Some(header) = packet::pes_header(packet.payload)
            {
                list.push(WatchedPes {
                    time: header.decode,
                    missing: header.total,
                    whole_at: None,
                    has_own_layout: has_own_layout(
                        packet.payload.get(header.len..).unwrap_or_default(),
                    ),
                });
            }
        }
        let Some(last) = list.last_mut().filter(|last| last.whole_at.is_none()) else {
            return;
        };
        if let Some(missing) = &mut last.missing {
            *missing = missing.saturating_sub(packet.payload.len());
            if *missing == 0 {
                last.whole_at = Some(offset);
            }
        }
    }

    /// Returns the PIDs of streams of AAC that describe their channels themselves.
    pub fn own_layouts(&self) -> Vec<u16> {
        let has = |list: &[WatchedPes]| list.iter().any(|pes| pes.has_own_layout);
        let streams = self.streams.iter().filter(|(_, list)| has(list));
        streams.map(|(pid, _)| *pid).collect()
    }

    /// Returns the decoding time of the first packet of any stream of `program`.
    pub fn time(&self, program: &ProgramMap) -> Option<u64> {
        let streams = program.streams.iter();
        let packets = streams.filter_map(|stream| {
            let list = self.streams.get(&stream.pid)?;
            let held = usize::from(VideoCoding::of(stream.kind).is_some());
            let at = list.get(held).or(list.first())?.whole_at;
            Some((at.unwrap_or(u64::MAX), list.first()?.time?))
        });
        packets.min().map(|(_, time)| time)
    }
}
