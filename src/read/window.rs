//! Recognition of reads that follow each other, and the amount to fetch ahead of them. Pure arithmetic.

use crate::model::{BLOCK_BYTES, ByteRange};

/// Distance from the end of the last read at which the next one may begin, before and behind, in addition
/// to [`READS_APART`] times its length. The kernel reads ahead in parts of up to 1 MiB that it sends in
/// parallel, so they arrive out of order. A reader that skips a little still wants the bytes that lie
/// ahead.
const NEAR_BACK: u64 = 256 * 1024;
const NEAR_FORWARD: u64 = 512 * 1024;
/// Number of reads that may overtake a late one.
const READS_APART: u64 = 3;
/// Largest read in bytes, of FUSE and of HTTP.
const LARGEST_READ: u64 = 1 << 20;
/// The furthest distance in bytes at which a read of a sequence may begin before the end of the reads so
/// far.
pub const FURTHEST_BACK: u64 = NEAR_BACK + READS_APART * LARGEST_READ;
/// Reads and bytes in a row before anything is fetched ahead. A scanner (ffprobe) reads less in a row.
const READS_IN_A_ROW: u32 = 3;
const BYTES_IN_A_ROW: u64 = 1 << 20;
/// The first window in bytes; it doubles as it is used.
const FIRST_WINDOW: u64 = 1 << 20;

/// One sequence of reads.
#[derive(Debug, Default)]
pub struct Window {
    /// Start of the sequence, and the end of the reads so far.
    from: u64,
    next: u64,
    reads: u32,
    /// Bytes to fetch ahead; 0 while the sequence is too short.
    bytes: u64,
    /// Value of `next` when `bytes` grew last.
    grown_at: u64,
    /// The end of the range that was requested ahead.
    asked_to: u64,
}

/// The consequence of a read for reading ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowStep {
    /// It follows the reads before it: this range is to be fetched now.
    Follows(Option<ByteRange>),
    /// It lies elsewhere: the blocks that were fetched ahead are of no more use.
    Apart,
}

impl Window {
    /// Tells whether a read would follow the reads before it.
    #[must_use]
    pub fn is_near(&self, range: ByteRange) -> bool {
        let apart = READS_APART * range.len.min(LARGEST_READ);
        self.reads > 0
            && range.offset.saturating_add(NEAR_BACK + apart) >= self.next
            && range.offset <= self.next.saturating_add(NEAR_FORWARD + apart)
    }

    /// Records the next read. At most `most` bytes are to be ahead.
    pub fn read(&mut self, range: ByteRange, most: u64) -> WindowStep {
        if !self.is_near(range) {
            let begins = self.reads == 0;
            *self = Self {
                from: range.offset,
                next: range.end(),
                reads: 1,
                ..Self::default()
            };
            return match begins {
                true => WindowStep::Follows(None),
                false => WindowStep::Apart,
            };
        }
        if range.end() > self.next {
            self.next = range.end();
            self.reads = self.reads.saturating_add(1);
        }
        if self.reads < READS_IN_A_ROW || self.next - self.from < BYTES_IN_A_ROW {
            return WindowStep::Follows(None);
        }
        self.grow(most);
        self.asked_to = self.asked_to.max(self.next);
        let until = self.next + self.bytes;
        // The range grows in steps of a block, the unit of fetching. Each lookup of extents costs time.
        if until < self.asked_to + BLOCK_BYTES {
            return WindowStep::Follows(None);
        }
        let want = ByteRange::new(self.asked_to, until - self.asked_to);
        self.asked_to = until;
        WindowStep::Follows(Some(want))
    }

    fn grow(&mut self, most: u64) {
        if self.bytes == 0 {
            self.bytes = FIRST_WINDOW;
            self.grown_at = self.next;
        } else if self.next - self.grown_at >= self.bytes / 2 {
            self.bytes *= 2;
            self.grown_at = self.next;
        }
        self.bytes = self.bytes.min(most);
    }

    /// Records that the bytes from `offset` on were not fetched, so they are requested again.
    pub fn give_back(&mut self, offset: u64) {
        self.asked_to = self.asked_to.min(offset);
    }

    /// Starts over with the first window.
    pub fn shrink(&mut self) {
        self.bytes = 0;
        self.asked_to = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1 << 20;

    /// Returns the range that is wanted ahead at each of the reads.
    fn wanted(reads: &[(u64, u64)], most: u64) -> Vec<Option<(u64, u64)>> {
        let mut window = Window::default();
        reads
            .iter()
            .map(
                |(offset, len)| match window.read(ByteRange::new(*offset, *len), most) {
                    WindowStep::Follows(want) => want.map(|range| (range.offset, range.end())),
                    WindowStep::Apart => None,
                },
            )
            .collect()
    }

    #[test]
    fn three_reads_in_a_row_are_followed_and_the_window_doubles() {
        let reads: Vec<_> = (0..12).map(|n| (n * MIB / 2, MIB / 2)).collect();
        let half = |n: u64| n * MIB / 2;
        let wanted = wanted(&reads, 64 * MIB);
        assert_eq!(wanted[..2], [None, None]);
        assert_eq!(wanted[2], Some((half(3), half(5))), "1 MiB");
        assert_eq!(wanted[3], Some((half(5), half(8))), "2 MiB");
        assert_eq!(wanted[4], Some((half(8), half(9))));
        assert_eq!(wanted[5], Some((half(9), half(14))), "4 MiB");
    }

    #[test]
    fn small_reads_at_the_head_of_a_file_are_not_followed() {
        let probe: Vec<_> = (0..10).map(|n| (n * 32 * KIB, 32 * KIB)).collect();
        assert!(wanted(&probe, 64 * MIB).iter().all(Option::is_none));
        let two_large = [(0, MIB), (MIB, MIB)];
        assert!(wanted(&two_large, 64 * MIB).iter().all(Option::is_none));
        let jumps: Vec<_> = (0..20).map(|n| (n * 9 * MIB, 128 * KIB)).collect();
        assert!(wanted(&jumps, 64 * MIB).iter().all(Option::is_none));
    }

    #[test]
    fn reads_that_the_kernel_sent_out_of_order_are_one_sequence() {
        // Two and three reads are under way. Their sizes are those of an ordinary mount and of one of
        // root's.
        for (together, len) in [(2, 128 * KIB), (2, MIB), (3, 128 * KIB), (3, MIB)] {
            let mut order: Vec<u64> = (0..96).collect();
            for some in order.chunks_mut(together) {
                some.reverse();
            }
            let mut window = Window::default();
            for part in order {
                let step = window.read(ByteRange::new(part * len, len), 64 * MIB);
                assert_ne!(step, WindowStep::Apart, "{together} of {len}: {part}");
            }
            assert!(window.bytes >= 4 * MIB);
        }
    }

    #[test]
    fn a_seek_ends_it_and_the_count_begins_anew() {
        let mut window = Window::default();
        let mut read = |offset| window.read(ByteRange::new(offset, MIB), 64 * MIB);
        (0..8).for_each(|n| assert_ne!(read(n * MIB), WindowStep::Apart));
        assert_eq!(read(500 * MIB), WindowStep::Apart);
        assert_eq!(read(501 * MIB), WindowStep::Follows(None));
        let first = ByteRange::new(503 * MIB, MIB);
        assert_eq!(read(502 * MIB), WindowStep::Follows(Some(first)));
    }

    proptest! {
        /// No byte is asked for twice, none behind the reader, and never more than allowed.
        #[test]
        fn each_byte_ahead_is_asked_for_once(
            lens in proptest::collection::vec(1u64..2 * MIB, 1..200), most in MIB / 2..80 * MIB,
        ) {
            let (mut window, mut at, mut asked) = (Window::default(), 0, 0);
            for len in lens {
                let step = window.read(ByteRange::new(at, len), most);
                at += len;
                let WindowStep::Follows(want) = step else { panic!("a seek") };
                if let Some(want) = want {
                    prop_assert!(want.offset >= asked && want.offset >= at && want.len > 0);
                    prop_assert!(want.end() <= at + most);
                    asked = want.end();
                }
            }
        }
    }
}
