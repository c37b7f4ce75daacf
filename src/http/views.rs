//! Views by id: segments, thumbnails, and the version in their URLs that lets clients keep them for ever.

use axum::body::Body;
use http::{HeaderMap, Method, Response};

use crate::model::{EntryId, ErrorKind, FsResult};

use super::body::ConnectionCut;
use super::gate::Visitor;
use super::gateway::Gateway;
use super::resource::{self, Freshness, ResourceRequest};
use super::status;
use super::target;

/// Hexadecimal digits of the map's digest in a URL: 64 bits distinguish the versions of one file.
const VERSION_DIGITS: usize = 16;

/// Value of `?v=`: identifies the map that a URL was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(String);

impl Version {
    /// Returns the current version of a file's views.
    ///
    /// # Errors
    /// When the file has no views, or the index cannot be read.
    pub(super) fn of(gateway: &Gateway, id: EntryId) -> FsResult<Self> {
        let mut digits = gateway.library.map_digest(id)?.to_string();
        digits.truncate(VERSION_DIGITS);
        Ok(Self(digits))
    }
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns how long clients may keep the views of `id`, by the `v` of the query.
///
/// # Errors
/// Not found if `v` names a map that no longer exists.
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
pub(super) struct ViewRequest<'a> {
    /// Id or slug.
    pub id: &'a str,
    pub visitor: Visitor,
    /// Percent-encoded path below the file's directory of views.
    pub view: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub query: Option<&'a str>,
    pub cut: ConnectionCut,
}

/// Answers with a view.
pub(super) async fn serve(gateway: &Gateway, asked: ViewRequest<'_>) -> Response<Body> {
    let found = target::film(gateway, &asked.visitor, asked.id).and_then(|id| {
        let freshness = freshness(gateway, id, asked.query)?;
        Ok((freshness, target::view_path(gateway, id, asked.view)?))
    });
    match found {
        Ok((freshness, path)) => {
            let wanted = ResourceRequest {
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
