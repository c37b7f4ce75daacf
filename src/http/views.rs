//! Views by id: segments, thumbnails, and the digest that lets them be kept for ever.

use axum::body::Body;
use http::{HeaderMap, Method, Response};

use crate::model::{EntryId, ErrorKind, FsResult};

use super::body::Cut;
use super::gateway::Gateway;
use super::resource::{self, Freshness, Wanted};
use super::status;
use super::target;

/// Hexadecimal digits of the map's digest in an address: 64 bits tell the versions of one file apart.
const VERSION_DIGITS: usize = 16;

/// What `?v=` says: the map that an address was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(String);

impl Version {
    pub(super) fn of(gateway: &Gateway, id: EntryId) -> FsResult<Self> {
        let mut digits = gateway.library.map_digest(id)?.to_string();
        digits.truncate(VERSION_DIGITS);
        Ok(Self(digits))
    }
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long the views of `id` may be kept, by the `v` of the query.
///
/// # Errors
/// Not found where `v` names a map that is no longer held.
pub(super) fn freshness(
    gateway: &Gateway,
    id: EntryId,
    query: Option<&str>,
) -> FsResult<Freshness> {
    match target::query_value(query, "v") {
        None => Ok(Freshness::Revalidate),
        Some(asked) if asked == Version::of(gateway, id)?.as_str() => Ok(Freshness::Immutable),
        Some(_) => Err(ErrorKind::NotFound.into()),
    }
}

/// A request for one view.
pub(super) struct Asked<'a> {
    /// Id or slug.
    pub id: &'a str,
    /// Below the file's directory of views, percent-encoded.
    pub view: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub query: Option<&'a str>,
    pub cut: Cut,
}

pub(super) async fn serve(gateway: &Gateway, asked: Asked<'_>) -> Response<Body> {
    let found = target::entry_id(gateway, asked.id).and_then(|id| {
        let freshness = freshness(gateway, id, asked.query)?;
        Ok((freshness, target::view_path(gateway, id, asked.view)?))
    });
    match found {
        Ok((freshness, path)) => {
            let wanted = Wanted {
                method: asked.method,
                headers: asked.headers,
                freshness,
                cut: asked.cut,
            };
            resource::serve(gateway, &path, wanted).await
        }
        Err(error) => status::failure(&error),
    }
}
