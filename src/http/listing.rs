//! Directory listings, as HTML for people or JSON for programs.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use axum::body::Body;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;

use crate::model::{FsResult, Name, TreePath};
use crate::vfs::FileKind;

use super::gateway::Gateway;
use super::resource::http_date;
use super::target;

/// Maximum of entries on one page of a listing; `?after=` continues behind it.
const PAGE_ENTRIES: usize = 5_000;

/// One name in a directory.
#[derive(Debug, Serialize)]
struct ListingEntry {
    /// Name, in which a byte that is not UTF-8 is shown as `\xE9`; `href` has the exact bytes.
    name: String,
    /// Percent-encoded and relative to the directory.
    href: String,
    kind: &'static str,
    /// Bytes.
    size: u64,
    /// Seconds since 1970.
    modified: i64,
}

/// One page of a listing.
#[derive(Debug, Serialize)]
struct ListingPage {
    path: String,
    entries: Vec<ListingEntry>,
    /// Value of `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Answers with the directory at `path`. `raw_path` is the path in the request: relative URLs depend on
/// whether it ends with a slash.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn answer(
    gateway: &Gateway,
    path: &TreePath,
    raw_path: &str,
    after: u64,
    headers: &HeaderMap,
) -> FsResult<Response<Body>> {
    let page = read(gateway, path, after)?;
    let (content_type, text) = if wants_json(headers) {
        let text = serde_json::to_string(&page).unwrap_or_default();
        ("application/json", text)
    } else {
        ("text/html; charset=utf-8", html(&page, raw_path))
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn read(gateway: &Gateway, path: &TreePath, after: u64) -> FsResult<ListingPage> {
    let mut found = Vec::new();
    let mut next = None;
    gateway.library.read_directory(path, after, &mut |entry| {
        if entry.name == b"." || entry.name == b".." {
            return ControlFlow::Continue(());
        }
        if let Some((_, cookie)) = found.last()
            && found.len() == PAGE_ENTRIES
        {
            next = Some(*cookie);
            return ControlFlow::Break(());
        }
        found.push((entry.name.clone(), entry.cookie));
        ControlFlow::Continue(())
    })?;
    let entries = found
        .into_iter()
        // A name that was removed in the meantime is not listed.
        .filter_map(|(name, _)| item(gateway, path, Name::new(name).ok()?))
        .collect();
    Ok(ListingPage {
        path: path.display(),
        entries,
        next,
    })
}

fn item(gateway: &Gateway, directory: &TreePath, name: Name) -> Option<ListingEntry> {
    let attr = gateway
        .library
        .resolve(&directory.join(name.clone()))
        .ok()?;
    let (kind, slash) = match attr.kind {
        FileKind::File => ("file", ""),
        FileKind::Directory => ("directory", "/"),
    };
    Some(ListingEntry {
        name: name.display(),
        href: format!("{}{slash}", target::encode(name.as_bytes())),
        kind,
        size: attr.size,
        modified: attr.mtime.seconds,
    })
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|item| item.split(';').next())
        .map(str::trim)
        // The type that the client names first is close enough to the one it prefers.
        .find(|kind| *kind == "application/json" || *kind == "text/html")
        == Some("application/json")
}

fn html(page: &ListingPage, raw_path: &str) -> String {
    // Without a slash at the end, relative URLs start at the parent.
    let here = match raw_path.rsplit('/').next() {
        None | Some("") => String::new(),
        Some(last) => format!("{last}/"),
    };
    let title = escape(&page.path);
    let mut rows = String::new();
    if page.path != "/" {
        let _ = writeln!(rows, "<tr><td><a href=\"{here}../\">../</a><td><td>");
    }
    for item in &page.entries {
        let slash = if item.kind == "directory" { "/" } else { "" };
        let size = match item.kind {
            "directory" => String::new(),
            _ => item.size.to_string(),
        };
        let _ = writeln!(
            rows,
            "<tr><td><a href=\"{here}{}\">{}{slash}</a><td class=n>{size}<td class=n>{}",
            item.href,
            escape(&item.name),
            http_date(item.modified).unwrap_or_default(),
        );
    }
    if let Some(next) = page.next {
        let _ = writeln!(rows, "<tr><td><a href=\"?after={next}\">more…</a><td><td>");
    }
    format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<table>\n{rows}</table>\n"
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:64rem;padding:0 1rem;\
color-scheme:light dark}td{padding:.15rem .75rem .15rem 0;overflow-wrap:anywhere}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums;opacity:.7}h1{font-size:1.2rem;overflow-wrap:anywhere}\
@media(max-width:40rem){td:nth-child(3){display:none}}";

/// Escapes text for element content and quoted attributes. Control characters become their symbols: a
/// newline in a name must not look like two entries.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{0}'..='\u{1f}' => {
                out.extend(char::from_u32(0x2400 + u32::from(character)));
            }
            '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text() {
        assert_eq!(
            escape("<b>\"'&\n\u{202e}x"),
            "&lt;b&gt;&quot;&#39;&amp;\u{240a}\u{fffd}x"
        );
    }

    #[test]
    fn json_is_for_those_who_ask_for_it_first() {
        for (accept, json) in [
            ("application/json", true),
            ("application/json, */*;q=0.5", true),
            ("text/html,application/json;q=0.9", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_json(&headers), json, "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }
}
