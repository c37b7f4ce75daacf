//! What the Telegram store is made from: application, server, bots, pace.

use std::path::{Path, PathBuf};

use super::{Bot, Secret};
use crate::model::{RateLimit, TombstonePolicy};

/// The data centre of a server that names none, as Telegram's own first one.
const DEFAULT_DC: i32 = 2;
/// Largest file that is read as a key: a public key of 16384 bits takes 3 KiB.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Everything about the Telegram store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramConfig {
    pub api_id: i32,
    pub api_hash: Secret<String>,
    /// `None`: the service itself.
    pub server: Option<ServerConfig>,
    /// At least one; each token once.
    pub bots: Vec<Bot>,
    pub pace: RateLimit,
    pub tombstones: TombstonePolicy,
    /// Posts in a channel from which on it takes no more packs.
    pub rollover: u32,
}

/// A test or self-hosted server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    pub address: ServerAddress,
    pub key_file: PathBuf,
    /// The file's text, PEM.
    pub key: String,
}

/// `[DC@]HOST:PORT`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    pub dc: i32,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
}

impl ServerAddress {
    /// # Errors
    /// How an address looks.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text)
            .ok_or_else(|| format!("{text:?} must be HOST:PORT, or DC@HOST:PORT, e.g. 2@[::1]:443"))
    }

    fn read(text: &str) -> Option<Self> {
        let (dc, address) = match text.split_once('@') {
            Some((dc, address)) => (dc.parse().ok().filter(|dc| *dc > 0)?, address),
            None => (DEFAULT_DC, text),
        };
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                !host.is_empty() && host.chars().all(is_part)
            }
        };
        let host = inner.unwrap_or(host).to_owned();
        is_host.then_some(Self { dc, host, port })
    }
}

/// The text of a key file. What the key is worth is judged by who speaks the protocol.
///
/// # Errors
/// Why it cannot be read, or that it is no PEM text of a public key.
pub(super) fn read_key(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let read = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_BYTES {
        return Err(format!("{shown} is no key file"));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(format!(
            "{shown} holds a private key; tgfs needs the server's public one"
        ));
    }
    match text.contains("PUBLIC KEY-----") {
        true => Ok(text),
        false => Err(format!(
            "{shown} is no public key: it must hold a text that begins with -----BEGIN PUBLIC \
             KEY----- or -----BEGIN RSA PUBLIC KEY-----"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_with_or_without_a_data_centre() {
        let parse = |text| ServerAddress::parse(text).map(|a| (a.dc, a.host, a.port));
        let at = |dc, host: &str, port| Ok((dc, host.to_owned(), port));
        assert_eq!(parse("127.0.0.1:4430"), at(2, "127.0.0.1", 4430));
        assert_eq!(parse("3@mt.example.org:443"), at(3, "mt.example.org", 443));
        assert_eq!(parse("10002@[::1]:443"), at(10002, "::1", 443));
        for text in [
            "", ":443", "host", "host:0", "0@host:1", "x@host:1", "::1:443", "a b:1", "[x]:1",
        ] {
            assert!(parse(text).unwrap_err().contains("HOST:PORT"), "{text}");
        }
    }
}
