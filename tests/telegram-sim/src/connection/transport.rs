//! The transports of a client: how packets lie in the stream of bytes
//! (core.telegram.org/mtproto/mtproto-transports).

use anyhow::{Context, Result, ensure};

/// Bytes that stand free before a payload that is to be sent: enough for the head of any transport.
pub(super) const HEAD_BYTES: usize = 8;
/// Bytes of a packet at most: a container with a few parts of 512 KiB fits.
const MAX_PACKET_BYTES: usize = 4 * 1024 * 1024;
/// First byte of an abridged stream.
pub(super) const ABRIDGED: u8 = 0xef;
/// First bytes of the two intermediate streams.
const INTERMEDIATE: [u8; 4] = [0xee; 4];
const PADDED: [u8; 4] = [0xdd; 4];
/// Words of four bytes from which an abridged length takes three more bytes.
const LONG_WORDS: usize = 0x7f;
/// Bit with which a client asks for a quick acknowledgement, which servers need not give.
const QUICK_ACK: u32 = 1 << 31;

/// A transport, which the first bytes of a client choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Length, count, payload, CRC-32.
    Full,
    /// Length in words, payload.
    Abridged,
    /// Length, payload.
    Intermediate,
    /// Length, payload, up to 15 bytes of padding.
    Padded,
}

impl Transport {
    /// Reads the choice in the first four bytes of a stream that is not abridged. Those of a full one belong
    /// to its first packet.
    pub(super) fn chosen(first: [u8; 4]) -> Self {
        match first {
            INTERMEDIATE => Self::Intermediate,
            PADDED => Self::Padded,
            _ => Self::Full,
        }
    }

    /// Returns where in `packet`, whose first [`HEAD_BYTES`] are free, the packet begins once its head is
    /// written. `behind` is the number of bytes that follow later and count.
    pub(super) fn write_head(self, packet: &mut [u8], count: u32, behind: usize) -> Result<usize> {
        let payload = packet.len() - HEAD_BYTES;
        match self {
            Self::Full => {
                let length = u32::try_from(packet.len() + behind)?;
                packet[..4].copy_from_slice(&length.to_le_bytes());
                packet[4..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
                Ok(0)
            }
            Self::Abridged => {
                ensure!(payload.is_multiple_of(4), "an odd payload");
                let words = payload / 4;
                if words < LONG_WORDS {
                    packet[7] = u8::try_from(words)?;
                    return Ok(7);
                }
                let long = u32::try_from(words << 8)? | u32::try_from(LONG_WORDS)?;
                packet[4..HEAD_BYTES].copy_from_slice(&long.to_le_bytes());
                Ok(4)
            }
            Self::Intermediate | Self::Padded => {
                let length = u32::try_from(payload)?;
                packet[4..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
                Ok(4)
            }
        }
    }

    /// Returns the payload without the padding that only this transport knows.
    pub(super) fn unpadded(self, payload: &mut Vec<u8>) -> Result<()> {
        if self != Self::Padded {
            return Ok(());
        }
        let key = payload
            .first_chunk::<8>()
            .context("a packet without a key")?;
        let length = match i64::from_le_bytes(*key) {
            0 => {
                let length = payload
                    .get(16..20)
                    .and_then(|bytes| bytes.first_chunk::<4>());
                let length = u32::from_le_bytes(*length.context("a plain packet is cut off")?);
                20_usize.checked_add(usize::try_from(length)?)
            }
            // The key and the message key stand before whole blocks of 16 bytes.
            _ => payload
                .len()
                .checked_sub(24)
                .map(|rest| 24 + rest / 16 * 16),
        };
        let length = length.context("a packet is cut off")?;
        ensure!(length <= payload.len(), "a packet is cut off");
        payload.truncate(length);
        Ok(())
    }
}

/// Checks the length of a packet before anything is allocated for it.
pub(super) fn checked_length(length: u32) -> Result<usize> {
    let length = usize::try_from(length & !QUICK_ACK)?;
    ensure!(length <= MAX_PACKET_BYTES, "a packet of {length} bytes");
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_choose() {
        assert_eq!(Transport::chosen([0xee; 4]), Transport::Intermediate);
        assert_eq!(Transport::chosen([0xdd; 4]), Transport::Padded);
        assert_eq!(Transport::chosen([40, 0, 0, 0]), Transport::Full);
    }

    #[test]
    fn heads_are_as_short_as_each_transport_wants_them() {
        let mut short = vec![0; HEAD_BYTES + 40];
        assert_eq!(
            Transport::Abridged.write_head(&mut short, 0, 0).ok(),
            Some(7)
        );
        assert_eq!(short[7], 10);
        let mut long = vec![0; HEAD_BYTES + 0x1234 * 4];
        assert_eq!(
            Transport::Abridged.write_head(&mut long, 0, 0).ok(),
            Some(4)
        );
        assert_eq!(long[4..8], [0x7f, 0x34, 0x12, 0]);
        assert_eq!(
            Transport::Intermediate.write_head(&mut short, 0, 0).ok(),
            Some(4)
        );
        assert_eq!(short[4..8], [40, 0, 0, 0]);
    }

    #[test]
    fn padding_is_dropped() {
        let mut plain = vec![0; 16];
        plain.extend(4_u32.to_le_bytes());
        plain.extend([1, 2, 3, 4, 9, 9, 9]);
        Transport::Padded.unpadded(&mut plain).expect("a packet");
        assert_eq!(plain.len(), 24);
        let mut sealed = vec![7; 24 + 32 + 15];
        Transport::Padded.unpadded(&mut sealed).expect("a packet");
        assert_eq!(sealed.len(), 24 + 32);
        assert!(Transport::Padded.unpadded(&mut vec![0; 9]).is_err());
    }
}
