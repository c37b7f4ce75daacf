//! The Range header (RFC 9110 §14). One range is answered with 206; several with the whole file,
//! as a server may; what cannot be met or read, with 416.

use crate::model::ByteRange;

/// What to send of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// 200
    Whole,
    /// 206; at least one byte, and inside the file.
    Part(ByteRange),
    /// 416
    Unsatisfiable,
}

/// One `first-last`, `first-` or `-length`, not yet held against a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix { length: u64 },
}

/// Most ranges that are looked at; more are as good as the whole file.
const MAX_RANGES: usize = 64;

/// `value`: the header's bytes, `None` without one. `size`: of the file, in bytes.
pub(super) fn select(value: Option<&[u8]>, size: u64) -> Selection {
    let Some(value) = value else {
        return Selection::Whole;
    };
    let Some((unit, ranges)) = split_once(value, b'=') else {
        return Selection::Whole;
    };
    // RFC 9110 §14.2: a unit that is not understood must be ignored.
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    let mut met = None;
    let mut count = 0_usize;
    for item in ranges.split(|&byte| byte == b',') {
        let item = item.trim_ascii();
        if item.is_empty() {
            // RFC 9110 §5.6.1: empty list elements are legal and mean nothing.
            continue;
        }
        count += 1;
        if count > MAX_RANGES {
            return Selection::Whole;
        }
        let Some(spec) = parse(item) else {
            return Selection::Unsatisfiable;
        };
        met = met.or(resolve(spec, size));
    }
    match (count, met) {
        (_, None) => Selection::Unsatisfiable,
        (1, Some(selection)) => selection,
        (_, Some(_)) => Selection::Whole,
    }
}

fn parse(item: &[u8]) -> Option<Spec> {
    let (first, last) = split_once(item, b'-')?;
    match (first, last) {
        (b"", b"") => None,
        (b"", length) => Some(Spec::Suffix {
            length: number(length)?,
        }),
        (first, b"") => Some(Spec::From {
            first: number(first)?,
            last: None,
        }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From {
                first,
                last: Some(last),
            })
        }
    }
}

fn resolve(spec: Spec, size: u64) -> Option<Selection> {
    match spec {
        Spec::From { first, .. } if first >= size => None,
        Spec::From { first, last } => {
            let last = last.map_or(size - 1, |last| last.min(size - 1));
            Some(Selection::Part(ByteRange::new(first, last - first + 1)))
        }
        Spec::Suffix { length: 0 } => None,
        // RFC 9110 §14.1.2: a suffix longer than the file means all of it; of an empty one there is
        // no range that Content-Range could name.
        Spec::Suffix { .. } if size == 0 => Some(Selection::Whole),
        Spec::Suffix { length } => {
            let length = length.min(size);
            Some(Selection::Part(ByteRange::new(size - length, length)))
        }
    }
}

/// Digits only; a number beyond 64 bits is past the end of any file, so it saturates.
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

    fn part(offset: u64, len: u64) -> Selection {
        Selection::Part(ByteRange::new(offset, len))
    }

    #[test]
    fn the_ranges_of_the_rfc() {
        let table: &[(&str, u64, Selection)] = &[
            ("bytes=0-499", 10_000, part(0, 500)),
            ("bytes=500-999", 10_000, part(500, 500)),
            ("bytes=-500", 10_000, part(9_500, 500)),
            ("bytes=9500-", 10_000, part(9_500, 500)),
            ("bytes=0-0", 10_000, part(0, 1)),
            ("bytes=0-20000", 10_000, part(0, 10_000)),
            ("bytes=-20000", 10_000, part(0, 10_000)),
            ("bytes=9999-", 10_000, part(9_999, 1)),
            ("bytes=10000-", 10_000, Selection::Unsatisfiable),
            ("bytes=-0", 10_000, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=-5", 0, Selection::Whole),
            ("BYTES = 1-2", 10, part(1, 2)),
            ("bytes= 1-2 ,", 10, part(1, 2)),
            ("bytes=0-1,4-5", 10, Selection::Whole),
            ("bytes=0-1,40-50", 10, Selection::Whole),
            ("bytes=30-31,40-50", 10, Selection::Unsatisfiable),
            ("bytes=5-2", 10, Selection::Unsatisfiable),
            ("bytes=abc", 10, Selection::Unsatisfiable),
            ("bytes=--1", 10, Selection::Unsatisfiable),
            ("bytes=+1-2", 10, Selection::Unsatisfiable),
            ("bytes=-", 10, Selection::Unsatisfiable),
            ("bytes=", 10, Selection::Unsatisfiable),
            (
                "bytes=99999999999999999999999-",
                10,
                Selection::Unsatisfiable,
            ),
            ("bytes=2-99999999999999999999999", 10, part(2, 8)),
            ("bytes=-99999999999999999999999", 10, part(0, 10)),
            ("seconds=1-2", 10, Selection::Whole),
            ("nonsense", 10, Selection::Whole),
        ];
        for (value, size, expected) in table {
            assert_eq!(
                select(Some(value.as_bytes()), *size),
                *expected,
                "{value} of {size}"
            );
        }
        assert_eq!(select(None, 10), Selection::Whole);
    }

    proptest! {
        #[test]
        fn a_part_always_lies_inside_the_file(text in "[ -~]{0,40}", size in 0_u64..1000) {
            for value in [text.clone(), format!("bytes={text}")] {
                if let Selection::Part(range) = select(Some(value.as_bytes()), size) {
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
                Selection::Unsatisfiable
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
