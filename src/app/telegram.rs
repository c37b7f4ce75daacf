//! Conversion of the settings about Telegram into those of the remote.

use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::config::{Config, ServerSettings, StoreConfig, TelegramSettings};
use crate::remote::telegram::{
    ApiId, BotSettings, BotToken, HiddenText, Publicity, ServerKey, TelegramRemoteSettings,
    TelegramServer,
};

/// Returns the mistake in the settings that only the remote can find. Needs no network.
#[must_use]
pub fn check_settings(config: &Config) -> Option<String> {
    let StoreConfig::Telegram(telegram) = &config.store else {
        return None;
    };
    server_key(telegram.server.as_ref()?).err()
}

fn server_key(server: &ServerSettings) -> Result<ServerKey, String> {
    ServerKey::from_pem(&server.key).map_err(|reason| {
        format!(
            "TELEGRAM_SERVER_KEY: {} cannot be used: {reason}",
            server.key_file.display()
        )
    })
}

/// Converts the settings. Blocking: looks up the name of the server, if it has one.
///
/// # Errors
/// A sentence for the user about the server's key or address.
pub fn settings(telegram: &TelegramSettings) -> Result<TelegramRemoteSettings, String> {
    let server = match &telegram.server {
        None => TelegramServer::Telegram,
        Some(server) => TelegramServer::Own {
            dc: server.address.dc,
            address: address_of(server)?,
            key: server_key(server)?,
        },
    };
    let bots = telegram.bots.iter().map(|bot| BotSettings {
        number: bot.number,
        token: BotToken::new(bot.token.expose()),
        chat: bot.chat_id.clone(),
    });
    Ok(TelegramRemoteSettings {
        api: ApiId {
            id: telegram.api_id,
            hash: HiddenText::new(telegram.api_hash.expose()),
        },
        server,
        bots: bots.collect(),
        rate_limit: telegram.pace,
        tombstones: telegram.tombstones,
        rollover: telegram.rollover,
        publicity: Publicity::Matters,
    })
}

fn address_of(server: &ServerSettings) -> Result<SocketAddr, String> {
    let (host, port) = (server.address.host.as_str(), server.address.port);
    let unknown = |reason: String| {
        format!(
            "TELEGRAM_SERVER: the host {host} cannot be looked up ({reason}); write its IP address"
        )
    };
    let mut found = (host, port)
        .to_socket_addrs()
        .map_err(|error| unknown(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| unknown("it has no address".into()))
}
