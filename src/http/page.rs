//! The page at `/`, and the list of files that it shows as JSON.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use crate::model::{FileInfo, FsResult, TreePath};

use super::body::CountsItself;
use super::client::HttpClient;
use super::conditional::{self, Validators, Verdict};
use super::forwarded::RequestOrigin;
use super::gate::Visitor;
use super::gateway::{Gateway, SharedGateway};
use super::hosts::AskedHost;
use super::operations;
use super::resource::{self, Freshness, ResourceRequest};
use super::status;
use super::target;

/// Maximum of files in one answer.
const MAX_FILES: usize = 5_000;

/// Content Security Policy of the page. hls.js needs `blob:` for its worker and for Media Source
/// Extensions, and `data:` for the empty track with which it starts subtitles. Nothing else is loaded from
/// outside this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     media-src 'self' blob: data:; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A file of the page. The player is empty in a build without it; `scripts/setup-ui` fetches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asset {
    Page,
    Style,
    Script,
    Icon,
    Player,
    LoginScript,
}

impl Asset {
    const fn content(self) -> (&'static str, &'static [u8]) {
        match self {
            Self::Page => (
                "text/html; charset=utf-8",
                include_bytes!("../../ui/static/index.html"),
            ),
            Self::Style => (
                "text/css; charset=utf-8",
                include_bytes!("../../ui/static/page.css"),
            ),
            Self::Script => (
                "text/javascript; charset=utf-8",
                include_bytes!("../../ui/static/page.js"),
            ),
            Self::Icon => (
                "image/svg+xml",
                include_bytes!("../../ui/static/favicon.svg"),
            ),
            Self::LoginScript => (
                "text/javascript; charset=utf-8",
                include_bytes!("../../ui/static/login.js"),
            ),
            Self::Player => (
                "text/javascript; charset=utf-8",
                include_bytes!(concat!(env!("OUT_DIR"), "/hls.min.js")),
            ),
        }
    }
}

/// Answers with a file of the page.
pub(super) fn asset(asset: Asset, method: &Method, headers: &HeaderMap) -> Response<Body> {
    let (content_type, bytes) = asset.content();
    if bytes.is_empty() {
        return status::text(
            StatusCode::NOT_FOUND,
            "this build has no player; run scripts/setup-ui and build again",
        );
    }
    let wanted = ResourceRequest {
        method,
        headers,
        freshness: Freshness::Revalidate,
        client: HttpClient::default(),
    };
    let mut response = resource::made(&wanted, content_type, Bytes::from_static(bytes));
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, POLICY);
    // Its bytes are those of the program.
    response.extensions_mut().insert(CountsItself);
    response
}

/// Body of `/files.json`.
#[derive(Debug, Serialize)]
struct Files {
    /// `scheme://host:port`
    local: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    /// Number of files in the library; `files` holds the first of them.
    total: usize,
    files: Vec<PageFile>,
}

/// A file, with its URLs.
#[derive(Debug, Serialize)]
struct PageFile {
    #[serde(flatten)]
    info: FileInfo,
    /// Percent-encoded path below the base URLs.
    direct: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hls_local: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hls_public: Option<String>,
}

/// Place at which the client has the page.
pub(super) struct PagePlace<'a> {
    pub host: &'a AskedHost,
    pub origin: &'a RequestOrigin,
}

/// Answers `/files.json`. Its ETag comes from the library's revision, so a page that asks every few
/// seconds costs nothing while nothing changes.
///
/// # Errors
/// When the index cannot be read.
pub(super) async fn files(
    gateway: &SharedGateway,
    place: PagePlace<'_>,
    visitor: Visitor,
    headers: &HeaderMap,
) -> FsResult<Response<Body>> {
    let revision = gateway.library.revision();
    let local = target::local_base(gateway, place.host, place.origin);
    // The start is part of it, since revisions count from zero in each process.
    let seed = format!("{revision} {:?} {local} {visitor:?}", gateway.started);
    let etag = format!("\"{}\"", &blake3::hash(seed.as_bytes()).to_hex()[..24]);
    let validators = Validators {
        etag: &etag,
        times: None,
    };
    let mut response = if conditional::check(headers, validators) == Verdict::NotModified {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let shared = gateway.clone();
        let _permit = gateway.large_texts.acquire().await;
        // The list has thousands of records, so it is not made on a thread that serves others.
        let listed = tokio::task::spawn_blocking(move || listed(&shared, local, &visitor));
        match listed.await {
            Ok(files) => operations::json(&files?),
            Err(error) => {
                return Ok(status::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &error.to_string(),
                ));
            }
        }
    };
    resource::insert(response.headers_mut(), ETAG, &etag);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

fn listed(gateway: &Gateway, local: String, visitor: &Visitor) -> FsResult<Files> {
    let mut files = gateway.library.list()?;
    if !visitor.is_admin() {
        files.retain(|info| is_open(gateway, info));
    }
    let total = files.len();
    files.truncate(MAX_FILES);
    let public = target::public_base(gateway);
    let files = files
        .into_iter()
        .map(|info| {
            let playlist = |audience: &str| format!("/playlist/{audience}/{}.m3u8", info.id);
            PageFile {
                direct: direct(gateway, &info),
                hls_local: info.has_views.then(|| playlist("local")),
                hls_public: (info.has_views && public.is_some()).then(|| playlist("public")),
                info,
            }
        })
        .collect();
    Ok(Files {
        local,
        public,
        total,
        files,
    })
}

/// Returns whether the modes let everyone read a file. One that is gone in the meantime is left out.
fn is_open(gateway: &Gateway, info: &FileInfo) -> bool {
    path_of(gateway, info)
        .and_then(|path| target::is_open(gateway, &path).ok())
        .unwrap_or(false)
}

fn path_of(gateway: &Gateway, info: &FileInfo) -> Option<TreePath> {
    let id = info.id.parse().ok()?;
    gateway.library.path_of(id).ok()
}

/// Returns the file's path on this server. It follows from the id, since the path as text has lost bytes
/// that are not UTF-8.
fn direct(gateway: &Gateway, info: &FileInfo) -> String {
    let path = path_of(gateway, info)
        .or_else(|| TreePath::parse(info.path.as_bytes()).ok())
        .unwrap_or_default();
    format!("/fs{}", target::encode_path(&path))
}
