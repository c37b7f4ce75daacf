//! Finds the captions that are in the pictures of H.264 and HEVC: CTA-608 and CTA-708 in SEI messages
//! (ITU-T T.35, ATSC A/53 part 4 §6.2.3). It finds which there are, and reads no text.

use std::collections::BTreeSet;

use super::bits::without_prevention;
use crate::model::CaptionChannel;

/// SEI payload that a registered country and provider define (ITU-T H.264 §D.1.6).
const REGISTERED: usize = 4;
/// United States, ATSC, `GA94`, and the type of closed captions.
const ATSC_CAPTIONS: [u8; 8] = [0xb5, 0x00, 0x31, b'G', b'A', b'9', b'4', 0x03];
/// Longest DTVCC packet (CTA-708 §5): its length is 6 bits, in pairs, and 0 means 128.
const LONGEST_PACKET: usize = 128;

/// Fields of an interlaced picture, each with two channels of CTA-608.
const FIELDS: usize = 2;

/// Captions that were seen so far.
#[derive(Debug, Default)]
pub struct CaptionDetector {
    fields: [Field; FIELDS],
    services: BTreeSet<u8>,
    /// The DTVCC packet that is being read, header first.
    packet: Vec<u8>,
}

/// One field of CTA-608.
#[derive(Debug, Default)]
struct Field {
    /// Which of its two channels were told to show captions.
    called: [bool; 2],
    has_text: bool,
    /// True between the start and the end of data that are no captions (XDS).
    is_foreign: bool,
}

impl CaptionDetector {
    /// Examines an SEI unit of a picture. `header` is the number of bytes of the unit's header.
    pub fn take(&mut self, unit: &[u8], header: usize) {
        let bytes = without_prevention(unit.get(header..).unwrap_or_default());
        let mut rest = bytes.as_slice();
        while let Some((kind, payload, behind)) = message(rest) {
            if kind == REGISTERED
                && let Some(captions) = payload.strip_prefix(&ATSC_CAPTIONS)
            {
                self.triples(captions);
            }
            rest = behind;
        }
    }

    /// Examines the user data of a picture of MPEG-2, which carries the same (ATSC A/53 part 4 §6.2.2).
    pub fn take_user_data(&mut self, data: &[u8]) {
        if let Some(captions) = data.strip_prefix(&ATSC_CAPTIONS[3..]) {
            self.triples(captions);
        }
    }

    /// Returns the channels with captions.
    #[must_use]
    pub fn finish(self) -> Vec<CaptionChannel> {
        let mut found = Vec::new();
        for (number, field) in self.fields.iter().enumerate() {
            for (second, is_called) in field.called.iter().enumerate() {
                if *is_called && field.has_text {
                    let channel = u8::try_from(2 * number + second + 1).unwrap_or(u8::MAX);
                    found.push(CaptionChannel::Channel(channel));
                }
            }
        }
        found.extend(self.services.into_iter().map(CaptionChannel::Service));
        found
    }

    /// Reads `cc_data`: a count, a byte that means nothing, and that many triples.
    fn triples(&mut self, captions: &[u8]) {
        let Some((&flags, triples)) = captions.split_first() else {
            return;
        };
        let (processes, count) = (flags & 0x40 != 0, usize::from(flags & 0x1f));
        if !processes {
            return;
        }
        let triples = triples.get(1..).unwrap_or_default();
        for triple in triples.chunks_exact(3).take(count) {
            let (is_valid, kind) = (triple[0] & 4 != 0, triple[0] & 3);
            let pair = [triple[1], triple[2]];
            match kind {
                0 | 1 if is_valid => self.fields[usize::from(kind)].take(pair),
                2 | 3 if is_valid => self.service(pair, kind == 3),
                _ => {}
            }
        }
    }

    /// Takes two bytes of a DTVCC packet (CTA-708 §5, §6).
    fn service(&mut self, pair: [u8; 2], starts: bool) {
        if starts {
            self.packet.clear();
        } else if self.packet.is_empty() {
            return;
        }
        self.packet.extend(pair);
        let Some(&header) = self.packet.first() else {
            return;
        };
        let length = match usize::from(header & 0x3f) {
            0 => LONGEST_PACKET,
            pairs => pairs * 2,
        };
        if self.packet.len() < length {
            return;
        }
        let packet = std::mem::take(&mut self.packet);
        let mut at = 1;
        while let Some(&block) = packet.get(at) {
            let size = usize::from(block & 0x1f);
            at += 1;
            let number = match block >> 5 {
                7 => {
                    let extended = packet.get(at).map_or(0, |byte| byte & 0x3f);
                    at += 1;
                    extended
                }
                number => number,
            };
            if number == 0 || size == 0 {
                break;
            }
            self.services.insert(number);
            at += size;
        }
    }
}

impl Field {
    /// Takes two bytes with odd parity (CTA-608 §5, §8).
    fn take(&mut self, pair: [u8; 2]) {
        let [first, second] = pair.map(|byte| byte & 0x7f);
        match first {
            // The start, or the continuation, of data that are no captions; 15 ends them.
            0x01..=0x0f => self.is_foreign = first != 0x0f,
            0x14 | 0x15 | 0x1c | 0x1d => {
                self.is_foreign = false;
                // Load into memory, roll up two to four rows, paint on.
                if matches!(second, 0x20 | 0x25..=0x27 | 0x29) {
                    self.called[usize::from(first >= 0x18)] = true;
                }
            }
            0x10..=0x1f => self.is_foreign = false,
            0x20..=0x7f => self.has_text |= !self.is_foreign,
            _ => {}
        }
    }
}

/// Splits the first message off: its kind, its payload, and what is behind it (ITU-T H.264 §7.3.2.3.1).
fn message(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let (kind, rest) = number(bytes)?;
    let (size, rest) = number(rest)?;
    let payload = rest.get(..size)?;
    Some((kind, payload, &rest[size..]))
}

/// Reads a number whose bytes of 255 add up.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let last = bytes.get(full)?;
    Some((full * 255 + usize::from(*last), &bytes[full + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an SEI unit of H.264 with these triples.
    fn unit(triples: &[[u8; 3]]) -> Vec<u8> {
        let mut payload = ATSC_CAPTIONS.to_vec();
        payload.extend([0xc0 | triples.len() as u8, 0xff]);
        payload.extend(triples.concat());
        payload.push(0xff);
        let mut unit = vec![6, 4, payload.len() as u8];
        unit.extend(payload);
        unit.push(0x80);
        unit
    }

    fn found(units: &[Vec<u8>]) -> Vec<CaptionChannel> {
        let mut detector = CaptionDetector::default();
        units.iter().for_each(|unit| detector.take(unit, 1));
        detector.finish()
    }

    #[test]
    fn channels_are_found_by_what_they_are_told_to_show() {
        let load = unit(&[[0xfc, 0x94, 0x20]]);
        let text = unit(&[[0xfc, 0xc8, 0x45]]);
        let second = unit(&[[0xfd, 0x9d, 0x25], [0xfd, 0xc8, 0x45]]);
        assert_eq!(found(std::slice::from_ref(&load)), []);
        assert_eq!(found(&[load.clone(), text]), [CaptionChannel::Channel(1)]);
        assert_eq!(found(&[second]), [CaptionChannel::Channel(4)]);
        // Nulls, as in films without captions, and data about the programme.
        let nulls = unit(&[[0xfc, 0x80, 0x80], [0xfd, 0x80, 0x80]]);
        let data = unit(&[[0xfd, 0x01, 0x03], [0xfd, 0xc8, 0x45], [0xfd, 0x8f, 0x10]]);
        assert_eq!(found(&[load, nulls, data]), []);
    }

    #[test]
    fn services_are_found_in_packets_over_several_pictures() {
        // A packet of four pairs: a block of four bytes of service 1, then one of service 9.
        let first = unit(&[[0xff, 0x04, 0x22], [0xfe, b'H', b'i']]);
        let second = unit(&[[0xfe, 0xe1, 0x09], [0xfe, 0x41, 0x00]]);
        assert_eq!(
            found(&[first.clone(), second]),
            [CaptionChannel::Service(1), CaptionChannel::Service(9)]
        );
        assert_eq!(found(&[first]), []);
    }

    #[test]
    fn damaged_units_are_passed_over() {
        let whole = unit(&[[0xff, 0x3f, 0xff], [0xfc, 0x94, 0x20]]);
        for cut in 0..whole.len() {
            assert_eq!(found(&[whole[..cut].to_vec()]), []);
        }
        assert_eq!(found(&[vec![6, 0xff, 0xff, 0xff], vec![]]), []);
    }
}
