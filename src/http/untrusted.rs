//! Readers of what clients send, without a connection: what the fuzz targets call (`fuzz/targets.rs`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request};

use super::conditional::{self, ModificationTimes, Validators};
use super::config::{GatewayConfig, Trust};
use super::cookies::{self, Security};
use super::forwarded::{self, PeerAddress};
use super::range::{self, RangeSelection};
use super::{content_type, gate, hosts, playlist, target};
use crate::model::{AddressRange, ByteRange};

/// Returns the part of a file of `size` bytes that a Range header selects; `None` for the whole file, or for
/// an answer without bytes.
#[must_use]
pub fn range_of(value: &[u8], size: u64) -> Option<ByteRange> {
    match range::select(Some(value), size) {
        RangeSelection::Part(part) => Some(part),
        RangeSelection::Whole | RangeSelection::Unsatisfiable => None,
    }
}

/// Returns the names of the path in a request's target, as they are looked up; `None` for a malformed one.
#[must_use]
pub fn path_of(raw: &str) -> Option<Vec<Vec<u8>>> {
    let path = target::tree_path(raw).ok()?;
    // What is encoded is the same path.
    let again = target::tree_path(&target::encode_path(&path)).ok()?;
    let names = path.names().iter().map(|name| name.as_bytes().to_vec());
    (again == path).then(|| names.collect())
}

/// Reads a request all through: its target in the first line, one header in each line behind it.
pub fn request(bytes: &[u8]) {
    let Some(request) = parse(bytes) else {
        return;
    };
    let mut config = GatewayConfig::new(Trust::Open);
    config.local_host = Some("films.local:8080".into());
    config.trusted_proxies = AddressRange::parse("127.0.0.0/8").into_iter().collect();
    let headers = request.headers();
    let origin = forwarded::origin(&config, request.extensions(), headers);
    if let Ok(host) = hosts::asked(&config, &origin, &request) {
        let _ = hosts::require_same_origin(&config, &host, headers);
    }
    for security in [Security::Plain, Security::Tls] {
        let _ = cookies::values(headers, security).count();
    }
    let validators = Validators {
        etag: "\"0123\"",
        times: Some(ModificationTimes {
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::now(),
        }),
    };
    let _ = conditional::check(headers, validators);
    if let Some(value) = conditional::range_of(request.method(), headers, validators) {
        let _ = range::select(Some(value), 1000);
    }
    let path = request.uri().path();
    let _ = gate::is_media(path);
    let _ = content_type::of_path(path.as_bytes());
    let _ = target::view_name(path);
    for key in ["v", "code", "token", "video_id"] {
        let _ = target::query_value(request.uri().query(), key);
    }
    let _ = path_of(path);
}

/// Replaces the URIs of a playlist, as answers do.
#[must_use]
pub fn rewritten(text: &str) -> String {
    playlist::rewrite(text, |uri| format!("../segment/{uri}?v=0"))
}

fn parse(bytes: &[u8]) -> Option<Request<Body>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut request = Request::builder().uri(lines.next()?);
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line[..at].trim_ascii()).ok()?;
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    let request = request.extension(PeerAddress(peer));
    request.body(Body::empty()).ok()
}
