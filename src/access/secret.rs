//! Random secrets. Only their digests are kept, so that neither a copy of the state nor the time of a
//! comparison reveals one.

use std::fmt;
use std::io;

/// Random bytes in a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// A new secret in hexadecimal. It goes to its owner once and is kept nowhere.
pub struct SecretText(String);

impl SecretText {
    /// Makes a secret from the system's random numbers.
    ///
    /// # Errors
    /// When the system has none.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }
    /// Returns the secret itself, for its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
    /// Returns the digest that is kept in place of the secret.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        secret_digest(&self.0)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Returns the digest of a secret that somebody shows. Digests are compared in constant time.
#[must_use]
pub fn secret_digest(shown: &str) -> blake3::Hash {
    blake3::hash(shown.as_bytes())
}
