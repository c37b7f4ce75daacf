//! The Range header (RFC 9110 §14). The answer to one range is 206; to several, the whole file, which the
//! RFC allows; to a malformed or unsatisfiable one, 416.

use crate::model::ByteRange;

/// Part of a file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeSelection {
    /// 200
    Whole,
    /// 206; at least one byte, and inside the file.
    Part(ByteRange),
    /// 416
    Unsatisfiable,
}

/// One `first-last`, `first-` or `-length`, before it is applied to a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RangeSpec {
    From { first: u64, last: Option<u64> },
    Suffix { length: u64 },
}

/// Maximum of ranges in a header; with more, the whole file is sent.
const MAX_RANGES: usize = 64;

/// Returns the part of a file of `size` bytes that a request selects. `value` is its Range header.
pub(super) fn select(value: Option<&[u8]>, size: u64) -> RangeSelection {
    let Some(value) = value else {
        return RangeSelection::Whole;
    };
    let Some((unit, ranges)) = split_once(value, b'=') else {
        return RangeSelection::Whole;
    };
    // RFC 9110 §14.2: unknown units must be ignored.
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return RangeSelection::Whole;
    }
    let mut met = None;
    let mut count = 0_usize;
    for item in ranges.split(|&byte| byte == b',') {
        let item = item.trim_ascii();
        if item.is_empty() {
            // RFC 9110 §5.6.1: empty list elements are legal and ignored.
            continue;
        }
        count += 1;
        if count > MAX_RANGES {
            return RangeSelection::Whole;
        }
        let Some(spec) = parse(item) else {
            return RangeSelection::Unsatisfiable;
        };
        met = met.or(resolve(spec, size));
    }
    match (count, met) {
        (_, None) => RangeSelection::Unsatisfiable,
        (1, Some(selection)) => selection,
        (_, Some(_)) => RangeSelection::Whole,
    }
}

fn parse(item: &[u8]) -> Option<RangeSpec> {
    let (first, last) = split_once(item, b'-')?;
    match (first, last) {
        (b"", b"") => None,
        (b"", length) => Some(RangeSpec::Suffix {
            length: number(length)?,
        }),
        (first, b"") => Some(RangeSpec::From {
            first: number(first)?,
            last: None,
        }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeSpec::From {
                first,
                last: Some(last),
            })
        }
    }
}

fn resolve(spec: RangeSpec, size: u64) -> Option<RangeSelection> {
    match spec {
        RangeSpec::From { first, .. } if first >= size => None,
        RangeSpec::From { first, last } => {
            let last = last.map_or(size - 1, |last| last.min(size - 1));
            Some(RangeSelection::Part(ByteRange::new(
                first,
                last - first + 1,
            )))
        }
        RangeSpec::Suffix { length: 0 } => None,
        // RFC 9110 §14.1.2: a suffix longer than the file selects all of it. Content-Range cannot name a
        // part of an empty file.
        RangeSpec::Suffix { .. } if size == 0 => Some(RangeSelection::Whole),
        RangeSpec::Suffix { length } => {
            let length = length.min(size);
            Some(RangeSelection::Part(ByteRange::new(size - length, length)))
        }
    }
}

/// Reads a number of digits. One above 64 bits is beyond the end of any file, so it saturates.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|&byte| byte == at)?;
    Some((&text[..position], &text[position + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(offset: u64, len: u64) -> RangeSelection {
        RangeSelection::Part(ByteRange::new(offset, len))
    }

    #[test]
    fn the_ranges_of_the_rfc() {
        let table: &[(&str, u64, RangeSelection)] = &[
            ("bytes=0-499", 10_000, part(0, 500)),
            ("bytes=500-999", 10_000, part(500, 500)),
            ("bytes=-500", 10_000, part(9_500, 500)),
            ("bytes=9500-", 10_000, part(9_500, 500)),
            ("bytes=0-0", 10_000, part(0, 1)),
            ("bytes=0-20000", 10_000, part(0, 10_000)),
            ("bytes=-20000", 10_000, part(0, 10_000)),
            ("bytes=9999-", 10_000, part(9_999, 1)),
            ("bytes=10000-", 10_000, RangeSelection::Unsatisfiable),
            ("bytes=-0", 10_000, RangeSelection::Unsatisfiable),
            ("bytes=0-", 0, RangeSelection::Unsatisfiable),
            ("bytes=-5", 0, RangeSelection::Whole),
            ("BYTES = 1-2", 10, part(1, 2)),
            ("bytes= 1-2 ,", 10, part(1, 2)),
            ("bytes=0-1,4-5", 10, RangeSelection::Whole),
            ("bytes=0-1,40-50", 10, RangeSelection::Whole),
            ("bytes=30-31,40-50", 10, RangeSelection::Unsatisfiable),
            ("bytes=5-2", 10, RangeSelection::Unsatisfiable),
            ("bytes=abc", 10, RangeSelection::Unsatisfiable),
            ("bytes=--1", 10, RangeSelection::Unsatisfiable),
            ("bytes=+1-2", 10, RangeSelection::Unsatisfiable),
            ("bytes=-", 10, RangeSelection::Unsatisfiable),
            ("bytes=", 10, RangeSelection::Unsatisfiable),
            (
                "bytes=99999999999999999999999-",
                10,
                RangeSelection::Unsatisfiable,
            ),
            ("bytes=2-99999999999999999999999", 10, part(2, 8)),
            ("bytes=-99999999999999999999999", 10, part(0, 10)),
            ("seconds=1-2", 10, RangeSelection::Whole),
            ("nonsense", 10, RangeSelection::Whole),
        ];
        for (value, size, expected) in table {
            assert_eq!(
                select(Some(value.as_bytes()), *size),
                *expected,
                "{value} of {size}"
            );
        }
        assert_eq!(select(None, 10), RangeSelection::Whole);
    }

    proptest! {
        #[test]
        fn a_part_always_lies_inside_the_file(text in "[ -~]{0,40}", size in 0_u64..1000) {
            for value in [text.clone(), format!("bytes={text}")] {
                if let RangeSelection::Part(range) = select(Some(value.as_bytes()), size) {
                    prop_assert!(range.len > 0 && range.end() <= size);
                }
            }
        }

        #[test]
        fn a_range_selects_what_a_slice_would(
            first in 0_u64..2000, extra in 0_u64..2000, size in 1_u64..1500,
        ) {
            let value = format!("bytes={first}-{}", first + extra);
            let last = (first + extra).min(size - 1);
            let expected = if first < size {
                part(first, last + 1 - first)
            } else {
                RangeSelection::Unsatisfiable
            };
            prop_assert_eq!(select(Some(value.as_bytes()), size), expected);
        }

        #[test]
        fn a_suffix_is_the_end(length in 1_u64..u64::MAX, size in 1_u64..u64::MAX) {
            let value = format!("bytes=-{length}");
            let length = length.min(size);
            prop_assert_eq!(select(Some(value.as_bytes()), size), part(size - length, length));
        }
    }
}
