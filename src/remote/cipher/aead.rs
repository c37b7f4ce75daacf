//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): HChaCha20 makes a key from the nonce's first 16
//! bytes, and ChaCha20-Poly1305 (RFC 8439) encrypts with that key and the other 8. It is composed here
//! because ring takes half the time of the crate that has all of it; docs/adr/0005 has figures.

use chacha20::cipher::consts::U10;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{KEY_BYTES, NONCE_BYTES, TAG_BYTES};

/// Error of bytes that were not sealed with this key, nonce and associated data. When sealing, it means
/// that there are more bytes than ChaCha20 can encrypt (256 GiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongBytes;

/// XChaCha20-Poly1305 under one key.
#[derive(Clone)]
pub struct Aead(Zeroizing<[u8; KEY_BYTES]>);

impl Aead {
    pub fn new(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(key)
    }

    /// Encrypts in place and returns the tag. A nonce must never be used for other bytes.
    ///
    /// # Errors
    /// [`WrongBytes`] when there are too many bytes.
    pub fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], WrongBytes> {
        let (key, nonce) = self.for_nonce(nonce)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), bytes)
            .map_err(|_| WrongBytes)?;
        tag.as_ref().try_into().map_err(|_| WrongBytes)
    }

    /// Decrypts in place. After an error the bytes are unusable.
    ///
    /// # Errors
    /// [`WrongBytes`].
    pub fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> Result<(), WrongBytes> {
        let (key, nonce) = self.for_nonce(nonce)?;
        key.open_in_place_separate_tag(nonce, Aad::from(associated), tag.into(), bytes, 0..)
            .map_err(|_| WrongBytes)?;
        Ok(())
    }

    fn for_nonce(&self, nonce: &[u8; NONCE_BYTES]) -> Result<(LessSafeKey, Nonce), WrongBytes> {
        let (head, tail) = nonce.split_at(16);
        let key = chacha20::hchacha::<U10>((&*self.0).into(), head.into());
        let key = Zeroizing::new(<[u8; KEY_BYTES]>::from(key));
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map_err(|_| WrongBytes)?;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(tail);
        Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce)))
    }
}
