//! What the operator looks at: cache, counters, health.

use std::fmt::Write as _;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::model::{AttachState, FsResult};

use super::gateway::Gateway;
use super::prometheus;
use super::status;
use super::target;

/// Jobs that `/debug` shows.
const MAX_JOBS: usize = 200;

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

pub(super) fn cache_stats(gateway: &Gateway) -> Response<Body> {
    json(&gateway.library.cache_stats())
}

/// `video_id`: id or slug of one file; without it, everything.
pub(super) fn cache_clear(gateway: &Gateway, video_id: Option<&str>) -> FsResult<Response<Body>> {
    let id = video_id
        .map(|id| target::entry_id(gateway, id))
        .transpose()?;
    if let Some(id) = id {
        // Clearing an unknown file's blocks would succeed and say nothing.
        gateway.library.path_of(id)?;
    }
    let bytes = gateway.library.cache_clear(id)?;
    Ok(json(&json!({ "cleared_bytes": bytes })))
}

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

/// Alive: the process answers.
pub(super) fn health() -> Response<Body> {
    status::text(StatusCode::OK, "ok")
}

/// Ready: the index answers and knows the tree. The remote need not answer.
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

/// Prometheus' text format, version 0.0.4.
pub(super) fn metrics(gateway: &Gateway) -> FsResult<Response<Body>> {
    let own = gateway.metrics.snapshot();
    let pending = gateway.library.pending()?;
    let mut text = String::new();
    let counter = "counter";
    let gauge = "gauge";
    let rows: [(&str, &str, &str, u64); 9] = [
        (
            "uptime_seconds",
            gauge,
            "Seconds since the gateway started",
            own.uptime_seconds,
        ),
        (
            "http_body_bytes_total",
            counter,
            "Bytes of files and views sent",
            own.body_bytes,
        ),
        (
            "http_connections_total",
            counter,
            "Connections accepted",
            own.connections,
        ),
        (
            "http_connections_refused_total",
            counter,
            "Connections over the limit of one address",
            own.refused_connections,
        ),
        (
            "http_connections",
            gauge,
            "Connections open",
            own.open_connections,
        ),
        (
            "pending_files",
            gauge,
            "Files that are only in the spool",
            pending.files,
        ),
        (
            "pending_bytes",
            gauge,
            "Bytes that are only in the spool",
            pending.bytes,
        ),
        (
            "pending_oldest_seconds",
            gauge,
            "Age of the oldest of them",
            pending.oldest_seconds,
        ),
        (
            "jobs",
            gauge,
            "Jobs of ingest",
            gateway.library.jobs()?.len() as u64,
        ),
    ];
    for (name, kind, help, value) in rows {
        prometheus::number(&mut text, (name, kind, help), value);
    }
    prometheus::cache(&mut text, &gateway.library.cache_stats());
    text.push_str("# HELP tgfs_http_answers_total Answers by class of status\n");
    text.push_str("# TYPE tgfs_http_answers_total counter\n");
    for (class, count) in (1..).zip(own.answers) {
        let _ = writeln!(
            text,
            "tgfs_http_answers_total{{class=\"{class}xx\"}} {count}"
        );
    }
    Ok(typed(
        "text/plain; version=0.0.4; charset=utf-8",
        text.into_bytes(),
    ))
}
