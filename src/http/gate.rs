//! Who may ask what: the rules of the Host header, the token and the origin, before any route.

use std::net::IpAddr;

use axum::body::Body;
use http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::config::{HttpConfig, Trust};
use super::gateway::Gateway;
use super::status;

/// The host that a request asked for, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskedHost {
    /// An address, `localhost` or LOCAL_HOST; with its port.
    Local(Authority),
    /// PUBLIC_DOMAIN.
    Public,
}

/// Where the token stands in a path, so that relative addresses keep it.
const TOKEN_PREFIX: &str = "/t/";

/// Lets a request pass, without the token in its path and with [`AskedHost`] in its extensions, or
/// answers it.
// The answer is made once for a refused request; boxing it would only hide what it is.
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
            "another site's page must not change anything here",
        ));
    }
    request.extensions_mut().insert(host);
    Ok(request)
}

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
    // Another header than ours may come from a proxy, so a wrong one is as good as none.
    if bearer(request.headers()).is_some_and(|shown| token.matches(shown)) {
        return Shown::Enough;
    }
    // A proxy on this machine makes the whole world look like loopback; its traces do not.
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

/// What strangers may read: what players need. All else needs the token, also what is added later.
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
        "this needs the token in the file http-token of the state directory: as `Authorization: Bearer …`, or in the path as /t/…/",
    );
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Turns `/t/<token>/rest` into `/rest`; the token, if there is one.
#[allow(clippy::result_large_err)]
fn take_token(request: &mut Request<Body>) -> Result<Option<String>, Response<Body>> {
    let Some(rest) = request.uri().path().strip_prefix(TOKEN_PREFIX) else {
        return Ok(None);
    };
    let not_found = || status::text(StatusCode::NOT_FOUND, "there is nothing here");
    // Without the slash behind it, relative addresses would lose the token.
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

/// The Host rule keeps other sites' names from being pointed at this server (DNS rebinding).
#[allow(clippy::result_large_err)]
fn asked_host(config: &HttpConfig, request: &Request<Body>) -> Result<AskedHost, Response<Body>> {
    let bad = || {
        status::text(
            StatusCode::BAD_REQUEST,
            "a request must name its host, once",
        )
    };
    // HTTP/2, and HTTP/1 through a proxy, name the host in the target, which wins (RFC 9112 §3.2.2).
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
        "this server does not answer to that host name; set LOCAL_HOST or PUBLIC_DOMAIN to it",
    ))
}

/// A host without the brackets of IPv6 and the dot of a full name.
fn bare(host: &str) -> &str {
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

/// `name:8080` → `name`; an IPv6 address has more than one colon and keeps them.
pub(super) fn without_port(name: &str) -> &str {
    match name.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => name,
    }
}

fn is_cross_origin(host: &AskedHost, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        // Programs send none; browsers always do where it matters.
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
