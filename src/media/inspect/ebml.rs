//! Elements of Matroska files (EBML, RFC 8794 §4 to §6; RFC 9559 §5).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
pub(super) const SEEK: u32 = 0x4DBB;
const SEEK_ID: u32 = 0x53AB;
pub(super) const SEEK_POSITION: u32 = 0x53AC;
pub(super) const CLUSTER: u32 = 0x1F43_B675;

/// An element's id, the offset of its data, and its length (`None`: unknown, to the end).
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub id: u32,
    pub data: u64,
    pub len: Option<u64>,
}

/// Reads the header of the element at `at`; `None` where there is none.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn element(file: &File, at: u64) -> io::Result<Option<Element>> {
    let head = read_up_to(file, at, 12)?;
    Ok(parse_element(&head).map(|(id, header, len)| Element {
        id,
        data: at + header as u64,
        len,
    }))
}

/// Returns the id with its marker, the length of the header, and the length of the data.
fn parse_element(bytes: &[u8]) -> Option<(u32, usize, Option<u64>)> {
    let first = *bytes.first()?;
    let id_len = first.leading_zeros() as usize + 1;
    if id_len > 4 {
        return None;
    }
    let id = bytes
        .get(..id_len)?
        .iter()
        .fold(0, |id, byte| id << 8 | u32::from(*byte));
    let size = bytes.get(id_len..)?;
    let first = *size.first()?;
    let size_len = first.leading_zeros() as usize + 1;
    if size_len > 8 {
        return None;
    }
    let marker = 1_u64 << (7 * size_len);
    let value = size
        .get(..size_len)?
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
        & (marker - 1);
    let len = (value != marker - 1).then_some(value);
    Some((id, id_len + size_len, len))
}

/// Iterates over the elements of `bytes`, and stops at the first that does not fit.
pub(super) fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, header, len) = parse_element(bytes)?;
        let end = header.checked_add(usize::try_from(len?).ok()?)?;
        let data = bytes.get(header..end)?;
        bytes = &bytes[end..];
        Some((id, data))
    })
}

/// Place of an element, as a SeekHead names it (RFC 9559 §5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeekEntry {
    /// Its id, where the entry has one.
    pub id: Option<u64>,
    /// Its offset, counted from the data of the segment.
    pub position: u64,
}

/// Iterates over the entries of a SeekHead.
pub(super) fn seek_entries(seek_head: &[u8]) -> impl Iterator<Item = SeekEntry> {
    let seeks = children(seek_head).filter(|(id, _)| *id == SEEK);
    seeks.filter_map(|(_, seek)| {
        let of = |wanted| {
            let (_, data) = children(seek).find(|(id, _)| *id == wanted)?;
            number(data)
        };
        Some(SeekEntry {
            id: of(SEEK_ID),
            position: of(SEEK_POSITION)?,
        })
    })
}

/// Reads a number of at most eight bytes.
fn number(data: &[u8]) -> Option<u64> {
    let value = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    (data.len() <= 8).then(|| value(data))
}

/// Reads up to `len` bytes at `offset`; fewer where the file ends.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read_up_to(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
