//! Access control before any route: who asks, and whether they may.
//!
//! No address is trusted, this machine's neither: its other users and its proxies come from there.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::access::sessions::FileFreshness;
use crate::access::{Access, Principal};
use crate::model::EntryId;

use super::config::Trust;
use super::cookies;
use super::forwarded::{self, RequestOrigin};
use super::gateway::Gateway;
use super::hosts;
use super::status;

/// Prefix of a token in a path. A token in the path stays in relative URLs.
const TOKEN_PREFIX: &str = "/t/";
/// Longest time for which the answer to a wrong token is held back.
const MAX_HELD: Duration = Duration::from_secs(4);

/// Sender of a request, as far as it showed who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Visitor {
    Stranger,
    Known(Principal),
}

impl Visitor {
    /// Returns who sent a request that [`admit`] let in.
    pub(super) fn of(extensions: &http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self::Stranger)
    }
    /// Returns whether the visitor may open films by their names.
    pub(super) const fn may_use_names(&self) -> bool {
        matches!(self, Self::Known(_))
    }
    /// Returns whether the visitor may change things, and see files whose modes close them to others.
    pub(super) fn is_admin(&self) -> bool {
        matches!(self, Self::Known(principal) if principal.is_admin())
    }
}

/// A request that is not let in.
pub(super) struct Refusal {
    pub response: Response<Body>,
    /// Time for which the answer is held back, so that guessing is slow.
    pub hold: Duration,
}

impl From<Response<Body>> for Refusal {
    fn from(response: Response<Body>) -> Self {
        Self {
            response,
            hold: Duration::ZERO,
        }
    }
}

/// Requirement of an address of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NeededRights {
    Nothing,
    Login,
    Admin,
}

/// Admits a request, with the token removed from its path, and with [`RequestOrigin`],
/// [`hosts::AskedHost`] and [`Visitor`] in its extensions.
///
/// # Errors
/// The answer to a request that is refused.
// The answer is made once for a refused request; boxing it would only obscure it.
#[allow(clippy::result_large_err)]
pub(super) fn admit(
    gateway: &Gateway,
    mut request: Request<Body>,
) -> Result<Request<Body>, Refusal> {
    let origin = forwarded::origin(&gateway.config, request.extensions(), request.headers());
    let host = hosts::asked(&gateway.config, &origin, &request)?;
    let in_path = take_token(&mut request)?;
    let (visitor, wrong) = match &gateway.config.trust {
        Trust::Open => (Visitor::Known(Principal::owner()), WrongToken::No),
        Trust::Guarded(access) => identify(access, &origin, in_path.as_deref(), request.headers()),
    };
    let allowed = match need(&request) {
        NeededRights::Nothing => wrong != WrongToken::InPath,
        NeededRights::Login => visitor != Visitor::Stranger,
        NeededRights::Admin => visitor.is_admin(),
    };
    if !allowed {
        let response = match visitor {
            Visitor::Stranger => unauthorized(),
            Visitor::Known(_) => status::text(
                StatusCode::FORBIDDEN,
                "only an administrator of this library may do that",
            ),
        };
        let hold = match (&gateway.config.trust, wrong) {
            (Trust::Open, _) | (_, WrongToken::No) => Duration::ZERO,
            (Trust::Guarded(access), _) => access.failed(origin.client).min(MAX_HELD),
        };
        return Err(Refusal { response, hold });
    }
    if is_change(request.method()) {
        hosts::require_same_origin(&gateway.config, &host, request.headers())?;
    }
    request.extensions_mut().insert(origin);
    request.extensions_mut().insert(host);
    request.extensions_mut().insert(visitor);
    Ok(request)
}

fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Place of a wrong token in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WrongToken {
    No,
    InPath,
    InHeader,
}

fn identify(
    access: &Arc<Access>,
    origin: &RequestOrigin,
    in_path: Option<&str>,
    headers: &HeaderMap,
) -> (Visitor, WrongToken) {
    let owner = || (Visitor::Known(Principal::owner()), WrongToken::No);
    match in_path.map(|shown| access.is_token(shown.as_bytes())) {
        Some(true) => return owner(),
        Some(false) => return (Visitor::Stranger, WrongToken::InPath),
        None => {}
    }
    // An Authorization header may be meant for a proxy. A wrong one therefore counts as none.
    let wrong = match bearer(headers).map(|shown| access.is_token(shown)) {
        Some(true) => return owner(),
        Some(false) => WrongToken::InHeader,
        None => WrongToken::No,
    };
    for cookie in cookies::values(headers, origin.security()) {
        let Some(found) = access.session(cookie) else {
            continue;
        };
        if found.freshness == FileFreshness::Outdated {
            save_sessions(access.clone());
        }
        return (Visitor::Known(found.principal), WrongToken::No);
    }
    (Visitor::Stranger, wrong)
}

/// Writes the times of use, away from the threads that answer.
fn save_sessions(access: Arc<Access>) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = access.save_sessions() {
            tracing::warn!(%error, "the file of sessions could not be written");
        }
    });
}

/// Returns what a request needs. Every path that is not named here, future ones included, needs an
/// administrator.
fn need(request: &Request<Body>) -> NeededRights {
    const OPEN: [&str; 10] = [
        "/",
        "/page.css",
        "/page.js",
        "/hls.min.js",
        "/favicon.svg",
        "/login",
        "/login.js",
        "/healthz",
        "/readyz",
        "/cache/stats",
    ];
    let path = request.uri().path();
    if is_change(request.method()) {
        return match path {
            "/login" | "/logout" => NeededRights::Nothing,
            _ => NeededRights::Admin,
        };
    }
    if OPEN.contains(&path) {
        return NeededRights::Nothing;
    }
    match media_name(path) {
        // A preflight request never carries credentials, and its answer depends on nothing.
        Some(_) if *request.method() == Method::OPTIONS => NeededRights::Nothing,
        // Whoever knows an id was given it; names can be guessed.
        Some(name) if name.parse::<EntryId>().is_ok() => NeededRights::Nothing,
        Some(_) => NeededRights::Login,
        None if path == "/fs" || path.starts_with("/fs/") || path == "/files.json" => {
            NeededRights::Login
        }
        None => NeededRights::Admin,
    }
}

/// Returns the id or name in a path for players; `None` for other paths.
fn media_name(path: &str) -> Option<&str> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let (name, suffix) = match parts.next()? {
        "playlist" => (parts.nth(1)?, ".m3u8"),
        "segment" | "subtitle" | "subtitles" => (parts.next()?, ""),
        "thumbnail" => (parts.next()?, ".jpg"),
        _ => return None,
    };
    Some(name.strip_suffix(suffix).unwrap_or(name))
}

/// Returns whether players fetch a path, so that any page may read the answer.
pub(super) fn is_media(path: &str) -> bool {
    const MEDIA: [&str; 5] = [
        "/playlist/",
        "/segment/",
        "/subtitle/",
        "/subtitles/",
        "/thumbnail/",
    ];
    let path = match path.strip_prefix(TOKEN_PREFIX) {
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
        None => path,
    };
    MEDIA.iter().any(|prefix| path.starts_with(prefix))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// Answers a stranger who asked for something that needs a login.
pub(super) fn unauthorized() -> Response<Body> {
    let mut response = status::text(
        StatusCode::UNAUTHORIZED,
        "sign in first: open the link that `tgfs login-link` prints, or send the token in the file http-token of the state directory as `Authorization: Bearer …`, or in the path as /t/…/",
    );
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Removes the path of PUBLIC_DOMAIN from a request that a proxy passed on with it. Proxies that remove it
/// themselves are as usual.
///
/// # Errors
/// The answer to a request for that path itself: relative URLs need a slash behind it.
#[allow(clippy::result_large_err)]
pub(super) fn localize(
    gateway: &Gateway,
    mut request: Request<Body>,
) -> Result<Request<Body>, Response<Body>> {
    let public = gateway.config.public_path();
    let path = request.uri().path();
    match path.strip_prefix(public).map(str::to_owned) {
        Some(rest) if !public.is_empty() && rest.starts_with('/') => {
            replace_path(&mut request, &rest)?;
            Ok(request)
        }
        Some(rest) if !public.is_empty() && rest.is_empty() => {
            let last = public.rsplit('/').next().unwrap_or_default();
            let mut response = status::text(StatusCode::PERMANENT_REDIRECT, "see below this path");
            if let Ok(location) = HeaderValue::try_from(format!("{last}/")) {
                response.headers_mut().insert(LOCATION, location);
            }
            Err(response)
        }
        _ => Ok(request),
    }
}

/// Removes a token from the path (`/t/<token>/rest` becomes `/rest`) and returns it, if there is one.
#[allow(clippy::result_large_err)]
fn take_token(request: &mut Request<Body>) -> Result<Option<String>, Response<Body>> {
    let Some(rest) = request.uri().path().strip_prefix(TOKEN_PREFIX) else {
        return Ok(None);
    };
    // Without the slash behind the token, relative URLs would lose it.
    let (token, path) = rest.split_once('/').ok_or_else(not_found)?;
    let token = token.to_owned();
    let path = format!("/{path}");
    replace_path(request, &path)?;
    Ok(Some(token))
}

/// Replaces the path of a request; the query stays.
#[allow(clippy::result_large_err)]
fn replace_path(request: &mut Request<Body>, path: &str) -> Result<(), Response<Body>> {
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().map_err(|_| not_found())?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| not_found())?;
    Ok(())
}

fn not_found() -> Response<Body> {
    status::text(StatusCode::NOT_FOUND, "there is nothing here")
}
