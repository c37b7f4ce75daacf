//! Keys of the cipher of one packet
//! (<https://core.telegram.org/mtproto/description#defining-aes-key-and-initialization-vector>).

use ring::digest::{Context, SHA256};

use super::auth_key::AuthKeyBytes;

/// Sender of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketSender {
    /// This program.
    Client,
    /// The service.
    Server,
}

impl PacketSender {
    /// Returns `x` of the formulas.
    const fn x(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 8,
        }
    }
}

/// Key and initialization vector of AES in IGE mode.
pub struct PacketKey {
    /// Key of AES.
    pub key: [u8; 32],
    /// Initialization vector.
    pub vector: [u8; 32],
}

impl PacketKey {
    /// Derives the key of a packet.
    pub fn new(key: &AuthKeyBytes, message_key: &[u8], sender: PacketSender) -> Self {
        let x = sender.x();
        let a = sha256(&[message_key, &key[x..x + 36]]);
        let b = sha256(&[&key[40 + x..40 + x + 36], message_key]);
        let joined = |first: &[u8; 32], second: &[u8; 32]| {
            let mut bytes = *first;
            bytes[8..24].copy_from_slice(&second[8..24]);
            bytes
        };
        Self {
            key: joined(&a, &b),
            vector: joined(&b, &a),
        }
    }
}

/// Returns the message key of a packet, which says whether its text is whole.
pub fn message_key(key: &AuthKeyBytes, text: &[u8], sender: PacketSender) -> [u8; 16] {
    let x = sender.x();
    let large = sha256(&[&key[88 + x..88 + x + 32], text]);
    let mut middle = [0; 16];
    middle.copy_from_slice(&large[8..24]);
    middle
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
