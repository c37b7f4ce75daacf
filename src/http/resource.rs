//! One file or view as an answer: preconditions, range, headers, body.

use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::model::{ByteRange, FsResult, TreePath};
use crate::vfs::{Lasting, Resource};

use super::body::{Cut, FileBody, Sending};
use super::conditional::{self, Times, Validators, Verdict};
use super::content_type;
use super::gateway::Gateway;
use super::library::OpenHandle;
use super::range::{self, Selection};
use super::status;

/// How long a client may keep what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The address names these bytes for ever.
    Immutable,
    /// Keep it, but ask each time whether it still holds.
    Revalidate,
}

impl Freshness {
    pub(super) const fn header(self) -> HeaderValue {
        match self {
            // A year, the longest that caches honour.
            Self::Immutable => HeaderValue::from_static("public, max-age=31536000, immutable"),
            Self::Revalidate => HeaderValue::from_static("no-cache"),
        }
    }
}

/// The parts of a request that decide how a resource is sent.
pub(super) struct Wanted<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub freshness: Freshness,
    pub cut: Cut,
}

/// Opens and answers the file or view at `path`.
pub(super) async fn serve(
    gateway: &Gateway,
    path: &TreePath,
    wanted: Wanted<'_>,
) -> Response<Body> {
    match answer(gateway, path, wanted).await {
        Ok(response) => response,
        Err(error) => status::failure(&error),
    }
}

async fn answer(
    gateway: &Gateway,
    path: &TreePath,
    wanted: Wanted<'_>,
) -> FsResult<Response<Body>> {
    let resource = gateway.library.open(path).await?;
    let handle = OpenHandle::new(gateway.library.clone(), resource.handle);
    let size = resource.attr.size;
    let etag = format!("\"{}\"", resource.etag);
    let validators = Validators {
        etag: &etag,
        times: has_times(&resource, path).then(|| Times {
            modified: SystemTime::from(resource.attr.mtime),
            changed: SystemTime::from(resource.attr.ctime),
        }),
    };
    // The address of a view that can change by itself names no bytes for ever, whatever it says.
    let freshness = match resource.lasting {
        Lasting::AsLongAsTheMap => wanted.freshness,
        Lasting::Changes => Freshness::Revalidate,
    };
    let mut headers = describe(&resource, path, &etag, freshness);
    match conditional::check(wanted.headers, validators) {
        Verdict::Proceed => {}
        Verdict::NotModified => {
            headers.remove(CONTENT_TYPE);
            return Ok(empty(StatusCode::NOT_MODIFIED, headers));
        }
        Verdict::Failed => return Ok(empty(StatusCode::PRECONDITION_FAILED, headers)),
    }
    let asked = conditional::range_of(wanted.method, wanted.headers, validators);
    let (code, part) = match range::select(asked, size) {
        Selection::Whole => (StatusCode::OK, ByteRange::new(0, size)),
        Selection::Part(part) => {
            let text = format!("bytes {}-{}/{size}", part.offset, part.end() - 1);
            insert(&mut headers, CONTENT_RANGE, &text);
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Selection::Unsatisfiable => {
            insert(&mut headers, CONTENT_RANGE, &format!("bytes */{size}"));
            headers.remove(CONTENT_TYPE);
            return Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
    };
    insert(&mut headers, CONTENT_LENGTH, &part.len.to_string());
    if wanted.method == Method::HEAD || part.len == 0 {
        return Ok(empty(code, headers));
    }
    let Ok(permit) = gateway.bodies.clone().try_acquire_owned() else {
        return Ok(status::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many files are being sent at a time, ask again in a moment",
        ));
    };
    let sending = Sending {
        cut: wanted.cut,
        stall: gateway.config.timers.write_stall,
        metrics: gateway.metrics.clone(),
        permit,
    };
    let body = FileBody::open(handle, part, sending).await?;
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A view that follows what lies beside its film has the film's times, which say nothing of it.
fn has_times(resource: &Resource, path: &TreePath) -> bool {
    let is_view = path
        .names()
        .first()
        .is_some_and(|name| name.as_bytes() == b".hls");
    !(is_view && resource.lasting == Lasting::Changes)
}

fn describe(resource: &Resource, path: &TreePath, etag: &str, freshness: Freshness) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, ETAG, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, freshness.header());
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(content_type::of_path(&path.to_bytes())),
    );
    if let Some(date) = http_date(resource.attr.mtime.seconds).filter(|_| has_times(resource, path))
    {
        insert(&mut headers, LAST_MODIFIED, &date);
    }
    headers
}

/// `None` for times that a header cannot carry (before 1970, beyond the year 9999).
pub(super) fn http_date(seconds: i64) -> Option<String> {
    const YEAR_10000: i64 = 253_402_300_800;
    (0..YEAR_10000).contains(&seconds).then(|| {
        let time = crate::model::Timestamp { seconds, nanos: 0 };
        httpdate::fmt_http_date(SystemTime::from(time))
    })
}

fn empty(code: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response
}

/// Values here are digits, dates and hexadecimal tags; another one is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A small text made here, with a tag of its own bytes.
pub(super) fn made(
    wanted: &Wanted<'_>,
    content_type: &'static str,
    bytes: Bytes,
) -> Response<Body> {
    let etag = format!(
        "\"{}\"",
        &crate::model::Digest::of(&bytes).to_string()[..32]
    );
    let validators = Validators {
        etag: &etag,
        times: None,
    };
    let mut headers = HeaderMap::new();
    insert(&mut headers, ETAG, &etag);
    headers.insert(CACHE_CONTROL, wanted.freshness.header());
    match conditional::check(wanted.headers, validators) {
        Verdict::Proceed => {}
        Verdict::NotModified => return empty(StatusCode::NOT_MODIFIED, headers),
        Verdict::Failed => return empty(StatusCode::PRECONDITION_FAILED, headers),
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    insert(&mut headers, CONTENT_LENGTH, &bytes.len().to_string());
    let mut response = empty(StatusCode::OK, headers);
    if wanted.method != Method::HEAD {
        *response.body_mut() = Body::from(bytes);
    }
    response
}
