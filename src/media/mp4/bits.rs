//! Bit strings of codec headers: reading and writing them, Exp-Golomb codes (ITU-T H.264 §9.1), and
//! emulation prevention (§7.4.1.1).

/// Reader of bits, the most significant first.
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Starts at the first bit of `bytes`.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bits read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Reads one bit; `None` at the end.
    pub fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// Reads a number of `count` bits, at most 32; `None` when the string ends before.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// Skips `count` bits; `None` when the string ends before.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len().checked_mul(8)?).then_some(())
    }

    /// Reads an Exp-Golomb code. For a signed code only the place where it ends matters here.
    pub fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value: u32 = 1;
        for _ in 0..zeros {
            value = value << 1 | u32::from(self.flag()?);
        }
        value.checked_sub(1)
    }
}

/// Writer of bits, the most significant first.
#[derive(Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are used.
    used: u32,
}

impl BitWriter {
    /// Appends the lowest `count` bits of `value`, at most 32.
    pub fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
                self.used = 0;
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used);
            }
            self.used += 1;
        }
    }

    /// Appends the bits of `source` from its position up to bit `end`; `None` when it ends before.
    pub fn copy(&mut self, source: &mut Bits<'_>, end: usize) -> Option<()> {
        while source.position() < end {
            self.put(u32::from(source.flag()?), 1);
        }
        Some(())
    }

    /// Returns the bytes. The last one is filled with zeros.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Removes emulation prevention: a 3 behind two zeros only keeps start codes out.
#[must_use]
pub fn without_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

/// Adds emulation prevention, so that no start code is in the bytes.
#[must_use]
pub fn with_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut guarded = Vec::with_capacity(bytes.len() + 4);
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte <= 3 {
            guarded.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        guarded.push(byte);
    }
    guarded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_as_they_were_written() {
        let mut writer = BitWriter::default();
        writer.put(0b101, 3);
        writer.put(0xffff_0001, 32);
        writer.put(1, 1);
        let bytes = writer.finish();
        let mut bits = Bits::of(&bytes);
        assert_eq!((bits.take(3), bits.take(32)), (Some(5), Some(0xffff_0001)));
        assert_eq!(bits.flag(), Some(true));
        assert_eq!(bits.skip(5), None);
    }

    #[test]
    fn prevention_is_removed_as_it_was_added() {
        let plain = [0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 4, 0, 0];
        let guarded = with_prevention(&plain);
        assert!(
            !guarded
                .windows(3)
                .any(|three| three[..2] == [0, 0] && three[2] < 3)
        );
        assert_eq!(without_prevention(&guarded), plain);
    }
}
