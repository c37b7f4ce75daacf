//! Finds the ranges of a film that every reader needs to open it: ffprobe, a library's scan, a player
//! that begins or seeks for the first time. It uses the container's own tables and decodes nothing.
//!
//! Matroska: RFC 9559 (SeekHead §5.1.1, Cues §5.1.5). MP4: ISO/IEC 14496-12 §8.

use std::fs::File;
use std::io;

use super::ebml::{CLUSTER, SEEK_HEAD, SEGMENT, element, read_up_to, seek_entries};
use super::sniff::sniff_file;
use crate::media::container::Container;
use crate::media::mp4::boxes::box_size;
use crate::model::ByteRange;

/// Bytes at the head of every film. ffprobe reads frames until it knows the codecs and the frame rate.
const HEAD_BYTES: u64 = 2 << 20;
/// Bytes at the head of films whose streams are not listed there, or not with everything that ffprobe
/// wants to know. ffprobe then reads all of its `probesize` (5,000,000 bytes), and the kernel reads up
/// to 2 MiB ahead of it.
const LONG_HEAD_BYTES: u64 = 8 << 20;
/// Codecs in Matroska that need the long head: bitmap subtitles, whose size is in their first picture.
const PICTURES: [&[u8]; 3] = [b"S_HDMV/PGS", b"S_VOBSUB", b"S_DVBSUB"];
/// Bytes in which Matroska's tracks are nearly always listed.
const TRACKS_BYTES: usize = 64 << 10;
/// Bytes of frames behind the tables, where the tables come before the frames.
const FRAMES_BYTES: u64 = 1 << 20;
/// Bytes at the end of every film. ffprobe reads the end of a stream to find its duration
/// (`DURATION_MAX_READ_SIZE`, 250,000 bytes at first), and the tags of an MP3 are there too.
const TAIL_BYTES: u64 = 512 << 10;
/// Most bytes of all tables of one film: cues of a day, or a large `moov`. Attached fonts fill the rest.
const MAX_TABLES_BYTES: u64 = 16 << 20;
/// Most boxes and elements that are examined.
const MAX_STEPS: usize = 4096;

/// Returns the ranges, ascending and apart, or none where the file is no known container. Blocking.
///
/// # Errors
/// When the file cannot be read.
pub fn opening_ranges(file: &File, len: u64) -> io::Result<Vec<ByteRange>> {
    let Some(container) = sniff_file(file)? else {
        return Ok(Vec::new());
    };
    let is_read_long = match container {
        Container::MpegTs | Container::MpegPs | Container::Flv | Container::Avi => true,
        Container::Matroska => {
            let tracks = read_up_to(file, 0, TRACKS_BYTES)?;
            let has = |codec: &&[u8]| memchr::memmem::find(&tracks, codec).is_some();
            PICTURES.iter().any(has)
        }
        _ => false,
    };
    let first = match is_read_long {
        true => LONG_HEAD_BYTES,
        false => HEAD_BYTES,
    };
    let mut tables = match container {
        Container::Matroska => matroska(file, len)?,
        Container::Mp4 => mp4(file, len)?,
        Container::Avi => avi(file, len)?,
        _ => Vec::new(),
    };
    let mut room = MAX_TABLES_BYTES;
    for table in &mut tables {
        table.len = table.len.min(room);
        room -= table.len;
    }
    tables.push(ByteRange::new(0, first));
    tables.push(ByteRange::new(len.saturating_sub(TAIL_BYTES), TAIL_BYTES));
    Ok(merged(tables, len))
}

fn merged(mut ranges: Vec<ByteRange>, len: u64) -> Vec<ByteRange> {
    ranges.retain(|range| range.len > 0 && range.offset < len);
    ranges.sort_by_key(|range| range.offset);
    let mut merged: Vec<ByteRange> = Vec::new();
    for range in ranges {
        let end = range.end().min(len);
        match merged.last_mut() {
            Some(last) if range.offset <= last.end() => {
                last.len = last.len.max(end - last.offset);
            }
            _ => merged.push(ByteRange::new(range.offset, end - range.offset)),
        }
    }
    merged
}

/// Returns all boxes but the media data, and the first frames of the media data.
fn mp4(file: &File, len: u64) -> io::Result<Vec<ByteRange>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    let mut is_behind_frames = false;
    for _ in 0..MAX_STEPS {
        let header = read_up_to(file, at, 16)?;
        let Some((size, header_len)) = box_size(&header) else {
            break;
        };
        let size = if size == 0 { len - at } else { size };
        if size < header_len as u64 || size > len - at {
            break;
        }
        match &header[4..8] {
            b"mdat" if !is_behind_frames => {
                is_behind_frames = true;
                ranges.push(ByteRange::new(at, FRAMES_BYTES.min(size)));
            }
            // Of a fragmented film, readers first need only the boxes before its frames, and `mfra`.
            b"mdat" | b"moof" | b"free" | b"skip" => {}
            _ => ranges.push(ByteRange::new(at, size)),
        }
        at += size;
        if at >= len {
            break;
        }
    }
    Ok(ranges)
}

/// Returns the parts of an AVI beside its `movi` list: the headers, and the index behind it.
fn avi(file: &File, len: u64) -> io::Result<Vec<ByteRange>> {
    let mut ranges = Vec::new();
    let mut at = 12;
    for _ in 0..MAX_STEPS {
        let header = read_up_to(file, at, 12)?;
        let (Some(size), Some(list)) = (header.get(4..8), header.get(8..12)) else {
            break;
        };
        let size = u64::from(u32::from_le_bytes(size.try_into().unwrap_or_default()));
        let whole = 8 + size.next_multiple_of(2);
        if list != b"movi" {
            ranges.push(ByteRange::new(at, whole.min(len - at)));
        }
        at += whole;
        if at >= len {
            break;
        }
    }
    Ok(ranges)
}

/// Returns everything before the first cluster, and all elements that the SeekHeads name, Cues included.
fn matroska(file: &File, len: u64) -> io::Result<Vec<ByteRange>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    let mut segment = None;
    let mut named = Vec::new();
    for _ in 0..MAX_STEPS {
        let Some(found) = element(file, at)? else {
            break;
        };
        match (found.id, found.len) {
            (SEGMENT, _) => {
                segment = Some(found.data);
                at = found.data;
                continue;
            }
            (CLUSTER, _) => {
                ranges.push(ByteRange::new(at, FRAMES_BYTES));
                break;
            }
            (_, None) => break,
            (id, Some(size)) => {
                if id == SEEK_HEAD {
                    add_positions(&mut named, seek_positions(file, found.data, size)?);
                }
                ranges.push(ByteRange::new(at, (found.data - at).saturating_add(size)));
                at = found.data.saturating_add(size);
            }
        }
        if at >= len {
            break;
        }
    }
    let Some(segment) = segment else {
        return Ok(ranges);
    };
    let mut steps = 0;
    while let Some(position) = named.pop()
        && steps < MAX_STEPS
    {
        steps += 1;
        let at = segment.saturating_add(position);
        let is_known = ranges
            .iter()
            .any(|range| (range.offset..range.end()).contains(&at));
        if is_known || at >= len {
            continue;
        }
        let Some(found) = element(file, at)? else {
            continue;
        };
        let Some(size) = found.len.filter(|_| found.id != CLUSTER) else {
            continue;
        };
        // One SeekHead may name another.
        if found.id == SEEK_HEAD {
            add_positions(&mut named, seek_positions(file, found.data, size)?);
        }
        ranges.push(ByteRange::new(at, (found.data - at).saturating_add(size)));
    }
    Ok(ranges)
}

/// Adds positions up to the number that is examined.
fn add_positions(named: &mut Vec<u64>, positions: Vec<u64>) {
    let room = MAX_STEPS.saturating_sub(named.len());
    named.extend(positions.into_iter().take(room));
}

/// Returns the offsets of the elements that a SeekHead names, from the start of the segment's data.
fn seek_positions(file: &File, at: u64, size: u64) -> io::Result<Vec<u64>> {
    let len = usize::try_from(size).unwrap_or(usize::MAX).min(64 << 10);
    let bytes = read_up_to(file, at, len)?;
    Ok(seek_entries(&bytes).map(|entry| entry.position).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use proptest::prelude::*;

    use super::super::ebml::{SEEK, SEEK_POSITION};
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ranges_of(parts: &[(&[u8], u64)]) -> Vec<(u64, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        let mut at = 0;
        for (head, len) in parts {
            file.write_all_at(head, at).unwrap();
            at += len;
        }
        file.set_len(at).unwrap();
        file.flush().unwrap();
        let ranges = opening_ranges(&file, at).unwrap();
        ranges
            .iter()
            .map(|range| (range.offset, range.end()))
            .collect()
    }

    fn mp4_box(kind: &[u8; 4], len: u64) -> Vec<u8> {
        let mut bytes = u32::try_from(len).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes
    }

    #[test]
    fn of_an_mp4_the_tables_are_read_wherever_they_are() {
        let ftyp = [&mp4_box(b"ftyp", 32)[..], b"isomiso2"].concat();
        let (moov, mdat) = (mp4_box(b"moov", 3 * MIB), mp4_box(b"mdat", 100 * MIB));
        let at_the_end = ranges_of(&[(&ftyp, 32), (&mdat, 100 * MIB), (&moov, 3 * MIB)]);
        assert_eq!(at_the_end, [(0, 2 * MIB), (32 + 100 * MIB, 32 + 103 * MIB)]);
        let at_the_start = ranges_of(&[(&ftyp, 32), (&moov, 3 * MIB), (&mdat, 100 * MIB)]);
        let end = 32 + 103 * MIB;
        assert_eq!(at_the_start, [(0, 32 + 4 * MIB), (end - TAIL_BYTES, end)]);
    }

    fn ebml(id: u32, data: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes();
        let id = &id[id.iter().position(|byte| *byte != 0).unwrap()..];
        let size = (1_u64 << 56 | data.len() as u64).to_be_bytes();
        [id, &size, data].concat()
    }

    #[test]
    fn no_more_positions_are_kept_than_are_examined() {
        let mut named = vec![0];
        for _ in 0..3 {
            add_positions(&mut named, vec![1; MAX_STEPS]);
        }
        assert_eq!(named.len(), MAX_STEPS);
    }

    #[test]
    fn of_a_matroska_file_the_cues_are_read_where_the_seek_head_says() {
        let header = ebml(0x1A45_DFA3, b"");
        let mut segment = SEGMENT.to_be_bytes().to_vec();
        segment.extend_from_slice(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let cues_at = 50 * MIB;
        let position = ebml(
            SEEK_POSITION,
            &u32::try_from(cues_at).unwrap().to_be_bytes(),
        );
        let head = ebml(SEEK_HEAD, &ebml(SEEK, &position));
        let cluster = ebml(CLUSTER, b"frames");
        let start = [&header[..], &segment].concat();
        let data_at = start.len() as u64;
        let front = [&start[..], &head, &cluster].concat();
        let cues = ebml(0x1C53_BB6B, &vec![1; 700_000]);
        let ranges = ranges_of(&[
            (&front, data_at + cues_at),
            (&cues, cues.len() as u64),
            (b"", 30 * MIB),
        ]);
        let cues_at = data_at + cues_at;
        let end = cues_at + cues.len() as u64 + 30 * MIB;
        let expected = [
            (0, 2 * MIB),
            (cues_at, cues_at + cues.len() as u64),
            (end - TAIL_BYTES, end),
        ];
        assert_eq!(ranges, expected);
    }

    proptest! {
        /// No claim of a file causes a panic, a range beyond its end, or an unbounded sum.
        #[test]
        fn hostile_tables_are_bounded(
            magic in 0..3_usize,
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let magic: &[u8] = [
                &b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff"[..],
                b"\0\0\0\x10ftypisom\0\0\0\0",
                b"RIFF\xff\xff\xff\xffAVI ",
            ][magic];
            let head = [magic, &bytes].concat();
            let len = head.len() as u64 + 100 * MIB;
            let ranges = ranges_of(&[(&head, len)]);
            let sum: u64 = ranges.iter().map(|(from, to)| to - from).sum();
            prop_assert!(sum <= MAX_TABLES_BYTES + LONG_HEAD_BYTES + TAIL_BYTES);
            prop_assert!(ranges.iter().all(|(from, to)| from < to && *to <= len));
            prop_assert!(ranges.windows(2).all(|two| two[0].1 < two[1].0));
        }
    }
}
