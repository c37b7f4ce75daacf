//! What a request says about its client. Headers of proxies are believed only if they come from an
//! address of TGFS_TRUSTED_PROXIES, since every client can send them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::uri::Authority;
use http::{Extensions, HeaderMap};

use crate::model::WebScheme;

use super::config::GatewayConfig;
use super::cookies::Security;

/// Address of the client's end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub SocketAddr);

/// Client of a request, and how it reached this server.
#[derive(Debug, Clone)]
pub(super) struct RequestOrigin {
    pub client: IpAddr,
    /// Scheme in the client's address bar, as far as it is known.
    pub scheme: WebScheme,
    /// Host in the client's address bar, if a proxy says so.
    pub host: Option<Authority>,
    /// Path that a proxy removed, without a slash at its end.
    pub prefix: String,
}

impl RequestOrigin {
    /// Returns how the connection to the browser is protected.
    pub(super) const fn security(&self) -> Security {
        match self.scheme {
            WebScheme::Https => Security::Tls,
            WebScheme::Http => Security::Plain,
        }
    }
}

/// Reads the origin of a request from its connection and, from a trusted proxy, from its headers.
pub(super) fn origin(
    config: &GatewayConfig,
    extensions: &Extensions,
    headers: &HeaderMap,
) -> RequestOrigin {
    // A request without a connection, as tests make them, has an unknown address.
    let peer = extensions
        .get::<PeerAddress>()
        .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| {
            peer.0.ip().to_canonical()
        });
    let direct = RequestOrigin {
        client: peer,
        scheme: config.scheme(),
        host: None,
        prefix: String::new(),
    };
    if !is_trusted(config, peer) {
        return direct;
    }
    let first = |name| list(headers, name).next();
    let scheme = match first("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => WebScheme::Https,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => WebScheme::Http,
        _ => direct.scheme,
    };
    RequestOrigin {
        client: client(config, headers).unwrap_or(peer),
        scheme,
        host: first("x-forwarded-host").and_then(|host| host.parse().ok()),
        prefix: first("x-forwarded-prefix")
            .map(|prefix| prefix.trim_end_matches('/'))
            .filter(|prefix| is_prefix(prefix))
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Returns whether the headers of a peer are believed.
pub(super) fn is_proxy(config: &GatewayConfig, peer: PeerAddress) -> bool {
    is_trusted(config, peer.0.ip().to_canonical())
}

/// Returns the address of the client for whom a trusted proxy passed a request on; `None` if it names none.
pub(super) fn client(config: &GatewayConfig, headers: &HeaderMap) -> Option<IpAddr> {
    // The last one that is no trusted proxy. Those before it are the client's own words.
    let named: Vec<IpAddr> = list(headers, "x-forwarded-for")
        .map_while(|text| text.parse().ok())
        .collect();
    let foreign = named
        .iter()
        .rev()
        .find(|address| !is_trusted(config, **address));
    foreign.or(named.first()).copied()
}

fn is_trusted(config: &GatewayConfig, address: IpAddr) -> bool {
    config
        .trusted_proxies
        .iter()
        .any(|range| range.contains(address))
}

/// Returns the items of a header that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn is_prefix(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::Trust;
    use crate::model::AddressRange;

    fn seen(peer: &str, headers: &[(&'static str, &'static str)]) -> RequestOrigin {
        let mut config = GatewayConfig::new(Trust::Open);
        config.trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
            .map(|text| AddressRange::parse(text).unwrap())
            .to_vec();
        let mut extensions = Extensions::new();
        extensions.insert(PeerAddress(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        origin(&config, &extensions, &map)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let headers = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "films.example"),
            ("x-forwarded-prefix", "/films/"),
        ];
        let proxied = seen("127.0.0.1", &headers);
        assert_eq!(proxied.client.to_string(), "203.0.113.9");
        assert_eq!(proxied.scheme, WebScheme::Https);
        assert_eq!(proxied.host.unwrap().as_str(), "films.example");
        assert_eq!(proxied.prefix, "/films");
        let forged = seen("192.0.2.1", &headers);
        assert_eq!(forged.client.to_string(), "192.0.2.1");
        assert_eq!(forged.scheme, WebScheme::Http);
        assert_eq!((forged.host, forged.prefix.as_str()), (None, ""));
    }

    #[test]
    fn what_the_client_itself_wrote_before_is_not_believed() {
        let chain = [
            ("x-forwarded-for", "198.51.100.1, 203.0.113.9"),
            ("x-forwarded-for", "10.1.1.1"),
            ("x-forwarded-prefix", "//evil.example"),
        ];
        let proxied = seen("::ffff:127.0.0.1", &chain);
        assert_eq!(proxied.client.to_string(), "203.0.113.9");
        assert_eq!(proxied.prefix, "");
    }
}
