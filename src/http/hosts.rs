//! The rules of the Host header, which stop DNS rebinding, and of origins, which stop pages of other
//! sites from changing anything.

use std::net::IpAddr;

use axum::body::Body;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode};

use super::config::GatewayConfig;
use super::forwarded::RequestOrigin;
use super::status;
use crate::model::PublicAddress;

/// Header in which browsers say where the page stands that sends a request. Pages cannot set it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Host that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskedHost {
    /// An IP address, `localhost` or LOCAL_HOST, with the port of the request.
    Local(Authority),
    /// PUBLIC_DOMAIN, with the port of the request.
    Public(Authority),
}

impl AskedHost {
    const fn authority(&self) -> &Authority {
        match self {
            Self::Local(authority) | Self::Public(authority) => authority,
        }
    }
}

/// Returns the host that a request names. Unknown names are refused, which keeps other sites from
/// pointing their names at this server (DNS rebinding).
///
/// # Errors
/// The answer to a request that names no host, or another one.
#[allow(clippy::result_large_err)]
pub(super) fn asked(
    config: &GatewayConfig,
    origin: &RequestOrigin,
    request: &Request<Body>,
) -> Result<AskedHost, Response<Body>> {
    let bad = || {
        status::text(
            StatusCode::BAD_REQUEST,
            "a request must name its host exactly once",
        )
    };
    // HTTP/2, and HTTP/1 through a proxy, name the host in the target, which takes precedence
    // (RFC 9112 §3.2.2).
    let authority = match (&origin.host, request.uri().authority()) {
        (Some(authority), _) | (None, Some(authority)) => authority.clone(),
        (None, None) => {
            let mut values = request.headers().get_all(HOST).iter();
            let (Some(value), None) = (values.next(), values.next()) else {
                return Err(bad());
            };
            Authority::try_from(value.as_bytes()).map_err(|_| bad())?
        }
    };
    if authority.as_str().contains('@') {
        return Err(bad());
    }
    let host = bare(authority.host());
    let is = |name: &str| bare(without_port(name)).eq_ignore_ascii_case(host);
    let is_local = config.local_host.as_deref().is_some_and(is);
    let is_public = |public: &PublicAddress| is(&public.authority);
    if config.public.as_ref().is_some_and(is_public) && !is_local {
        return Ok(AskedHost::Public(authority));
    }
    let is_address = host.parse::<IpAddr>().is_ok();
    if is_address || host.eq_ignore_ascii_case("localhost") || is_local {
        return Ok(AskedHost::Local(authority));
    }
    Err(status::text(
        StatusCode::MISDIRECTED_REQUEST,
        "this server does not answer to that host name; to use it, set LOCAL_HOST or PUBLIC_DOMAIN to it",
    ))
}

/// Returns a host without the brackets of IPv6 and the dot of a fully qualified name.
fn bare(host: &str) -> &str {
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

/// Returns a host without its port; an IPv6 address has more than one colon and stays as it is.
pub(super) fn without_port(name: &str) -> &str {
    match name.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => name,
    }
}

/// Lets a request that changes something pass unless a page of another site sent it.
///
/// # Errors
/// The answer to a page of another site.
#[allow(clippy::result_large_err)]
pub(super) fn require_same_origin(
    config: &GatewayConfig,
    host: &AskedHost,
    headers: &HeaderMap,
) -> Result<(), Response<Body>> {
    let site = headers.get(FETCH_SITE).and_then(|site| site.to_str().ok());
    match site {
        // `none` is a person who typed the address.
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return Err(cross_origin()),
        // Browsers leave it out on plain HTTP.
        None => {}
    }
    let Some(origin) = headers.get(ORIGIN) else {
        // Browsers always send it with requests that change something; other programs do not.
        return Ok(());
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority)
        .ok_or_else(cross_origin)?;
    let is_ours = origin.eq_ignore_ascii_case(host.authority().as_str())
        // Proxies may pass on another Host than the browser's.
        || config
            .public
            .as_ref()
            .is_some_and(|public| public.authority.eq_ignore_ascii_case(origin));
    match is_ours {
        true => Ok(()),
        false => Err(cross_origin()),
    }
}

fn cross_origin() -> Response<Body> {
    status::text(
        StatusCode::FORBIDDEN,
        "a page of another site must not change anything here; behind a proxy, set PUBLIC_DOMAIN to the name and port in the browser's address bar",
    )
}
