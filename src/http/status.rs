//! The answer to each kind of error, and plain-text answers.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::model::{ErrorKind, FsError};

/// When to ask again while the remote is away, in seconds: about as long as a reconnect takes.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// The status that each kind of error has for a client that can only read.
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

/// A plain-text answer of one line.
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

/// The answer to a failed file operation.
pub(super) fn failure(error: &FsError) -> Response<Body> {
    let status = of_kind(error.kind);
    if status.is_server_error() {
        tracing::warn!(kind = ?error.kind, %error, "a request failed");
    }
    match status {
        // Paths and ids of others are nothing that a stranger should be able to probe in texts.
        StatusCode::NOT_FOUND => text(status, "there is nothing here"),
        _ => text(status, &error.to_string()),
    }
}
