//! Status codes for each kind of error, and plain-text answers.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::model::{ErrorKind, FsError};

/// Retry-After in seconds while the remote is unreachable: about the time of a reconnect.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// Returns the status of an error for a client that can only read.
pub(super) const fn of_kind(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound
        | ErrorKind::NotDirectory
        | ErrorKind::IsDirectory
        | ErrorKind::NoAttribute
        | ErrorKind::InvalidArgument
        | ErrorKind::NameTooLong => StatusCode::NOT_FOUND,
        ErrorKind::ReadOnly | ErrorKind::NotPermitted | ErrorKind::CannotMove => {
            StatusCode::FORBIDDEN
        }
        ErrorKind::Exists | ErrorKind::NotEmpty => StatusCode::CONFLICT,
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::TooLarge | ErrorKind::AttributeTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::NotSupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::RemoteUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt => StatusCode::BAD_GATEWAY,
        ErrorKind::BadHandle | ErrorKind::NoSuchPosition | ErrorKind::Io => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Answers with one line of plain text.
pub(super) fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

/// Answers for a failed file operation.
pub(super) fn failure(error: &FsError) -> Response<Body> {
    let status = of_kind(error.kind);
    if status.is_server_error() {
        tracing::warn!(kind = ?error.kind, %error, "a request failed");
    }
    match status {
        // A message could tell strangers which paths and ids exist.
        StatusCode::NOT_FOUND => text(status, "there is nothing here"),
        _ => text(status, &error.to_string()),
    }
}
