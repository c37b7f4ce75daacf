//! Parts of URLs: paths in the tree, ids, query values, and the base of absolute URLs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::model::{EntryId, ErrorKind, FsResult, Name, TreePath, WebScheme};
use crate::vfs::FileKind;

use super::forwarded::RequestOrigin;
use super::gate::Visitor;
use super::gateway::Gateway;
use super::hosts::{AskedHost, without_port};

/// Characters to encode: all but RFC 3986's unreserved ones.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Directory of the views.
const VIEWS: &[u8] = b".hls";

/// Returns a path component, percent-encoded.
pub(super) fn encode(name: &[u8]) -> String {
    percent_encode(name, ENCODED).to_string()
}

/// Returns a path of the tree from its root, percent-encoded.
pub(super) fn encode_path(path: &TreePath) -> String {
    path.names().iter().fold(String::new(), |mut text, name| {
        text.push('/');
        text.push_str(&encode(name.as_bytes()));
        text
    })
}

/// Returns the tree path in `raw`, which is percent-encoded and need not be UTF-8.
///
/// # Errors
/// When the path is malformed.
pub(super) fn tree_path(raw: &str) -> FsResult<TreePath> {
    let bytes: Vec<u8> = percent_decode_str(raw).collect();
    Ok(TreePath::parse(&bytes)?)
}

/// Mode bit with which a file can be read by everyone.
const READ_BY_OTHERS: u32 = 0o004;
/// Mode bit with which names in a directory can be looked up by everyone.
const SEARCH_BY_OTHERS: u32 = 0o001;

/// Returns the file that a stable id or a slug refers to, for a visitor who may open it. An id of a
/// directory opens nothing, since the root's is known to everybody.
///
/// # Errors
/// Not found, also for what the visitor may not open; or when the index cannot be read.
pub(super) fn film(gateway: &Gateway, visitor: &Visitor, raw: &str) -> FsResult<EntryId> {
    if !visitor.may_use_names() && raw.parse::<EntryId>().is_err() {
        return Err(ErrorKind::NotFound.into());
    }
    let id = entry_id(gateway, raw)?;
    let path = gateway.library.path_of(id)?;
    if gateway.library.resolve(&path)?.kind == FileKind::Directory {
        return Err(ErrorKind::NotFound.into());
    }
    require_open(gateway, visitor, &path)?;
    Ok(id)
}

/// Lets a visitor pass who may read `path`: an administrator, or anyone if the modes let every user of a
/// machine read it.
///
/// # Errors
/// Not found if the modes close the path, or it does not exist.
pub(super) fn require_open(gateway: &Gateway, visitor: &Visitor, path: &TreePath) -> FsResult<()> {
    match visitor.is_admin() || is_open(gateway, path)? {
        true => Ok(()),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Returns whether the modes of a file and of all directories above it let everyone read it.
///
/// # Errors
/// When there is no such path, or the index cannot be read.
pub(super) fn is_open(gateway: &Gateway, path: &TreePath) -> FsResult<bool> {
    let attr = gateway.library.resolve(path)?;
    let needed = match attr.kind {
        FileKind::File => READ_BY_OTHERS,
        FileKind::Directory => READ_BY_OTHERS | SEARCH_BY_OTHERS,
    };
    if attr.mode & needed != needed {
        return Ok(false);
    }
    let names = path.names();
    for depth in 0..names.len() {
        let directory = TreePath::from_names(names[..depth].to_vec());
        if gateway.library.resolve(&directory)?.mode & SEARCH_BY_OTHERS == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the file that a stable id or a slug refers to.
///
/// # Errors
/// Not found, or when the index cannot be read.
pub(super) fn entry_id(gateway: &Gateway, raw: &str) -> FsResult<EntryId> {
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| ErrorKind::NotFound)?;
    match text.parse::<EntryId>() {
        Ok(id) => Ok(id),
        Err(_) => gateway.library.by_slug(&text),
    }
}

/// Returns the current path of a file's views.
///
/// # Errors
/// Not found, or when the index cannot be read.
pub(super) fn views_of(gateway: &Gateway, id: EntryId) -> FsResult<TreePath> {
    let file = gateway.library.path_of(id)?;
    let mut names = vec![Name::new(VIEWS)?];
    names.extend_from_slice(file.names());
    Ok(TreePath::from_names(names))
}

/// Returns the path of a view below its film's directory of views; `raw` is percent-encoded.
///
/// # Errors
/// Not found: the names of all views are UTF-8.
pub(super) fn view_name(raw: &str) -> FsResult<String> {
    let path = tree_path(raw)?;
    let names = path.names().iter();
    let names: Option<Vec<&str>> = names
        .map(|name| std::str::from_utf8(name.as_bytes()).ok())
        .collect();
    let names = names.filter(|names| !names.is_empty());
    Ok(names.ok_or(ErrorKind::NotFound)?.join("/"))
}

/// Returns the path of the view of `id` at `raw`, e.g. `video/00001.m4s`.
///
/// # Errors
/// Not found, or when the index cannot be read.
pub(super) fn view_path(gateway: &Gateway, id: EntryId, raw: &str) -> FsResult<TreePath> {
    let view = tree_path(raw)?;
    if view.names().is_empty() {
        return Err(ErrorKind::NotFound.into());
    }
    let mut names = views_of(gateway, id)?.names().to_vec();
    names.extend_from_slice(view.names());
    Ok(TreePath::from_names(names))
}

/// Returns the first value of `key` in a query string, percent-decoded.
pub(super) fn query_value(query: Option<&str>, key: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

/// Returns the URL of this server's root in the local network, without a slash at its end.
pub(super) fn local_base(gateway: &Gateway, asked: &AskedHost, origin: &RequestOrigin) -> String {
    match asked {
        AskedHost::Local(authority) => {
            let scheme = origin.scheme.as_str();
            format!("{scheme}://{authority}{}", origin.prefix)
        }
        AskedHost::Public(_) => {
            let config = &gateway.config;
            own_base(
                config.scheme(),
                config.local_host.as_deref(),
                gateway.address,
            )
        }
    }
}

/// Returns the URL of the root of a gateway that is bound to `bound`, without a slash at its end: one that
/// can be opened, at `local_host` if that is a name, else at an address.
#[must_use]
pub fn own_base(scheme: WebScheme, local_host: Option<&str>, bound: SocketAddr) -> String {
    let scheme = scheme.as_str();
    let port = bound.port();
    match local_host {
        Some(host) if without_port(host) != host => format!("{scheme}://{host}"),
        Some(host) if !host.is_empty() && host.parse::<IpAddr>().is_err() => {
            format!("{scheme}://{host}:{port}")
        }
        Some(host) if !host.is_empty() && !is_unspecified(host) => {
            let address = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            format!("{scheme}://{}", SocketAddr::new(address, port))
        }
        _ => format!("{scheme}://{}", reachable(bound)),
    }
}

/// Returns the public URL of this server's root; `None` without PUBLIC_DOMAIN.
pub(super) fn public_base(gateway: &Gateway) -> Option<String> {
    let public = gateway.config.public.as_ref()?;
    Some(public.base(gateway.config.scheme()))
}

/// Returns whether LOCAL_HOST is only an address to bind to, which cannot be part of a URL.
fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
}

/// Returns the address at which others reach `bound`: if bound to all addresses, that of the default
/// route.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let route = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        // Connecting a datagram socket sends nothing; it only asks the kernel for the route.
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Addresses that are reserved for documentation (RFC 5737, RFC 3849).
    let by_v4 = || {
        route(
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        )
    };
    let by_v6 = || {
        let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        route(IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(documentation))
    };
    // A socket at [::] takes IPv4 as well, and people type that more easily.
    let address = match bound.ip() {
        IpAddr::V4(_) => by_v4().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(_) => by_v4()
            .or_else(by_v6)
            .unwrap_or(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    };
    SocketAddr::new(address, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_an_address_and_none_leaves_the_tree() {
        let path = TreePath::parse(b"/a b/%41#?\n\xff\"'<.mkv").unwrap();
        let encoded = encode_path(&path);
        assert_eq!(encoded, "/a%20b/%2541%23%3F%0A%FF%22%27%3C.mkv");
        assert_eq!(tree_path(&encoded).unwrap(), path);
        for hostile in ["/../etc", "/a/%2e%2e/b", "/a%2F..%2Fb", "/a%00b"] {
            assert!(tree_path(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn query_values_are_found() {
        assert_eq!(query_value(Some("a=1&v=x%20y"), "v").unwrap(), "x y");
        assert_eq!(query_value(Some("vv=1"), "v"), None);
        assert_eq!(query_value(None, "v"), None);
    }

    #[test]
    fn a_gateway_is_named_by_an_address_that_can_be_opened() {
        let base = |local_host: Option<&str>, bound: &str| {
            own_base(WebScheme::Http, local_host, bound.parse().unwrap())
        };
        assert_eq!(base(None, "127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(base(Some("::1"), "[::1]:80"), "http://[::1]:80");
        assert_eq!(base(Some("nas.lan"), "0.0.0.0:80"), "http://nas.lan:80");
        assert_eq!(base(Some("nas.lan:81"), "0.0.0.0:80"), "http://nas.lan:81");
        for (host, bound) in [(Some("0.0.0.0"), "0.0.0.0:80"), (Some("::"), "[::]:80")] {
            let base = base(host, bound);
            let address: SocketAddr = base.strip_prefix("http://").unwrap().parse().unwrap();
            assert!(!address.ip().is_unspecified(), "{base}");
        }
    }
}
