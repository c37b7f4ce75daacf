//! Access control before any route: the rules of the Host header, the token and the origin.

use std::net::IpAddr;

use axum::body::Body;
use http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::config::{GatewayConfig, Trust};
use super::gateway::Gateway;
use super::status;

/// Host that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskedHost {
    /// An IP address, `localhost` or LOCAL_HOST, with the port of the request.
    Local(Authority),
    /// PUBLIC_DOMAIN.
    Public,
}

/// Prefix of a token in a path. A token in the path stays in relative URLs.
const TOKEN_PREFIX: &str = "/t/";

/// Admits a request, with the token removed from its path and [`AskedHost`] in its extensions.
///
/// # Errors
/// The answer to a request that is refused.
// The answer is made once for a refused request; boxing it would only obscure it.
#[allow(clippy::result_large_err)]
pub(super) fn admit(
    gateway: &Gateway,
    mut request: Request<Body>,
) -> Result<Request<Body>, Response<Body>> {
    let host = asked_host(&gateway.config, &request)?;
    let shown = take_token(&mut request)?;
    let trusted = trusts(gateway, &host, &request, shown.as_deref());
    if let Shown::Wrong = trusted {
        return Err(unauthorized());
    }
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if (changes || !is_open_to_all(request.uri().path())) && trusted != Shown::Enough {
        return Err(unauthorized());
    }
    if changes && is_cross_origin(&host, request.headers()) {
        return Err(status::text(
            StatusCode::FORBIDDEN,
            "a page of another site must not change anything here",
        ));
    }
    request.extensions_mut().insert(host);
    Ok(request)
}

/// Credentials that a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The right token, or none is needed.
    Enough,
    Nothing,
    Wrong,
}

fn trusts(
    gateway: &Gateway,
    host: &AskedHost,
    request: &Request<Body>,
    in_path: Option<&str>,
) -> Shown {
    let Trust::Token(token) = &gateway.config.trust else {
        return Shown::Enough;
    };
    if let Some(shown) = in_path {
        return if token.matches(shown.as_bytes()) {
            Shown::Enough
        } else {
            Shown::Wrong
        };
    }
    // An Authorization header may be meant for a proxy. A wrong one therefore counts as none.
    if bearer(request.headers()).is_some_and(|shown| token.matches(shown)) {
        return Shown::Enough;
    }
    // Behind a proxy on this machine every client has a loopback address. Headers of the proxy reveal it.
    let from_here = gateway.address.ip().to_canonical().is_loopback()
        && *host != AskedHost::Public
        && !request.headers().contains_key(FORWARDED)
        && !request.headers().contains_key("x-forwarded-for");
    if from_here {
        Shown::Enough
    } else {
        Shown::Nothing
    }
}

/// Returns whether strangers may read a path: those that players need. Every other path, including
/// future ones, needs the token.
fn is_open_to_all(path: &str) -> bool {
    const EXACT: [&str; 8] = [
        "/",
        "/page.css",
        "/page.js",
        "/hls.min.js",
        "/favicon.svg",
        "/healthz",
        "/readyz",
        "/cache/stats",
    ];
    const PREFIXES: [&str; 5] = [
        "/playlist/",
        "/segment/",
        "/subtitle/",
        "/subtitles/",
        "/thumbnail/",
    ];
    EXACT.contains(&path) || PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

fn unauthorized() -> Response<Body> {
    let mut response = status::text(
        StatusCode::UNAUTHORIZED,
        "this needs the token in the file http-token of the state directory: send it as `Authorization: Bearer …`, or in the path as /t/…/",
    );
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Removes a token from the path (`/t/<token>/rest` becomes `/rest`) and returns it, if there is one.
#[allow(clippy::result_large_err)]
fn take_token(request: &mut Request<Body>) -> Result<Option<String>, Response<Body>> {
    let Some(rest) = request.uri().path().strip_prefix(TOKEN_PREFIX) else {
        return Ok(None);
    };
    let not_found = || status::text(StatusCode::NOT_FOUND, "there is nothing here");
    // Without the slash behind the token, relative URLs would lose it.
    let (token, path) = rest.split_once('/').ok_or_else(not_found)?;
    let token = token.to_owned();
    let target = match request.uri().query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().map_err(|_| not_found())?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| not_found())?;
    Ok(Some(token))
}

/// Returns the host that a request names. Unknown names are refused, which keeps other sites from
/// pointing their names at this server (DNS rebinding).
#[allow(clippy::result_large_err)]
fn asked_host(
    config: &GatewayConfig,
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
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => {
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
    let is = |name: &Option<String>| {
        name.as_deref()
            .is_some_and(|name| bare(without_port(name)).eq_ignore_ascii_case(host))
    };
    if is(&config.public_domain) && !is(&config.local_host) {
        return Ok(AskedHost::Public);
    }
    let is_address = host.parse::<IpAddr>().is_ok();
    if is_address || host.eq_ignore_ascii_case("localhost") || is(&config.local_host) {
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

fn is_cross_origin(host: &AskedHost, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        // Browsers always send it with requests that change something; other programs do not.
        return false;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    match (host, authority) {
        (AskedHost::Local(host), Some(origin)) => !origin.eq_ignore_ascii_case(host.as_str()),
        (AskedHost::Public, Some(_)) => headers
            .get(HOST)
            .is_none_or(|host| authority.map(str::as_bytes) != Some(host.as_bytes())),
        (_, None) => true,
    }
}
