//! Answers for operators: cache, counters, health.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::model::{AttachState, FsResult};

use super::gateway::Gateway;
use super::prometheus::{self, GatewayNumbers};
use super::status;
use super::target;

/// Maximum of jobs that `/debug` shows.
const MAX_JOBS: usize = 200;

/// Answers with a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => typed("application/json", bytes),
        Err(error) => status::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn typed(content_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Answers `/cache/stats`.
pub(super) fn cache_stats(gateway: &Gateway) -> Response<Body> {
    json(&gateway.library.cache_stats())
}

/// Drops the cached blocks of the file with the id or slug `video_id`; without one, of all files.
///
/// # Errors
/// When there is no such file, or the index cannot be read.
pub(super) fn cache_clear(gateway: &Gateway, video_id: Option<&str>) -> FsResult<Response<Body>> {
    let id = video_id
        .map(|id| target::entry_id(gateway, id))
        .transpose()?;
    if let Some(id) = id {
        // Clearing the blocks of an unknown file would succeed silently.
        gateway.library.path_of(id)?;
    }
    let bytes = gateway.library.cache_clear(id)?;
    Ok(json(&json!({ "cleared_bytes": bytes })))
}

/// Answers `/debug`: settings, counters, and the first jobs.
///
/// # Errors
/// When the index cannot be read.
pub(super) fn debug(gateway: &Gateway) -> FsResult<Response<Body>> {
    let mut jobs = gateway.library.jobs()?;
    let count = jobs.len();
    jobs.truncate(MAX_JOBS);
    Ok(json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "address": gateway.address.to_string(),
        "tls": gateway.config.tls.is_some(),
        "http": gateway.metrics.snapshot(),
        "cache": gateway.library.cache_stats(),
        "pending": gateway.library.pending()?,
        "store": gateway.library.store_status(),
        "jobs_total": count,
        "jobs": jobs,
    })))
}

/// Answers `/healthz`: the process is alive.
pub(super) fn health() -> Response<Body> {
    status::text(StatusCode::OK, "ok")
}

/// Answers `/readyz`: the index is readable and has the tree. The remote need not be reachable.
pub(super) fn readiness(gateway: &Gateway) -> Response<Body> {
    let not_ready = |reason: &str| {
        let text = format!("not ready: {reason}");
        status::text(StatusCode::SERVICE_UNAVAILABLE, &text)
    };
    if let Err(error) = gateway.library.pending() {
        return not_ready(&error.to_string());
    }
    let store = gateway.library.store_status();
    let explained = store.explain();
    match (store.state, explained) {
        (AttachState::Filling | AttachState::Refused, reason) => {
            not_ready(&reason.unwrap_or_default())
        }
        (AttachState::Reaching | AttachState::Attached, None) => {
            status::text(StatusCode::OK, "ready")
        }
        (AttachState::Reaching | AttachState::Attached, Some(remark)) => {
            status::text(StatusCode::OK, &format!("ready, though {remark}"))
        }
    }
}

/// Answers `/metrics` in Prometheus' text format, version 0.0.4.
///
/// # Errors
/// When the index cannot be read.
pub(super) fn metrics(gateway: &Gateway) -> FsResult<Response<Body>> {
    let numbers = GatewayNumbers {
        http: gateway.metrics.snapshot(),
        pending: gateway.library.pending()?,
        jobs: gateway.library.jobs()?.len() as u64,
    };
    let text = prometheus::text(&numbers, &gateway.library.cache_stats());
    Ok(typed(
        "text/plain; version=0.0.4; charset=utf-8",
        text.into_bytes(),
    ))
}
