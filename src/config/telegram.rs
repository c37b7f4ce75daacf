//! The Telegram store: application, server, bots, pace.

use std::path::PathBuf;

use super::bots::{BotConfig, ConfiguredBots};
use super::reader::SettingReader;
use super::secret::Secret;
use super::value::SettingValue;
use crate::model::{RateLimit, TombstonePolicy};

/// Data centre of a server address that names none. It is Telegram's own first one.
const DEFAULT_DC: i32 = 2;

/// Everything about the Telegram store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramSettings {
    /// Id of the application, from <https://my.telegram.org>.
    pub api_id: i32,
    /// From the same page.
    pub api_hash: Secret<String>,
    /// Server of the user's own; `None` for the service itself.
    pub server: Option<ServerSettings>,
    /// At least one bot; each token occurs once.
    pub bots: Vec<BotConfig>,
    /// Rate of posts to one channel.
    pub pace: RateLimit,
    /// Treatment of deleted posts that are too old for a bot to delete.
    pub tombstones: TombstonePolicy,
    /// Number of posts from which on a channel takes no more packs.
    pub rollover: u32,
}

/// A test or self-hosted server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Data centre, host and port.
    pub address: ServerAddress,
    /// An absolute path.
    pub key_file: PathBuf,
    /// The file's text, PEM.
    pub key: String,
}

/// `[DC@]HOST:PORT`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Number of the data centre.
    pub dc: i32,
    /// A name, or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl TelegramSettings {
    /// Reads everything but the server. Missing values are reported, and replaced by empty ones.
    pub(super) fn read(
        reader: &mut SettingReader<'_>,
        configured: ConfiguredBots,
        server: Option<ServerSettings>,
    ) -> Self {
        reader.problems.extend(configured.problems);
        reader.warnings.extend(configured.warnings);
        let api_id = match reader.settings.value("TELEGRAM_API_ID") {
            Some(Ok(SettingValue::Count(id))) => i32::try_from(*id).unwrap_or_default(),
            Some(_) => {
                reader.problem(
                    "TELEGRAM_API_ID",
                    "must be the number that https://my.telegram.org shows",
                );
                0
            }
            None => 0,
        };
        let missing: Vec<_> = ["TELEGRAM_API_ID", "TELEGRAM_API_HASH"]
            .into_iter()
            .filter(|name| reader.settings.explicit(name).is_none())
            .collect();
        if !missing.is_empty() {
            reader.problems.push(format!(
                "bots are configured without {}: get both at https://my.telegram.org (API \
                 development tools)",
                missing.join(" and ")
            ));
        }
        let paces = [
            ("gentle", RateLimit::Gentle),
            ("normal", RateLimit::Normal),
            ("fast", RateLimit::Fast),
        ];
        Self {
            api_id,
            api_hash: Secret::new(reader.text("TELEGRAM_API_HASH").unwrap_or_default()),
            server,
            bots: configured.bots,
            pace: reader
                .choice("TGFS_PACE", &paces)
                .unwrap_or(RateLimit::Normal),
            tombstones: match reader.is_on("TGFS_TOMBSTONE") {
                true => TombstonePolicy::Write,
                false => TombstonePolicy::Leave,
            },
            rollover: reader.count("TGFS_ROLLOVER"),
        }
    }

    /// Reads a server of the user's own, which proves itself by its key.
    pub(super) fn read_server(reader: &mut SettingReader<'_>) -> Option<ServerSettings> {
        let address = reader.parsed("TELEGRAM_SERVER", ServerAddress::parse);
        let is_set = |name: &str| reader.settings.explicit(name).is_some();
        match (is_set("TELEGRAM_SERVER"), is_set("TELEGRAM_SERVER_KEY")) {
            (true, false) => reader.problem(
                "TELEGRAM_SERVER",
                "goes only together with TELEGRAM_SERVER_KEY, the file with that server's public \
                 key",
            ),
            (false, true) => reader.problem(
                "TELEGRAM_SERVER_KEY",
                "goes only together with TELEGRAM_SERVER; Telegram's own key needs no setting",
            ),
            (true, true) | (false, false) => {}
        }
        match reader.value("TELEGRAM_SERVER_KEY")? {
            SettingValue::KeyFile { path, pem } => Some(ServerSettings {
                address: address?,
                key_file: path.clone(),
                key: pem.clone(),
            }),
            _ => None,
        }
    }
}

impl ServerAddress {
    /// Parses an address.
    ///
    /// # Errors
    /// The expected form.
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
