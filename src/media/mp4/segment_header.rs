//! Generated headers of segments: `styp`, `moof`, and the head of `mdat`. They are never stored, so
//! layout 1 is frozen: a changed byte would move every byte behind it in views that players have cached.
//!
//! The size follows from the samples alone. ISO/IEC 14496-12 §8.8, §8.16.2.

use super::boxes;
use super::fragments::Sample;

/// The track's id in `init.mp4` and in every segment.
pub const TRACK_ID: u32 = 1;
/// Bytes of `mfhd` (16), `tfhd` (24), `tfdt` (20), and the headers of `moof` and `traf` (8 each).
const MOOF_FIXED: u64 = 16 + 24 + 20 + 8 + 8;
const STYP_SIZE: u64 = 24;
/// Bytes of the header, flags, sample count and data offset of `trun`.
const TRUN_FIXED: u64 = 8 + 4 + 4 + 4;

/// Fields of `trun`, §8.8.8.
mod trun {
    pub const DATA_OFFSET: u32 = 0x1;
    pub const FIRST_FLAGS: u32 = 0x4;
    pub const DURATION: u32 = 0x100;
    pub const SIZE: u32 = 0x200;
    pub const FLAGS: u32 = 0x400;
    pub const COMPOSITION: u32 = 0x800;
}

/// Returns the fields that the samples need. Sizes are always in the run.
fn fields(samples: &[Sample]) -> u32 {
    let mut fields = trun::DATA_OFFSET | trun::SIZE;
    let Some((first, rest)) = samples.split_first() else {
        return fields;
    };
    if rest.iter().any(|sample| sample.duration != first.duration) {
        fields |= trun::DURATION;
    }
    let common = common_flags(samples);
    if rest.iter().any(|sample| sample.flags != common) {
        fields |= trun::FLAGS;
    } else if first.flags != common {
        fields |= trun::FIRST_FLAGS;
    }
    if samples.iter().any(|sample| sample.composition != 0) {
        fields |= trun::COMPOSITION;
    }
    fields
}

/// Returns the flags of all samples but the first, where those agree.
fn common_flags(samples: &[Sample]) -> u32 {
    samples
        .get(1)
        .or(samples.first())
        .map_or(0, |sample| sample.flags)
}

fn per_sample(fields: u32) -> u64 {
    u64::from((fields & 0xf00).count_ones()) * 4
}

fn moof_size(fields: u32, count: u64) -> u64 {
    let first = if fields & trun::FIRST_FLAGS == 0 {
        0
    } else {
        4
    };
    MOOF_FIXED + TRUN_FIXED + first + per_sample(fields) * count
}

fn data_size(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| u64::from(sample.size)).sum()
}

/// Returns the bytes of the head of `mdat`. A `u32` size reaches to 4 GiB. Above that, the 64-bit form
/// takes 16 bytes.
fn mdat_head_size(data: u64) -> u64 {
    if data + 8 > u64::from(u32::MAX) {
        16
    } else {
        8
    }
}

/// Returns the number of bytes that [`write()`] returns.
#[must_use]
pub fn size(samples: &[Sample]) -> u64 {
    STYP_SIZE
        + moof_size(fields(samples), samples.len() as u64)
        + mdat_head_size(data_size(samples))
}

/// Writes the header of segment `sequence` (from 1), whose first sample decodes at `decode_time` ticks.
#[must_use]
pub fn write(samples: &[Sample], decode_time: u64, sequence: u32) -> Vec<u8> {
    let fields = fields(samples);
    let data = data_size(samples);
    let mdat_head = mdat_head_size(data);
    let first = samples.first().copied().unwrap_or_default();
    let common = common_flags(samples);
    let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let data_offset = moof_size(fields, samples.len() as u64) + mdat_head;

    let mut run = Vec::new();
    push(&mut run, 1 << 24 | fields);
    push(&mut run, count);
    push(&mut run, u32::try_from(data_offset).unwrap_or(u32::MAX));
    if fields & trun::FIRST_FLAGS != 0 {
        push(&mut run, first.flags);
    }
    for sample in samples {
        if fields & trun::DURATION != 0 {
            push(&mut run, sample.duration);
        }
        push(&mut run, sample.size);
        if fields & trun::FLAGS != 0 {
            push(&mut run, sample.flags);
        }
        if fields & trun::COMPOSITION != 0 {
            push(&mut run, sample.composition.cast_unsigned());
        }
    }
    let tfhd = {
        // default-base-is-moof, default duration, default flags
        let mut body = Vec::new();
        for value in [0x02_0028, TRACK_ID, first.duration, common] {
            push(&mut body, value);
        }
        boxes::write(b"tfhd", &[&body])
    };
    let tfdt = boxes::write(b"tfdt", &[&[1, 0, 0, 0], &decode_time.to_be_bytes()]);
    let traf = boxes::write(b"traf", &[&tfhd, &tfdt, &boxes::write(b"trun", &[&run])]);
    let mfhd = boxes::write(b"mfhd", &[&[0; 4], &sequence.to_be_bytes()]);
    let mut header = boxes::write(b"styp", &[b"msdh\0\0\0\0msdhmsix"]);
    header.extend(boxes::write(b"moof", &[&mfhd, &traf]));
    if mdat_head == 16 {
        header.extend(1_u32.to_be_bytes());
        header.extend(b"mdat");
        header.extend((data + 16).to_be_bytes());
    } else {
        push(&mut header, u32::try_from(data + 8).unwrap_or(u32::MAX));
        header.extend(b"mdat");
    }
    header
}

fn push(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend(value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(list: &[(u32, u32, i32, u32)]) -> Vec<Sample> {
        list.iter()
            .map(|&(size, duration, composition, flags)| Sample {
                size,
                duration,
                composition,
                flags,
            })
            .collect()
    }

    const KEY: u32 = 0x0200_0000;
    const DELTA: u32 = 0x0101_0000;

    #[test]
    fn the_size_is_known_before_writing() {
        let cases = [
            samples(&[]),
            samples(&[(1, 2, 0, KEY)]),
            samples(&[(1, 2, 0, KEY), (1, 2, 0, DELTA)]),
            samples(&[(1, 2, 0, KEY), (1, 2, 0, DELTA), (1, 3, 5, KEY)]),
            samples(&[(u32::MAX - 7, 1, 0, KEY)]),
            samples(&[(u32::MAX, 1, 0, KEY), (9, 1, 0, KEY)]),
        ];
        for case in cases {
            assert_eq!(write(&case, 1, 1).len() as u64, size(&case), "{case:?}");
        }
    }

    /// A failure here means that views of released versions would change.
    #[test]
    fn layout_1_is_frozen() {
        let list = samples(&[
            (1000, 512, 1024, KEY),
            (50, 512, 2048, DELTA),
            (60, 512, 0, DELTA),
        ]);
        let hex: String = write(&list, 0x1_0000_0001, 7)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "\
        00000018737479706d736468000000006d7364686d7369780000007c6d6f6f66000000106d666864\
        00000000000000070000006474726166000000187466686400020028000000010000020001010000\
        0000001474666474010000000000000100000001000000307472756e01000a050000000300000084\
        02000000000003e80000040000000032000008000000003c000000000000045e6d646174";
}
