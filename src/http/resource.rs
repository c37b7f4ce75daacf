//! Answers with a file or view: preconditions, range, headers, body.

use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::model::{ByteRange, FsResult, TreePath};
use crate::vfs::{Lasting, Resource};

use super::body::{self, BodyContext, CountsItself, FileBody};
use super::client::HttpClient;
use super::conditional::{self, ModificationTimes, Validators, Verdict};
use super::content_type;
use super::gateway::Gateway;
use super::library::OpenHandle;
use super::range::{self, RangeSelection};
use super::status;

/// Time for which a client may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// For ever: the URL never refers to other bytes.
    Immutable,
    /// For ever, by one person's client. Caches that several people share would give it to all.
    ImmutableForOne,
    /// Until the next use, before which the client must revalidate it.
    Revalidate,
}

impl Freshness {
    /// Returns the value of Cache-Control.
    pub(super) const fn header(self) -> HeaderValue {
        match self {
            // A year, the maximum that caches honour.
            Self::Immutable => HeaderValue::from_static("public, max-age=31536000, immutable"),
            Self::ImmutableForOne => {
                HeaderValue::from_static("private, max-age=31536000, immutable")
            }
            Self::Revalidate => HeaderValue::from_static("no-cache"),
        }
    }
}

/// Parts of a request that decide how a resource is sent.
pub(super) struct ResourceRequest<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub freshness: Freshness,
    pub client: HttpClient,
}

/// Answers with the file or view that was opened at `path`.
pub(super) async fn serve(
    gateway: &Gateway,
    opened: FsResult<Resource>,
    path: &TreePath,
    wanted: ResourceRequest<'_>,
) -> Response<Body> {
    let answered = match opened {
        Ok(resource) => answer(gateway, resource, path, wanted).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(response) => response,
        Err(error) => status::failure(&error),
    }
}

async fn answer(
    gateway: &Gateway,
    resource: Resource,
    path: &TreePath,
    wanted: ResourceRequest<'_>,
) -> FsResult<Response<Body>> {
    let handle = OpenHandle::new(gateway.library.clone(), resource.handle);
    let size = resource.attr.size;
    let etag = format!("\"{}\"", resource.etag);
    let validators = Validators {
        etag: &etag,
        times: has_times(&resource).then(|| ModificationTimes {
            modified: SystemTime::from(resource.attr.mtime),
            changed: SystemTime::from(resource.attr.ctime),
        }),
    };
    // A view that depends on files beside the film may change under any URL.
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
        RangeSelection::Whole => (StatusCode::OK, ByteRange::new(0, size)),
        RangeSelection::Part(part) => {
            let text = format!("bytes {}-{}/{size}", part.offset, part.end() - 1);
            insert(&mut headers, CONTENT_RANGE, &text);
            (StatusCode::PARTIAL_CONTENT, part)
        }
        RangeSelection::Unsatisfiable => {
            insert(&mut headers, CONTENT_RANGE, &format!("bytes */{size}"));
            headers.remove(CONTENT_TYPE);
            return Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
    };
    insert(&mut headers, CONTENT_LENGTH, &part.len.to_string());
    if wanted.method == Method::HEAD || part.len == 0 {
        return Ok(empty(code, headers));
    }
    let Some(account) = gateway.budget.file(&wanted.client).await else {
        return Ok(body::crowded());
    };
    let sending = BodyContext {
        metrics: gateway.metrics.clone(),
        account,
    };
    let body = FileBody::open(handle, part, sending).await?;
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response.extensions_mut().insert(CountsItself);
    Ok(response)
}

/// Returns whether the resource's times tell when its bytes changed. A view that depends on files beside
/// the film has the film's times, which do not.
fn has_times(resource: &Resource) -> bool {
    resource.view.is_none() || resource.lasting == Lasting::AsLongAsTheMap
}

fn describe(resource: &Resource, path: &TreePath, etag: &str, freshness: Freshness) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, ETAG, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, freshness.header());
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(match &resource.view {
            Some(view) => content_type::of_view(view),
            None => content_type::of_path(&path.to_bytes()),
        }),
    );
    if let Some(date) = http_date(resource.attr.mtime.seconds).filter(|_| has_times(resource)) {
        insert(&mut headers, LAST_MODIFIED, &date);
    }
    headers
}

/// Returns a date for a header; `None` before 1970 and after the year 9999.
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

/// Adds a header. Values here are digits, dates and hexadecimal tags; an invalid one is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Answers with a small text that was made here; its ETag is the digest of its bytes.
pub(super) fn made(
    wanted: &ResourceRequest<'_>,
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
