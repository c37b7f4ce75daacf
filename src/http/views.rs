//! Views by id: segments, thumbnails, and the version in their URLs that lets clients keep them for ever.

use axum::body::Body;
use http::{HeaderMap, Method, Response};

use crate::model::{EntryId, FsResult, TreePath};
use crate::vfs::Resource;

use super::client::HttpClient;
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
    /// Returns the version that the query of a URL names.
    pub(super) fn asked(query: Option<&str>) -> Option<Self> {
        target::query_value(query, "v").map(Self)
    }
    pub(super) fn as_str(&self) -> &str {
        &self.0
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
    pub client: HttpClient,
}

/// View that was found, and the time for which clients may keep it.
struct FoundView {
    opened: FsResult<Resource>,
    path: TreePath,
    freshness: Freshness,
}

/// Answers with a view. A version in the URL that players still use is served also when a newer one took
/// its place.
pub(super) async fn serve(gateway: &Gateway, asked: ViewRequest<'_>) -> Response<Body> {
    match find(gateway, &asked).await {
        Ok(found) => {
            let wanted = ResourceRequest {
                method: asked.method,
                headers: asked.headers,
                freshness: found.freshness,
                client: asked.client,
            };
            resource::serve(gateway, found.opened, &found.path, wanted).await
        }
        Err(error) => status::failure(&error),
    }
}

/// Returns the time for which clients may keep one version of the views of a film that the visitor may open.
///
/// # Errors
/// When the film is gone, or the index cannot be read.
pub(super) fn lasting(gateway: &Gateway, visitor: &Visitor, id: EntryId) -> FsResult<Freshness> {
    // Others were let in because the film is open to all.
    if !visitor.is_admin() {
        return Ok(Freshness::Immutable);
    }
    Ok(
        match target::is_open(gateway, &gateway.library.path_of(id)?)? {
            true => Freshness::Immutable,
            false => Freshness::ImmutableForOne,
        },
    )
}

async fn find(gateway: &Gateway, asked: &ViewRequest<'_>) -> FsResult<FoundView> {
    let id = target::film(gateway, &asked.visitor, asked.id)?;
    let path = target::view_path(gateway, id, asked.view)?;
    Ok(match Version::asked(asked.query) {
        Some(version) => {
            let name = target::view_name(asked.view)?;
            FoundView {
                opened: gateway.library.open_view(id, version.as_str(), &name),
                path,
                freshness: lasting(gateway, &asked.visitor, id)?,
            }
        }
        None => FoundView {
            opened: gateway.library.open(&path).await,
            path,
            freshness: Freshness::Revalidate,
        },
    })
}
