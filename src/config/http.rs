//! The HTTP gateway.

use std::net::SocketAddr;

use super::layers::ValueOrigin;
use super::reader::SettingReader;
use crate::model::{PublicScheme, TlsFiles};

/// The flag whose value may hold a port, or be `off`.
const HTTP_FLAG: &str = "--http";

/// The address that the gateway listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpBind {
    /// No gateway.
    Off,
    /// A TCP address.
    At {
        /// A name, or an address without brackets.
        host: String,
        /// 0: any free one.
        port: u16,
    },
}

/// Requirement of the token for callers from beyond loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTrust {
    /// They need the token.
    Token,
    /// Everyone may do everything.
    Open,
}

/// Everything about the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The address that it listens on.
    pub bind: HttpBind,
    /// LOCAL_HOST as written: a Host header that is ours.
    pub local_host: String,
    /// Host of public URLs, with a port if it has one.
    pub public_domain: Option<String>,
    /// Scheme of public URLs.
    pub public_scheme: PublicScheme,
    /// The certificate files; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Requirement of the token for callers from beyond loopback.
    pub trust: HttpTrust,
}

impl HttpSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        let local_host = reader.text("LOCAL_HOST").unwrap_or_default();
        let port: u16 = reader.count("LOCAL_PORT");
        let is_flag = reader.settings.origin("LOCAL_HOST") == ValueOrigin::Flag(HTTP_FLAG);
        let bind = HttpBind::parse(&local_host, port).map(|bind| match bind {
            // The host setting names no port, so a number in it would be read as one.
            HttpBind::At { host, .. } if !is_flag => HttpBind::At { host, port },
            bind => bind,
        });
        let bind = bind.unwrap_or_else(|problem| {
            reader.problem("LOCAL_HOST", &problem);
            HttpBind::Off
        });
        let local_host = match (&bind, is_flag) {
            (HttpBind::At { host, .. }, true) => host.clone(),
            (HttpBind::Off, true) => "127.0.0.1".to_owned(),
            (_, false) => local_host,
        };
        Self {
            bind,
            local_host,
            public_domain: reader.parsed("PUBLIC_DOMAIN", parse_domain),
            public_scheme: match reader.is_on("FORCE_HTTPS") {
                true => PublicScheme::Https,
                false => PublicScheme::AsServed,
            },
            tls: read_tls(reader),
            trust: match reader.is_on("TGFS_HTTP_OPEN") {
                true => HttpTrust::Open,
                false => HttpTrust::Token,
            },
        }
    }
}

fn read_tls(reader: &mut SettingReader<'_>) -> Option<TlsFiles> {
    match (reader.path("SSL_CERT_PATH"), reader.path("SSL_KEY_PATH")) {
        (Some(certificates), Some(key)) => Some(TlsFiles { certificates, key }),
        (None, None) => None,
        _ => {
            reader.problem(
                "SSL_CERT_PATH",
                "goes only together with SSL_KEY_PATH; set both",
            );
            None
        }
    }
}

/// Parses a host, perhaps with a port; users of the older system also wrote a scheme before it.
fn parse_domain(text: &str) -> Result<String, String> {
    let host = text
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let host = host.trim_end_matches('/');
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    match !host.is_empty() && host.chars().all(is_host) {
        true => Ok(host.to_owned()),
        false => Err(format!(
            "{text:?} must be a host name, e.g. films.example.org"
        )),
    }
}

impl HttpBind {
    /// Parses the value of `--http`: `off`, `PORT`, `HOST`, `HOST:PORT`, `[V6]:PORT`.
    ///
    /// # Errors
    /// The expected form of an address.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let (host, port) = (address.ip().to_string(), address.port());
            return Ok(Self::At { host, port });
        }
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            let host = "127.0.0.1".to_owned();
            return Ok(Self::At { host, port });
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::IpAddr>().is_ok() {
            let (host, port) = (bare.to_owned(), default_port);
            return Ok(Self::At { host, port });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (text, Some(default_port)),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match port {
            Some(port) if !host.is_empty() && host.chars().all(is_host) => Ok(Self::At {
                host: host.to_owned(),
                port,
            }),
            _ => Err(format!(
                "{text:?} is not an address: write HOST:PORT, e.g. 0.0.0.0:8080, or off"
            )),
        }
    }
}
