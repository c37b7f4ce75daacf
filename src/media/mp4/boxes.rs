//! ISO base media boxes (ISO/IEC 14496-12 §4.2), as far as they are needed: walking a tree whose
//! bytes are in memory, and writing boxes. `mp4-atom` decodes to typed boxes and back. Here sample
//! descriptions must be copied verbatim, also for codecs that it may not know, so walking is enough.

/// A box within a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxAt<'a> {
    pub kind: [u8; 4],
    /// Bytes of the box with its header.
    pub whole: &'a [u8],
    pub body: &'a [u8],
}

/// Iterates over the boxes of `bytes`, and stops at the first that does not fit.
pub fn iterate(bytes: &[u8]) -> impl Iterator<Item = BoxAt<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (size, header) = box_size(rest)?;
        // A box of size 0 reaches to the end of its container.
        let size = if size == 0 {
            rest.len()
        } else {
            usize::try_from(size).ok()?
        };
        if size < header || size > rest.len() {
            return None;
        }
        let (whole, next) = rest.split_at(size);
        rest = next;
        Some(BoxAt {
            kind: whole[4..8].try_into().ok()?,
            whole,
            body: &whole[header..],
        })
    })
}

/// Returns the total size (0: to the end) and the header size of the box that starts `bytes`.
#[must_use]
pub fn box_size(bytes: &[u8]) -> Option<(u64, usize)> {
    match be32(bytes, 0)? {
        1 => Some((be64(bytes, 8)?, 16)),
        _ if bytes.len() < 8 => None,
        size => Some((u64::from(size), 8)),
    }
}

/// Returns the first box that `path` leads to.
#[must_use]
pub fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<BoxAt<'a>> {
    let (first, rest) = path.split_first()?;
    iterate(bytes)
        .filter(|found| &found.kind == *first)
        .find_map(|found| {
            if rest.is_empty() {
                Some(found)
            } else {
                find(found.body, rest)
            }
        })
}

/// Reads a big-endian number of 16 bits.
#[must_use]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}
/// Reads a big-endian number of 32 bits.
#[must_use]
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}
/// Reads a big-endian number of 64 bits.
#[must_use]
pub fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    let end = at.checked_add(8)?;
    Some(u64::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Writes a box of `kind` around `parts`. It is for headers and metadata only, because its size is a
/// `u32`.
#[must_use]
pub fn write(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(kind);
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_walked_and_damage_ends_the_walk() {
        let inner = write(b"abcd", &[b"xy"]);
        let outer = write(b"moov", &[&inner, &write(b"free", &[])]);
        assert_eq!(find(&outer, &[b"moov", b"abcd"]).unwrap().body, b"xy");
        assert!(find(&outer, &[b"moov", b"none"]).is_none());
        assert_eq!(iterate(&outer[..outer.len() - 1]).count(), 0);
        assert_eq!(iterate(&[0, 0, 0, 4, 1, 2, 3, 4]).count(), 0);
        assert_eq!(iterate(&[0, 0, 0, 1, 1, 2, 3, 4]).count(), 0);
    }
}
