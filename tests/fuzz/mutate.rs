//! A small mutator: changes that break parsers, drawn from a number.

/// Longest input.
const MAX_BYTES: usize = 64 << 10;
/// Numbers at the edges of their types.
const EDGES: [u64; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Source of changes; the same number gives the same ones.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }

    /// Returns one of the seeds after some changes.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, seeds);
            input.truncate(MAX_BYTES);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(64)).min(input.len());
        match self.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let byte = self.next() as u8;
                input.insert(at, byte);
            }
            2 => drop(input.drain(at..end.max(at))),
            3 => {
                // A part many times over: loops, nested boxes, openers that are never closed.
                let part = input[at..end.max(at)].to_vec().repeat(1 + self.below(200));
                input.splice(at..at, part);
            }
            4 => input.truncate(at),
            5 => {
                let number = EDGES[self.below(EDGES.len())];
                let len = [1, 2, 4, 8][self.below(4)];
                let bytes = number.to_be_bytes();
                for (offset, byte) in bytes[8 - len..].iter().enumerate() {
                    if let Some(place) = input.get_mut(at + offset) {
                        *place = *byte;
                    }
                }
            }
            6 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let from = self.below(input.len() + 1);
                let part = input[at..end.max(at)].to_vec();
                input.splice(from..from, part);
            }
        }
    }
}
