//! Encryption of objects of the log, each as a whole:
//!
//! ```text
//! "tgfsENC1" | length of the wrap u16 LE | wrap | nonce | ciphertext | tag
//! ```
//! Each object has the wrap, so the passphrase opens the library when its mark is lost.

use bytes::Bytes;

use super::aead::{Aead, WrongBytes};
use super::{LOG_KEY_CONTEXT, LOG_NONCE_CONTEXT, MasterKey, NONCE_BYTES, TAG_BYTES};
use crate::remote::{LogKind, LogObject};

/// First bytes of an encrypted object. The last byte is the version. No zstd stream begins with these
/// bytes.
const MAGIC: [u8; 8] = *b"tgfsENC1";
const LENGTH_BYTES: usize = 2;
/// Bytes of an object's name: kind, number, writer.
const NAME_BYTES: usize = 1 + 8 + 16;

/// The form of an object, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm<'a> {
    /// Not encrypted.
    Plain,
    Sealed {
        wrap: &'a [u8],
        /// Bytes of magic, length and wrap.
        header_len: usize,
    },
    /// Encrypted by a later version of the format.
    Newer,
    /// Shorter than its header says.
    Torn,
}

/// Returns the form of an object.
pub fn log_form(bytes: &[u8]) -> LogForm<'_> {
    let Some(rest) = bytes.strip_prefix(&MAGIC[..7]) else {
        return LogForm::Plain;
    };
    let Some(rest) = rest.strip_prefix(&MAGIC[7..]) else {
        return LogForm::Newer;
    };
    let Some((len, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
        return LogForm::Torn;
    };
    let wrap_len = usize::from(u16::from_le_bytes(*len));
    match rest.get(..wrap_len) {
        Some(wrap) if rest.len() - wrap_len >= NONCE_BYTES + TAG_BYTES => LogForm::Sealed {
            wrap,
            header_len: MAGIC.len() + LENGTH_BYTES + wrap_len,
        },
        _ => LogForm::Torn,
    }
}

/// Seals an object. The nonce is a keyed hash of everything that is sealed, so the same object always
/// gives the same bytes. An append may therefore be repeated.
///
/// # Errors
/// When the wrap, or the object (256 GiB), is too long.
pub fn seal_log(
    key: &MasterKey,
    wrap: &[u8],
    object: LogObject,
    plain: &[u8],
) -> Result<Bytes, WrongBytes> {
    let wrap_len = u16::try_from(wrap.len()).map_err(|_| WrongBytes)?;
    let mut sealed = Vec::with_capacity(
        MAGIC.len() + LENGTH_BYTES + wrap.len() + NONCE_BYTES + plain.len() + TAG_BYTES,
    );
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&wrap_len.to_le_bytes());
    sealed.extend_from_slice(wrap);
    let aad = associated(&sealed, object);
    let nonce = nonce_for(key, &aad, plain);
    sealed.extend_from_slice(&nonce);
    let start = sealed.len();
    sealed.extend_from_slice(plain);
    let tag = aead(key).seal(&nonce, &aad, &mut sealed[start..])?;
    sealed.extend_from_slice(&tag);
    Ok(sealed.into())
}

/// Returns the bytes that [`seal_log`] was given. Decrypts in place when nobody else holds the bytes.
///
/// # Errors
/// [`WrongBytes`] when the object was changed, cut, or sealed under another name or key.
pub fn open_log(key: &MasterKey, object: LogObject, bytes: Bytes) -> Result<Bytes, WrongBytes> {
    let LogForm::Sealed { header_len, .. } = log_form(&bytes) else {
        return Err(WrongBytes);
    };
    let aad = associated(&bytes[..header_len], object);
    let mut body = bytes
        .try_into_mut()
        .unwrap_or_else(|shared| (&shared[..]).into());
    let head = body.split_to(header_len + NONCE_BYTES);
    let tag = body.split_off(body.len() - TAG_BYTES);
    let nonce = head[header_len..].try_into().map_err(|_| WrongBytes)?;
    let tag = tag[..].try_into().map_err(|_| WrongBytes)?;
    aead(key).open(nonce, &aad, &mut body, tag)?;
    Ok(body.freeze())
}

fn aead(key: &MasterKey) -> Aead {
    Aead::new(key.derive(LOG_KEY_CONTEXT, &[]))
}

fn nonce_for(key: &MasterKey, aad: &[u8], plain: &[u8]) -> [u8; NONCE_BYTES] {
    let key = key.derive(LOG_NONCE_CONTEXT, &[]);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(aad).update(plain);
    let mut nonce = [0; NONCE_BYTES];
    hasher.finalize_xof().fill(&mut nonce);
    nonce
}

/// Returns the associated data: all bytes before the nonce, and the object's name.
fn associated(header: &[u8], object: LogObject) -> Vec<u8> {
    let kind = match object.kind {
        LogKind::Manifest => 1,
        LogKind::Snapshot => 2,
    };
    let mut aad = Vec::with_capacity(header.len() + NAME_BYTES);
    aad.extend_from_slice(header);
    aad.push(kind);
    aad.extend_from_slice(&object.number.to_le_bytes());
    aad.extend_from_slice(object.writer.as_bytes());
    aad
}
