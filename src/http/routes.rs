//! The table of routes, and the headers of every answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::model::FsResult;
use crate::vfs::FileKind;

use super::client::HttpClient;
use super::gate::{self, Visitor};
use super::gateway::SharedGateway;
use super::login;
use super::operations;
use super::page::{self, Asset, PagePlace};
use super::playlist::{self, StreamContainer};
use super::resource::{self, Freshness, ResourceRequest};
use super::subtitles;
use super::views;
use super::{listing, status, target};

type GatewayState = State<SharedGateway>;

/// Policy for users' own files: they may be HTML pages, which must not act with this server's rights.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

/// Answers one request.
pub(super) async fn answer(
    gateway: &SharedGateway,
    router: Router,
    request: Request<Body>,
) -> Response<Body> {
    let request = match gate::localize(gateway, request) {
        Ok(request) => request,
        Err(elsewhere) => return elsewhere,
    };
    let is_media = gate::is_media(request.uri().path());
    let mut response = match gate::admit(gateway, request) {
        Ok(request) => {
            let method = request.method().clone();
            // The gate has removed the token from the path. Queries are not logged.
            let path = request.uri().path().to_owned();
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
            response
        }
        Err(mut refused) => {
            tokio::time::sleep(refused.hold).await;
            let headers = refused.response.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
            refused.response
        }
    };
    gateway.metrics.count_answer(response.status());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A token in the path must not reach other sites.
    headers
        .entry(REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    if is_media {
        // Errors too: a player that may not read them cannot tell what is wrong.
        share(headers);
    }
    response
}

/// Returns the router of all routes.
pub(super) fn router(gateway: SharedGateway) -> Router {
    let files = Router::new()
        .route("/fs", get(file))
        .route("/fs/", get(file))
        .route("/fs/{*path}", get(file))
        .layer(SetResponseHeaderLayer::overriding(
            CONTENT_SECURITY_POLICY,
            SANDBOX,
        ));
    let media = Router::new()
        .route(
            "/playlist/{audience}/{id}",
            get(multivariant).options(preflight),
        )
        .route(
            "/playlist/{audience}/{id}/{name}",
            get(media).options(preflight),
        )
        .route(
            "/playlist/{audience}/{id}/ts/{name}",
            get(transport_media).options(preflight),
        )
        .route("/segment/{id}/{*view}", get(segment).options(preflight))
        .route(
            "/subtitle/{id}/{language}",
            get(subtitle).options(preflight),
        )
        .route("/thumbnail/{id}", get(thumbnail).options(preflight))
        // Players' pages on other hosts list subtitles too.
        .route("/subtitles/{id}", get(subtitle_list).options(preflight));
    let rest = Router::new()
        .route("/", get(|request| show(Asset::Page, request)))
        .route("/page.css", get(|request| show(Asset::Style, request)))
        .route("/page.js", get(|request| show(Asset::Script, request)))
        .route("/favicon.svg", get(|request| show(Asset::Icon, request)))
        .route("/hls.min.js", get(|request| show(Asset::Player, request)))
        .route("/login", get(login_page).post(sign_in))
        .route(
            "/login.js",
            get(|request| show(Asset::LoginScript, request)),
        )
        .route("/logout", post(sign_out))
        .route("/cache/stats", get(cache_stats))
        .route("/cache/clear", post(cache_clear))
        .route("/debug", get(debug))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || operations::health()))
        .route("/readyz", get(readiness))
        .route("/api/{*rest}", get(api).post(api));
    let library = Router::new()
        .merge(files)
        .merge(media)
        .route("/files.json", get(file_list))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&gateway),
            when_loaded,
        ));
    Router::new()
        .merge(library)
        .merge(rest)
        .fallback(async || status::text(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            status::text(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address does not support that method",
            )
        })
        .layer(CatchPanicLayer::new())
        .with_state(gateway)
}

/// Waits for a library that is still being loaded. A name that is unknown after the deadline may exist, so
/// the client is told to come back.
async fn when_loaded(
    State(gateway): GatewayState,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let library = Arc::clone(&gateway.library);
    if !library.is_loading() {
        return next.run(request).await;
    }
    library.until_loaded().await;
    let response = next.run(request).await;
    match response.status() {
        StatusCode::NOT_FOUND if library.is_loading() => status::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the library is still being loaded",
        ),
        _ => response,
    }
}

/// Adds CORS headers: any page may play films, and read the headers that a player needs.
fn share(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Content-Length, Content-Range, Accept-Ranges, ETag, Retry-After"),
    );
}

/// Headers that players are known to send.
const PLAYER_HEADERS: &str = "Range, If-Range, If-None-Match, If-Modified-Since, Accept, Authorization, \
    Cache-Control, Content-Type, Pragma, X-Playback-Session-Id, X-Requested-With";
/// Maximum length of a list of further headers that is answered.
const MAX_ASKED_HEADERS: usize = 1024;

/// Answers a preflight request. Any header is allowed: the answers depend on none but those above, and
/// pages of other sites send no cookies along.
async fn preflight(request: Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, OPTIONS"),
    );
    let asked = request
        .headers
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|asked| asked.to_str().ok())
        .filter(|asked| asked.len() <= MAX_ASKED_HEADERS && asked.bytes().all(is_in_header_list));
    let allowed = match asked {
        Some(asked) => HeaderValue::try_from(format!("{PLAYER_HEADERS}, {asked}")).ok(),
        None => None,
    };
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        allowed.unwrap_or(HeaderValue::from_static(PLAYER_HEADERS)),
    );
    // A day.
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

fn is_in_header_list(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_, ".contains(&byte)
}

fn or_failure(outcome: FsResult<Response<Body>>) -> Response<Body> {
    outcome.unwrap_or_else(|error| status::failure(&error))
}

/// Returns the client of the request; in tests without a connection, one of this machine.
fn client(request: &Parts) -> HttpClient {
    request.extensions.get().cloned().unwrap_or_default()
}

async fn file(State(gateway): GatewayState, request: Parts) -> Response<Body> {
    let raw = request.uri.path();
    let outcome = async {
        let path = target::tree_path(raw.strip_prefix("/fs").unwrap_or(raw))?;
        let attr = gateway.library.resolve(&path)?;
        target::require_open(&gateway, &Visitor::of(&request.extensions), &path)?;
        if attr.kind == FileKind::Directory {
            let after = target::query_value(request.uri.query(), "after")
                .and_then(|after| after.parse().ok())
                .unwrap_or(0);
            return listing::answer(&gateway, &path, raw, after, &request.headers);
        }
        let wanted = ResourceRequest {
            method: &request.method,
            headers: &request.headers,
            freshness: Freshness::Revalidate,
            client: client(&request),
        };
        let opened = gateway.library.open(&path).await;
        Ok(resource::serve(&gateway, opened, &path, wanted).await)
    };
    or_failure(outcome.await)
}

fn nothing() -> Response<Body> {
    status::text(StatusCode::NOT_FOUND, "there is nothing here")
}

fn asked_playlist<'a>(
    audience: &str,
    id: &'a str,
    request: &'a Parts,
) -> Option<playlist::PlaylistRequest<'a>> {
    playlist::is_audience(audience).then(|| playlist::PlaylistRequest {
        id,
        visitor: Visitor::of(&request.extensions),
        method: &request.method,
        headers: &request.headers,
        query: request.uri.query(),
    })
}

async fn multivariant(
    State(gateway): GatewayState,
    Path((audience, name)): Path<(String, String)>,
    request: Parts,
) -> Response<Body> {
    let container = match target::query_value(request.uri.query(), "container").as_deref() {
        None | Some("fmp4") => StreamContainer::Fmp4,
        Some("ts") => StreamContainer::MpegTs,
        Some(_) => {
            return status::text(
                StatusCode::NOT_FOUND,
                "`container` must be `fmp4` (the default) or `ts`",
            );
        }
    };
    let asked = name
        .strip_suffix(".m3u8")
        .and_then(|id| asked_playlist(&audience, id, &request));
    match asked {
        Some(asked) => playlist::multivariant(&gateway, asked, container).await,
        None => nothing(),
    }
}

/// Answers with a media playlist of the film as MPEG-TS.
async fn transport_media(
    State(gateway): GatewayState,
    Path(asked): Path<(String, String, String)>,
    request: Parts,
) -> Response<Body> {
    media_in(&gateway, asked, StreamContainer::MpegTs, &request).await
}

async fn media(
    State(gateway): GatewayState,
    Path(asked): Path<(String, String, String)>,
    request: Parts,
) -> Response<Body> {
    media_in(&gateway, asked, StreamContainer::Fmp4, &request).await
}

async fn media_in(
    gateway: &SharedGateway,
    (audience, id, name): (String, String, String),
    container: StreamContainer,
    request: &Parts,
) -> Response<Body> {
    match asked_playlist(&audience, &id, request) {
        Some(asked) if name.ends_with(".m3u8") => {
            playlist::media(gateway, asked, container, &name).await
        }
        _ => nothing(),
    }
}

async fn view(gateway: &SharedGateway, id: &str, view: &str, request: &Parts) -> Response<Body> {
    let asked = views::ViewRequest {
        id,
        visitor: Visitor::of(&request.extensions),
        view,
        method: &request.method,
        headers: &request.headers,
        query: request.uri.query(),
        client: client(request),
    };
    views::serve(gateway, asked).await
}

async fn segment(State(gateway): GatewayState, request: Parts) -> Response<Body> {
    // The raw path: names of views need not be UTF-8.
    let rest = request.uri.path().strip_prefix("/segment/");
    match rest.and_then(|rest| rest.split_once('/')) {
        Some((id, path)) => view(&gateway, id, path, &request).await,
        None => nothing(),
    }
}

async fn thumbnail(
    State(gateway): GatewayState,
    Path(name): Path<String>,
    request: Parts,
) -> Response<Body> {
    match name.strip_suffix(".jpg") {
        Some(id) => view(&gateway, id, "thumbnail.jpg", &request).await,
        None => nothing(),
    }
}

async fn subtitle(
    State(gateway): GatewayState,
    Path((id, language)): Path<(String, String)>,
    request: Parts,
) -> Response<Body> {
    let visitor = Visitor::of(&request.extensions);
    let found = target::film(&gateway, &visitor, &id)
        .and_then(|entry| subtitles::find(&gateway, entry, &language));
    match found {
        Ok(name) => view(&gateway, &id, &target::encode(name.as_bytes()), &request).await,
        Err(error) => status::failure(&error),
    }
}

async fn subtitle_list(
    State(gateway): GatewayState,
    Path(id): Path<String>,
    request: Parts,
) -> Response<Body> {
    let visitor = Visitor::of(&request.extensions);
    let listed = target::film(&gateway, &visitor, &id).and_then(|id| subtitles::list(&gateway, id));
    or_failure(listed.map(|listed| operations::json(&listed)))
}

async fn show(asset: Asset, request: Parts) -> Response<Body> {
    page::asset(asset, &request.method, &request.headers)
}

async fn file_list(State(gateway): GatewayState, request: Parts) -> Response<Body> {
    match (request.extensions.get(), request.extensions.get()) {
        (Some(host), Some(origin)) => {
            let visitor = Visitor::of(&request.extensions);
            let place = PagePlace { host, origin };
            or_failure(page::files(&gateway, place, visitor, &request.headers).await)
        }
        _ => nothing(),
    }
}

async fn login_page(request: Parts) -> Response<Body> {
    login::page(request.uri.query())
}

async fn sign_in(State(gateway): GatewayState, request: Request<Body>) -> Response<Body> {
    login::sign_in(&gateway, request).await
}

async fn sign_out(State(gateway): GatewayState, request: Request<Body>) -> Response<Body> {
    login::sign_out(&gateway, request).await
}

async fn cache_stats(State(gateway): GatewayState) -> Response<Body> {
    operations::cache_stats(&gateway)
}

async fn cache_clear(State(gateway): GatewayState, request: Parts) -> Response<Body> {
    let id = target::query_value(request.uri.query(), "video_id");
    or_failure(operations::cache_clear(&gateway, id.as_deref()))
}

async fn debug(State(gateway): GatewayState) -> Response<Body> {
    or_failure(operations::debug(&gateway))
}

async fn metrics(State(gateway): GatewayState) -> Response<Body> {
    or_failure(operations::metrics(&gateway))
}

async fn readiness(State(gateway): GatewayState) -> Response<Body> {
    operations::readiness(&gateway)
}

async fn api() -> Response<Body> {
    status::text(
        StatusCode::NOT_IMPLEMENTED,
        "there is no JSON API yet; /files.json lists the files",
    )
}
