//! The server that the bots talk to, and the key by which it proves its identity.

use std::net::SocketAddr;

use num_bigint::BigUint;
use pkcs1::der::Decode;

/// Object identifier of RSA keys in a `PUBLIC KEY` (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: spki::ObjectIdentifier =
    spki::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// RSA public key of a server, in the decimal form that grammers takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// Decimal digits.
    pub modulus: String,
    /// Decimal digits.
    pub exponent: String,
}

impl ServerKey {
    /// Reads a PEM text: `RSA PUBLIC KEY` (PKCS #1) or `PUBLIC KEY` (RFC 5280).
    ///
    /// # Errors
    /// A sentence for the user about what is wrong with the text.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let (label, bytes) = pkcs1::der::Document::from_pem(text)
            .map_err(|error| format!("it is no PEM text ({error})"))?;
        let key = match label {
            "RSA PUBLIC KEY" => bytes.as_bytes().to_vec(),
            "PUBLIC KEY" => subject_key(bytes.as_bytes())?,
            other => return Err(format!("it holds a {other}, not a PUBLIC KEY")),
        };
        let key = pkcs1::RsaPublicKey::from_der(&key)
            .map_err(|error| format!("it holds no RSA key ({error})"))?;
        let decimal = |bytes: &[u8]| BigUint::from_bytes_be(bytes).to_string();
        Ok(Self {
            modulus: decimal(key.modulus.as_bytes()),
            exponent: decimal(key.public_exponent.as_bytes()),
        })
    }
}

/// Returns the key within a SubjectPublicKeyInfo (RFC 5280, section 4.1).
fn subject_key(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let info = spki::SubjectPublicKeyInfoRef::from_der(bytes)
        .map_err(|error| format!("it is no public key ({error})"))?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err("its key is no RSA key".into());
    }
    Ok(info.subject_public_key.raw_bytes().to_vec())
}

/// Server that the bots talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TelegramServer {
    /// The service itself; grammers knows its addresses and keys.
    Telegram,
    /// A test server or a self-hosted one, which sends the addresses of its other data centres.
    Own {
        /// Number of the data centre at `address`.
        dc: i32,
        /// Address that it listens on.
        address: SocketAddr,
        /// Key of all its data centres.
        key: ServerKey,
    },
}
