//! Where the data centres are, and by which key a server proves that it is the one that is meant.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use grammers_session::SessionData;
use num_bigint::BigUint;
use pkcs1::der::Decode;

use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Object identifier of RSA keys in a `PUBLIC KEY` (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: spki::ObjectIdentifier =
    spki::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// An RSA key of a server, in decimal as grammers takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    pub modulus: String,
    pub exponent: String,
}

impl ServerKey {
    /// Reads a PEM text: `RSA PUBLIC KEY` (PKCS #1) or `PUBLIC KEY` (RFC 5280).
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

/// The key within a SubjectPublicKeyInfo (RFC 5280, section 4.1).
fn subject_key(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let info = spki::SubjectPublicKeyInfoRef::from_der(bytes)
        .map_err(|error| format!("it is no public key ({error})"))?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err("its key is no RSA key".into());
    }
    Ok(info.subject_public_key.raw_bytes().to_vec())
}

/// Which server to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// The service itself; grammers knows its addresses and keys.
    Telegram,
    /// A test or self-hosted server. It tells the addresses of its other data centres.
    Own {
        dc: i32,
        address: SocketAddr,
        key: ServerKey,
    },
}

/// Addresses of data centres, completed by what `help.getConfig` says.
#[derive(Debug)]
pub struct DataCentres {
    pub server: Server,
    addresses: Mutex<HashMap<i32, SocketAddr>>,
}

impl DataCentres {
    pub fn new(server: Server) -> Self {
        let addresses = match &server {
            Server::Telegram => SessionData::default()
                .dc_options
                .into_iter()
                .map(|(dc, option)| (dc, SocketAddr::V4(option.ipv4)))
                .collect(),
            Server::Own { dc, address, .. } => HashMap::from([(*dc, *address)]),
        };
        Self {
            server,
            addresses: Mutex::new(addresses),
        }
    }

    pub fn is_service(&self) -> bool {
        self.server == Server::Telegram
    }

    /// Where a bot that never signed in begins.
    pub fn first(&self) -> i32 {
        match &self.server {
            Server::Telegram => SessionData::default().home_dc,
            Server::Own { dc, .. } => *dc,
        }
    }

    pub fn address(&self, dc: i32) -> Result<SocketAddr, RemoteError> {
        let addresses = self.addresses.acquire();
        addresses.get(&dc).copied().ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::Unavailable,
                format!("look for data centre {dc}"),
                "its address is not known",
            )
        })
    }

    /// Takes addresses that the server told; what is known already stays, so that an answer cannot
    /// lead a test anywhere else.
    pub fn learn(&self, told: impl IntoIterator<Item = (i32, SocketAddr)>) {
        let mut addresses = self.addresses.acquire();
        for (dc, address) in told {
            addresses.entry(dc).or_insert(address);
        }
    }
}
