//! URLs in playlists. The views hold relative ones that fit the mount. Over HTTP they become those of
//! this server, relative too, each with the digest of the map, so clients may keep fetched views for ever.

use axum::body::Body;
use http::{HeaderMap, Method, Response, StatusCode};

use crate::model::{ErrorKind, FsError, FsResult};
use crate::vfs::Resource;

use super::client::HttpClient;
use super::content_type;
use super::gate::Visitor;
use super::gateway::Gateway;
use super::library::OpenHandle;
use super::resource::{self, Freshness, ResourceRequest};
use super::status;
use super::target;
use super::views::{self, Version};

/// Maximum size of a playlist in bytes: a day of one-second segments has 6 MB.
const MAX_PLAYLIST_BYTES: u64 = 16 * 1024 * 1024;
/// Name of the multivariant playlist among the views.
const MASTER: &str = "master.m3u8";

/// Returns whether a path component is one of the two under which playlists can be asked for. Both answer
/// the same: players reach segments at the host at which they reached the playlist.
pub(super) fn is_audience(text: &str) -> bool {
    matches!(text, "local" | "public")
}

/// Container of the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamContainer {
    Fmp4,
    /// For players that cannot seek in fMP4.
    MpegTs,
}

impl StreamContainer {
    /// Returns the directory of its playlists, below the film's views.
    const fn directory(self) -> &'static str {
        match self {
            Self::Fmp4 => "",
            Self::MpegTs => "ts/",
        }
    }
    /// Returns the path, below the film's views, that a URI in one of its playlists refers to.
    fn resolve(self, uri: &str) -> String {
        match uri.strip_prefix("../") {
            Some(above) => above.to_owned(),
            None => format!("{}{uri}", self.directory()),
        }
    }
}

/// A request for a playlist.
pub(super) struct PlaylistRequest<'a> {
    /// Id or slug.
    pub id: &'a str,
    pub visitor: Visitor,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub query: Option<&'a str>,
}

/// Answers `/playlist/<audience>/<id>.m3u8`.
pub(super) async fn multivariant(
    gateway: &Gateway,
    asked: PlaylistRequest<'_>,
    container: StreamContainer,
) -> Response<Body> {
    // Who asks for it begins to play, with the newest views.
    let asked = PlaylistRequest {
        query: None,
        ..asked
    };
    let name = format!("{}{MASTER}", container.directory());
    // Relative, so that whatever proxies put before our paths stays.
    let rewritten = rewritten(gateway, &asked, &name, |id, version, uri| {
        let uri = container.resolve(uri);
        if is_playlist(&uri) {
            format!("{id}/{uri}?v={version}")
        } else {
            format!("../../segment/{id}/{uri}?v={version}")
        }
    });
    // Its renditions depend on the map, and on files beside the film. Clients must therefore ask each time.
    match rewritten.await {
        Err(error) if error.kind == ErrorKind::NotFound => {
            without_views(gateway, &asked, container)
        }
        text => answer(&asked, text, Freshness::Revalidate),
    }
}

/// Answers a request for an existing file that cannot be played, or not yet, with the reason.
fn without_views(
    gateway: &Gateway,
    asked: &PlaylistRequest<'_>,
    container: StreamContainer,
) -> Response<Body> {
    let film = target::film(gateway, &asked.visitor, asked.id);
    let info = film.and_then(|id| gateway.library.info(id));
    match info {
        Ok(info) if !info.has_views => {
            let reason = match &info.error {
                Some(error) => format!(": {error}"),
                None => String::new(),
            };
            let text = format!(
                "there is no HLS of this file; its state is {}{reason}",
                info.state.as_str()
            );
            status::text(StatusCode::NOT_FOUND, &text)
        }
        Ok(_) if container == StreamContainer::MpegTs => status::text(
            StatusCode::NOT_FOUND,
            "there is no MPEG-TS of this file: its codecs do not go into it, or an older release made its views",
        ),
        Ok(_) => status::failure(&ErrorKind::NotFound.into()),
        Err(error) => status::failure(&error),
    }
}

/// Answers `/playlist/<audience>/<id>/<name>.m3u8`, or `ts/<name>.m3u8` there.
pub(super) async fn media(
    gateway: &Gateway,
    asked: PlaylistRequest<'_>,
    container: StreamContainer,
    name: &str,
) -> Response<Body> {
    let freshness = match Version::asked(asked.query) {
        // The master changes when subtitle files beside the film come and go.
        Some(_) if name != MASTER => target::film(gateway, &asked.visitor, asked.id)
            .and_then(|id| views::lasting(gateway, &asked.visitor, id))
            .unwrap_or(Freshness::Revalidate),
        _ => Freshness::Revalidate,
    };
    let directory = container.directory();
    let name = format!("{directory}{name}");
    // From /playlist/<audience>/<id>/ up to the root; relative, so that a token's prefix stays.
    let up = "../".repeat(3 + directory.matches('/').count());
    let rewritten = rewritten(gateway, &asked, &name, |id, version, uri| {
        if is_playlist(uri) {
            format!("{uri}?v={version}")
        } else {
            format!("{up}segment/{id}/{directory}{uri}?v={version}")
        }
    });
    answer(&asked, rewritten.await, freshness)
}

fn answer(
    asked: &PlaylistRequest<'_>,
    text: FsResult<String>,
    freshness: Freshness,
) -> Response<Body> {
    let wanted = ResourceRequest {
        method: asked.method,
        headers: asked.headers,
        freshness,
        client: HttpClient::default(),
    };
    match text {
        Ok(text) => resource::made(
            &wanted,
            content_type::of_path(b"playlist.m3u8"),
            text.into(),
        ),
        Err(error) => status::failure(&error),
    }
}

/// Returns the view `name`, with each relative URI replaced by `address(id, version, uri)`.
async fn rewritten(
    gateway: &Gateway,
    asked: &PlaylistRequest<'_>,
    name: &str,
    address: impl Fn(&str, &str, &str) -> String,
) -> FsResult<String> {
    let id = target::film(gateway, &asked.visitor, asked.id)?;
    let version = match Version::asked(asked.query) {
        Some(version) => version,
        None => Version::of(gateway, id)?,
    };
    let _permit = gateway.large_texts.acquire().await;
    let text = read_text(
        gateway,
        gateway.library.open_view(id, version.as_str(), name)?,
    )
    .await?;
    let id = id.to_string();
    Ok(rewrite(&text, |uri| address(&id, version.as_str(), uri)))
}

async fn read_text(gateway: &Gateway, resource: Resource) -> FsResult<String> {
    let handle = OpenHandle::new(gateway.library.clone(), resource.handle);
    if resource.attr.size > MAX_PLAYLIST_BYTES {
        return Err(FsError::new(
            ErrorKind::TooLarge,
            format!("a playlist has more than {MAX_PLAYLIST_BYTES} bytes"),
        ));
    }
    let bytes = handle.read(0, resource.attr.size).await?.joined();
    String::from_utf8(bytes.to_vec())
        .map_err(|_| FsError::new(ErrorKind::Corrupt, "a playlist is not UTF-8"))
}

fn is_playlist(uri: &str) -> bool {
    uri.ends_with(".m3u8")
}

/// Replaces each URI line and each `URI="…"` attribute (RFC 8216 §4.2) by `address` of it. Absolute URLs
/// stay as they are.
pub(super) fn rewrite(text: &str, address: impl Fn(&str) -> String) -> String {
    let change = |uri: &str| {
        if uri.contains("://") || uri.starts_with('/') {
            uri.to_owned()
        } else {
            address(uri)
        }
    };
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        if line.starts_with('#') {
            rewrite_attribute(line, change, &mut out);
        } else if !line.is_empty() {
            out.push_str(&change(line));
        }
        out.push('\n');
    }
    out
}

fn rewrite_attribute(line: &str, change: impl Fn(&str) -> String, out: &mut String) {
    const KEY: &str = "URI=\"";
    let Some((start, length)) = attribute(line, KEY) else {
        out.push_str(line);
        return;
    };
    out.push_str(&line[..start]);
    out.push_str(&change(&line[start..start + length]));
    out.push_str(&line[start + length..]);
}

/// Returns position and length of the value behind `key`, ignoring quoted values: a NAME, which comes
/// from the film, may contain the same text.
fn attribute(line: &str, key: &str) -> Option<(usize, usize)> {
    let mut quoted = false;
    for (at, character) in line.char_indices() {
        if !quoted && line[at..].starts_with(key) && line[..at].ends_with([':', ',']) {
            let start = at + key.len();
            return line[start..].find('"').map(|length| (start, length));
        }
        if character == '"' {
            quoted = !quoted;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_attributes_become_addresses() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a, b\",URI=\"audio-1.m3u8\",DEFAULT=YES\n\
                    #EXT-X-MAP:URI=\"video/init.mp4\"\n#EXTINF:6.0,\nvideo/00001.m4s\nhttp://x/y\n\n#EXT-X-ENDLIST";
        let out = rewrite(text, |uri| format!("<{uri}>"));
        assert_eq!(
            out,
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a, b\",URI=\"<audio-1.m3u8>\",DEFAULT=YES\n\
             #EXT-X-MAP:URI=\"<video/init.mp4>\"\n#EXTINF:6.0,\n<video/00001.m4s>\nhttp://x/y\n\n#EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn a_title_that_looks_like_an_attribute_is_left_alone() {
        let text = "#EXT-X-MEDIA:NAME=\"x,URI=y\",URI=\"a.m3u8\"";
        assert_eq!(
            rewrite(text, str::to_uppercase),
            "#EXT-X-MEDIA:NAME=\"x,URI=y\",URI=\"A.M3U8\"\n"
        );
    }
}
