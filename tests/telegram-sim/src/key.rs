//! The server's RSA key: clients prove with it that they speak to whom they mean.

use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use grammers_crypto::aes;
use grammers_tl_types::Serializable;
use num_bigint::BigUint;
use pkcs1::der::EncodePem;
use pkcs1::{LineEnding, RsaPublicKey, UintRef};

use crate::digest::{sha1, sha256};

// A key pair made for this simulator. It protects nothing, so it is no secret: it is compiled in, so
// that a client's copy of the public half stays right over restarts.
const MODULUS: &str = "9a0b83fc8790b99d0808e003dd3dff0fe951de718a5ebbf0be59a27ec920ab11915ded10d68aa84b9f77cdaa71338de2ddbd8a4523d1a9c3f78ea7527d9e87d62d921bd277536dc4b38a9175ced1aee7616c5c0b5a9710c2cf0b5a391b94fd308dd48811bac2e03e8975cfe4fa233772094efe9379734a79a10876478aef49960c43896940dfa0c33fbfb03f7e0075326b869df071fd32f93f7745cb34c20f178ab565512c322e612e8eb6d35ae7c73637a295f940b2bf321e99aa2e9a8d3118b1fd918a18ef2d89a745015aede8e3f77e59d7edf97a00c3d8fad02584cf27e5907dd46173c19a09599ae16f6fcda4d6d127c15b2b680b78c4f3c5ba991907ff";
const PRIVATE_EXPONENT: &str = "cb256f39bd2303fa2d23b1c8bc20e0c28054919ff4ca59d9c7828d8ddb24ff1f268551f7bd4bbe057c97918764773320d680f9b23ee51041cf068c1777c7737b8fe7f9a8e49406a8e5dcfcac4fc2ab804234e9c2fa049e509f4514069bc92f875dd86f03c7e241b78c5a417fc61fb5cee8025f823c77e8e4883e3b3d688b87e2bbf6ea64c0b4840dfb9adfa19e49f05080aa5b5083b2209d713a53c3ccf069cbde93a562ad71671b1ef6b83a335d1da4ec88afd4dca782fba0cbe1121d23b90d4b6cae08a0c3dbf3cf09da13a066432d2498398df66c40dec6f7169f0c1d9ca0d0da7644bc39df9586e696fcbfbbb14e16867f41a3420f5637d5b1b73943c21";
const PUBLIC_EXPONENT: u32 = 65_537;

/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;
/// Bytes of the modulus, and so of every encrypted block.
const BLOCK_BYTES: usize = 256;

static SERVER_KEY: LazyLock<ServerKey> = LazyLock::new(|| ServerKey {
    modulus: from_hex(MODULUS),
    public_exponent: BigUint::from(PUBLIC_EXPONENT),
    private_exponent: from_hex(PRIVATE_EXPONENT),
});

/// The pair that the handshake uses.
pub(crate) struct ServerKey {
    modulus: BigUint,
    public_exponent: BigUint,
    private_exponent: BigUint,
}

fn from_hex(digits: &str) -> BigUint {
    BigUint::parse_bytes(digits.as_bytes(), 16).unwrap_or_default()
}

/// The one key of all simulated servers.
pub(crate) fn server_key() -> &'static ServerKey {
    &SERVER_KEY
}

impl ServerKey {
    /// The low 64 bits of the SHA-1 of the bare `rsa_public_key`.
    pub(crate) fn fingerprint(&self) -> i64 {
        let mut bare = self.modulus.to_bytes_be().to_bytes();
        bare.extend(self.public_exponent.to_bytes_be().to_bytes());
        let hash = sha1(&[&bare]);
        let mut low = [0; 8];
        low.copy_from_slice(&hash[12..]);
        i64::from_le_bytes(low)
    }

    /// The public half as PKCS#1 PEM, `BEGIN RSA PUBLIC KEY`.
    pub(crate) fn public_pem(&self) -> Result<String> {
        let modulus = self.modulus.to_bytes_be();
        let exponent = self.public_exponent.to_bytes_be();
        let key = RsaPublicKey {
            modulus: UintRef::new(&modulus).context("the modulus is no integer")?,
            public_exponent: UintRef::new(&exponent).context("the exponent is no integer")?,
        };
        key.to_pem(LineEnding::LF)
            .context("the public key cannot be written as PEM")
    }

    /// Opens the data of either padding. Behind the data stands padding of any bytes.
    pub(crate) fn decrypt(&self, encrypted: &[u8]) -> Result<Opened> {
        let block = self.decrypt_block(encrypted)?;
        match Self::undo_padding(&block) {
            Ok(data) => Ok(Opened { data, hash: None }),
            // 255 bytes: SHA-1 of the data, the data, padding. Clients from before RSA_PAD send it.
            Err(_) => {
                let (hash, data) = block[1..].split_at(SHA1_BYTES);
                Ok(Opened {
                    data: data.to_vec(),
                    hash: Some(hash.to_vec()),
                })
            }
        }
    }

    fn decrypt_block(&self, encrypted: &[u8]) -> Result<[u8; BLOCK_BYTES]> {
        ensure!(
            encrypted.len() == BLOCK_BYTES,
            "an RSA block of a wrong size"
        );
        let value = BigUint::from_bytes_be(encrypted);
        ensure!(value < self.modulus, "an RSA block above the modulus");
        left_padded(&value.modpow(&self.private_exponent, &self.modulus))
    }

    /// Undoes `RSA_PAD` (core.telegram.org/mtproto/auth_key, 4.1): the 192 bytes of data and padding.
    fn undo_padding(block: &[u8; BLOCK_BYTES]) -> Result<Vec<u8>> {
        let (masked_key, sealed) = block.split_at(32);
        let mask = sha256(&[sealed]);
        let mut key = [0; 32];
        for (byte, (masked, mask)) in key.iter_mut().zip(masked_key.iter().zip(mask)) {
            *byte = masked ^ mask;
        }
        let mut opened = sealed.to_vec();
        aes::ige_decrypt(&mut opened, &key, &[0; 32]);
        let (reversed, hash) = opened.split_at(192);
        let data: Vec<u8> = reversed.iter().rev().copied().collect();
        ensure!(
            sha256(&[&key, &data]) == hash,
            "an RSA block for another key"
        );
        Ok(data)
    }
}

/// What a client encrypted for the server.
pub(crate) struct Opened {
    /// The data, and padding behind it.
    pub(crate) data: Vec<u8>,
    /// SHA-1 of the data alone, in the older form.
    hash: Option<Vec<u8>>,
}

impl Opened {
    /// Checks that the first `length` bytes are what the client meant. The newer form was checked before.
    pub(crate) fn verify(&self, length: usize) -> Result<()> {
        let data = self.data.get(..length).context("inner data is cut off")?;
        let is_meant = self
            .hash
            .as_ref()
            .is_none_or(|hash| sha1(&[data])[..] == hash[..]);
        ensure!(is_meant, "an RSA block for another key");
        Ok(())
    }
}

/// A number as 256 big-endian bytes.
pub(crate) fn left_padded(number: &BigUint) -> Result<[u8; BLOCK_BYTES]> {
    let bytes = number.to_bytes_be();
    ensure!(bytes.len() <= BLOCK_BYTES, "a number above 2048 bits");
    let mut block = [0; BLOCK_BYTES];
    block[BLOCK_BYTES - bytes.len()..].copy_from_slice(&bytes);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use grammers_crypto::rsa;

    use super::*;

    #[test]
    fn what_a_client_encrypts_comes_out() {
        let key = server_key();
        let public = rsa::Key::new(&key.modulus.to_string(), "65537").expect("a key");
        let sealed = rsa::encrypt_hashed(b"new nonce", &public, &[7; 224]);
        let opened = key.decrypt(&sealed).expect("a block of ours");
        assert_eq!(&opened.data[..9], b"new nonce");
        opened.verify(9).expect("checked by its padding");
        let noise = key.decrypt(&[1; 256]).expect("a block below the modulus");
        assert!(noise.verify(9).is_err());
        assert!(key.decrypt(&[255; 256]).is_err());
        assert!(key.decrypt(&[1; 3]).is_err());
    }

    #[test]
    fn the_older_padding_is_read_too() {
        let key = server_key();
        let mut block = vec![0];
        block.extend(sha1(&[b"new nonce"]));
        block.extend(b"new nonce");
        block.resize(BLOCK_BYTES, 9);
        let number = BigUint::from_bytes_be(&block);
        let sealed = number.modpow(&key.public_exponent, &key.modulus);
        let opened = key
            .decrypt(&left_padded(&sealed).expect("a block"))
            .expect("a block");
        opened.verify(9).expect("the hash is that of the data");
        assert!(opened.verify(8).is_err());
    }

    #[test]
    fn the_pem_is_pkcs1() {
        let pem = server_key().public_pem().expect("a PEM");
        assert!(pem.starts_with("-----BEGIN RSA PUBLIC KEY-----\n"));
    }
}
