//! Calls of `upload.getFile`: the ranges that are allowed, and the bytes in the answers.

use bytes::Bytes;
use grammers_tl_types::{Cursor, Deserializable, Identifiable, types};

use crate::model::ByteRange;
use crate::remote::telegram::mtproto::call_error::CallError;

/// Most bytes of one `upload.getFile`. grammers cannot take 1 MiB, and a block has this size too.
const CALL_BYTES: u64 = 512 * 1024;
/// Divisor of the offset and the length of a call.
const CALL_GRAIN: u64 = 4096;

/// Returns offset and length of the calls that cover `range`. They are aligned, and none crosses a border
/// of 1 MiB.
pub fn calls_for(range: ByteRange) -> impl Iterator<Item = (u64, u64)> {
    let first = range.offset - range.offset % CALL_GRAIN;
    let end = range.end().next_multiple_of(CALL_GRAIN);
    let mut at = first;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let border = (at / CALL_BYTES + 1) * CALL_BYTES;
        let stop = border.min(end);
        // 1 MiB must also be a multiple of the length.
        let offset = at;
        let limit = (stop - at).next_power_of_two().max(CALL_GRAIN);
        let limit = if offset / CALL_BYTES == (offset + limit - 1) / CALL_BYTES {
            limit
        } else {
            // The length crosses the border, so a smaller one is used, and another call.
            let room = stop - at;
            let mut smaller = limit;
            while smaller > room {
                smaller /= 2;
            }
            smaller.max(CALL_GRAIN)
        };
        at += limit;
        Some((offset, limit))
    })
}

/// Returns the bytes within `upload.file`, without copying them.
///
/// # Errors
/// [`CallError::Unexpected`] when the answer is cut short, or names a CDN.
pub fn file_bytes(answer: Vec<u8>) -> Result<Bytes, CallError> {
    let unexpected = |what: &str| CallError::Unexpected(what.to_owned());
    let (len, begin) = {
        let mut cursor = Cursor::from_slice(&answer);
        let id = u32::deserialize(&mut cursor).map_err(|_| unexpected("no answer"))?;
        if id != types::upload::File::CONSTRUCTOR_ID {
            return Err(unexpected("the file is elsewhere (a CDN)"));
        }
        // These are the kind of the file and the time of change.
        let skipped = u32::deserialize(&mut cursor).and_then(|_| i32::deserialize(&mut cursor));
        skipped.map_err(|_| unexpected("a short answer"))?;
        let at = cursor.pos();
        match answer.get(at..at + 4) {
            Some([254, a, b, c]) => (
                usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16,
                at + 4,
            ),
            Some([short, ..]) => (usize::from(*short), at + 1),
            _ => return Err(unexpected("a short answer")),
        }
    };
    if begin + len > answer.len() {
        return Err(unexpected("a short answer"));
    }
    Ok(Bytes::from(answer).slice(begin..begin + len))
}

#[cfg(test)]
mod tests {
    use grammers_tl_types::Serializable;

    use super::*;

    #[test]
    fn calls_are_as_the_service_wants_them_and_cover_the_range() {
        let ranges = [
            (0, 512 * 1024),
            (512 * 1024, 100),
            (1_000_000, 3_000_000),
            (4095, 2),
            (524_287, 2),
            (67_108_864, 4_321),
            (12_345_678, 1),
        ];
        for (offset, len) in ranges {
            let range = ByteRange::new(offset, len);
            let mut at = None;
            for (offset, limit) in calls_for(range) {
                assert_eq!(offset % CALL_GRAIN, 0);
                assert_eq!(limit % CALL_GRAIN, 0);
                assert_eq!((1 << 20) % limit, 0);
                assert!(limit <= CALL_BYTES);
                assert_eq!(offset >> 20, (offset + limit - 1) >> 20, "{range:?}");
                assert!(at.is_none_or(|at| at == offset));
                at = Some(offset + limit);
            }
            assert!(at.unwrap() >= range.end());
        }
        let block: Vec<_> = calls_for(ByteRange::new(512 * 1024, 512 * 1024)).collect();
        assert_eq!(block, [(512 * 1024, 512 * 1024)]);
    }

    #[test]
    fn bytes_come_out_of_an_answer_of_either_length() {
        for len in [0, 1, 253, 254, 70_000] {
            let file = types::upload::File {
                r#type: grammers_tl_types::enums::storage::FileType::FileUnknown,
                mtime: 7,
                bytes: vec![9; len],
            };
            let answer = grammers_tl_types::enums::upload::File::File(file).to_bytes();
            assert_eq!(file_bytes(answer.clone()).unwrap(), vec![9; len]);
            if len > 0 {
                assert!(file_bytes(answer[..answer.len().min(len)].to_vec()).is_err());
            }
        }
    }
}
