//! Hashes and random bytes, as MTProto uses them.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Result, anyhow};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// SHA-1 over the pieces.
pub(crate) fn sha1(pieces: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new();
    for piece in pieces {
        hash.update(piece);
    }
    hash.finalize().into()
}

/// SHA-256 over the pieces.
pub(crate) fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    hash.finalize().into()
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random bytes: {error}"))?;
    Ok(bytes)
}

/// A number that depends on every part of `subject`, the same in every run: access hashes and the like.
pub(crate) fn stable_hash(subject: impl Hash) -> i64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish().cast_signed()
}
