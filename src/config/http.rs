//! The HTTP gateway.

use std::net::SocketAddr;
use std::time::Duration;

use super::layers::ValueOrigin;
use super::reader::SettingReader;
use crate::model::{AddressRange, PublicAddress, TlsFiles, WebScheme};

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

/// Requirement of a login or the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTrust {
    /// Everyone needs one, from wherever they come.
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
    /// Public address; its scheme is always named.
    pub public: Option<PublicAddress>,
    /// Addresses whose headers about clients are believed.
    pub trusted_proxies: Vec<AddressRange>,
    /// The certificate files; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Requirement of a login or the token.
    pub trust: HttpTrust,
    /// Longest pause of a player in the middle of a file.
    pub pause: Duration,
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
        let tls = read_tls(reader);
        let is_forced = reader.is_on("FORCE_HTTPS");
        let mut public = reader.parsed("PUBLIC_DOMAIN", parse_public);
        if let Some(public) = &mut public {
            public.scheme = match is_forced {
                true => Some(WebScheme::Https),
                false => public.scheme.or(Some(scheme_of(tls.as_ref()))),
            };
        }
        Self {
            bind,
            local_host,
            public,
            trusted_proxies: reader
                .parsed("TGFS_TRUSTED_PROXIES", parse_proxies)
                .unwrap_or_default(),
            tls,
            trust: match reader.is_on("TGFS_HTTP_OPEN") {
                true => HttpTrust::Open,
                false => HttpTrust::Token,
            },
            pause: reader.duration("TGFS_HTTP_PAUSE"),
        }
    }
}

impl HttpSettings {
    /// Returns the scheme that the gateway itself serves.
    #[must_use]
    pub fn scheme(&self) -> WebScheme {
        scheme_of(self.tls.as_ref())
    }

    /// Returns the public URL of the gateway's root, without a slash at its end.
    #[must_use]
    pub fn public_base(&self) -> Option<String> {
        Some(self.public.as_ref()?.base(self.scheme()))
    }
}

const fn scheme_of(tls: Option<&TlsFiles>) -> WebScheme {
    match tls {
        Some(_) => WebScheme::Https,
        None => WebScheme::Http,
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

/// Parses a public address. Its path is removed from requests, so it must not be one of the gateway's own.
fn parse_public(text: &str) -> Result<PublicAddress, String> {
    const OWN: [&str; 14] = [
        "api",
        "cache",
        "dav",
        "debug",
        "fs",
        "login",
        "logout",
        "metrics",
        "playlist",
        "s",
        "segment",
        "subtitle",
        "subtitles",
        "t",
    ];
    let public = PublicAddress::parse(text)?;
    match public.path.split('/').nth(1) {
        Some(first) if OWN.contains(&first) => Err(format!(
            "the path /{first} is one of tgfs itself; choose another, e.g. /films"
        )),
        _ => Ok(public),
    }
}

/// Parses addresses and ranges with commas or spaces between them.
fn parse_proxies(text: &str) -> Result<Vec<AddressRange>, String> {
    text.split([',', ' '])
        .filter(|part| !part.is_empty())
        .map(AddressRange::parse)
        .collect()
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
