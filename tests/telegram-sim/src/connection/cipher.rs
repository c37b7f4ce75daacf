//! The encryption of messages: core.telegram.org/mtproto/description, MTProto 2.0, the server's side.

use anyhow::{Context, Result, ensure};
use grammers_crypto::aes;

use crate::digest::sha256;

/// Bytes before the encrypted ones: key id and message key.
pub(super) const OUTER_BYTES: usize = 8 + 16;
/// Bytes before the body: salt, session, message id, sequence number, length.
pub(super) const INNER_BYTES: usize = 8 + 8 + 8 + 4 + 4;
/// Bytes of padding at least.
const MIN_PADDING: usize = 12;

/// Which side sends: it selects other bytes of the key.
#[derive(Clone, Copy)]
enum Sender {
    Client = 0,
    Server = 8,
}

fn message_key(key: &[u8; 256], inner: &[u8], sender: Sender) -> [u8; 16] {
    let from = 88 + sender as usize;
    let hash = sha256(&[&key[from..from + 32], inner]);
    let mut middle = [0; 16];
    middle.copy_from_slice(&hash[8..24]);
    middle
}

fn aes_key(key: &[u8; 256], message_key: &[u8; 16], sender: Sender) -> ([u8; 32], [u8; 32]) {
    let from = sender as usize;
    let a = sha256(&[message_key, &key[from..from + 36]]);
    let b = sha256(&[&key[40 + from..76 + from], message_key]);
    let (mut aes, mut iv) = ([0; 32], [0; 32]);
    for (out, first, second) in [(&mut aes, &a, &b), (&mut iv, &b, &a)] {
        out[..8].copy_from_slice(&first[..8]);
        out[8..24].copy_from_slice(&second[8..24]);
        out[24..].copy_from_slice(&first[24..]);
    }
    (aes, iv)
}

/// What stands before the body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: i64,
    pub(super) session: i64,
    pub(super) message_id: i64,
    pub(super) sequence: i32,
}

fn integer<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .context("a message is cut off")
}

/// Decrypts a packet in place. Returns its header and where in the packet its body lies.
pub(super) fn open(packet: &mut [u8], key: &[u8; 256]) -> Result<(Header, std::ops::Range<usize>)> {
    ensure!(
        packet.len() >= OUTER_BYTES + INNER_BYTES + MIN_PADDING
            && (packet.len() - OUTER_BYTES).is_multiple_of(16),
        "a packet of a wrong size"
    );
    let theirs: [u8; 16] = integer(packet, 8)?;
    let (aes, iv) = aes_key(key, &theirs, Sender::Client);
    let inner = &mut packet[OUTER_BYTES..];
    aes::ige_decrypt(inner, &aes, &iv);
    ensure!(
        message_key(key, inner, Sender::Client) == theirs,
        "a packet with a wrong message key"
    );
    let header = Header {
        salt: i64::from_le_bytes(integer(inner, 0)?),
        session: i64::from_le_bytes(integer(inner, 8)?),
        message_id: i64::from_le_bytes(integer(inner, 16)?),
        sequence: i32::from_le_bytes(integer(inner, 24)?),
    };
    let length = usize::try_from(u32::from_le_bytes(integer(inner, 28)?))?;
    let left = inner.len() - INNER_BYTES;
    ensure!(
        length <= left && left - length >= MIN_PADDING && length.is_multiple_of(4),
        "a message of a wrong length"
    );
    let start = OUTER_BYTES + INNER_BYTES;
    Ok((header, start..start + length))
}

/// Encrypts `packet` from `start` on, where room for the outer and the inner header and then the body
/// already stand.
pub(super) fn seal(
    packet: &mut Vec<u8>,
    start: usize,
    key: &[u8; 256],
    key_id: i64,
    header: Header,
) -> Result<()> {
    let body = start + OUTER_BYTES + INNER_BYTES;
    let length = u32::try_from(packet.len() - body)?;
    let unpadded = packet.len() - start - OUTER_BYTES;
    let padded = (unpadded + MIN_PADDING).next_multiple_of(16);
    packet.resize(start + OUTER_BYTES + padded, 0);
    let inner = &mut packet[start + OUTER_BYTES..];
    inner[..8].copy_from_slice(&header.salt.to_le_bytes());
    inner[8..16].copy_from_slice(&header.session.to_le_bytes());
    inner[16..24].copy_from_slice(&header.message_id.to_le_bytes());
    inner[24..28].copy_from_slice(&header.sequence.to_le_bytes());
    inner[28..32].copy_from_slice(&length.to_le_bytes());
    let message_key = message_key(key, inner, Sender::Server);
    let (aes, iv) = aes_key(key, &message_key, Sender::Server);
    aes::ige_encrypt(inner, &aes, &iv);
    packet[start..start + 8].copy_from_slice(&key_id.to_le_bytes());
    packet[start + 8..start + OUTER_BYTES].copy_from_slice(&message_key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};

    use super::*;
    use crate::world::key_id;

    const KEY: [u8; 256] = [3; 256];
    const HEADER: Header = Header {
        salt: 1,
        session: 2,
        message_id: 3,
        sequence: 4,
    };

    #[test]
    fn what_a_client_seals_is_opened() {
        let mut plain = DequeBuffer::with_capacity(100, 100);
        for number in [1_i64, 2, 3] {
            plain.extend(number.to_le_bytes());
        }
        plain.extend(4_i32.to_le_bytes());
        plain.extend(8_i32.to_le_bytes());
        plain.extend(*b"12345678");
        encrypt_data_v2(&mut plain, &AuthKey::from_bytes(KEY));
        let mut packet = plain.as_ref().to_vec();
        let (header, body) = open(&mut packet.clone(), &KEY).expect("a packet");
        assert_eq!(header, HEADER);
        open(&mut packet, &KEY).expect("a packet");
        assert_eq!(&packet[body], b"12345678");
        assert!(
            open(&mut packet, &KEY).is_err(),
            "no longer what was sealed"
        );
        assert!(open(&mut [0; 30], &KEY).is_err());
    }

    #[test]
    fn what_is_sealed_a_client_opens() {
        let mut packet = vec![9; 5 + OUTER_BYTES + INNER_BYTES];
        packet.extend(b"12345678");
        seal(&mut packet, 5, &KEY, key_id(&KEY), HEADER).expect("a packet");
        let inner = decrypt_data_v2(&mut packet[5..], &AuthKey::from_bytes(KEY)).expect("ours");
        assert_eq!(&inner[INNER_BYTES..INNER_BYTES + 8], b"12345678");
        assert_eq!(inner[28], 8);
        assert_eq!(packet[..5], [9; 5]);
    }
}
