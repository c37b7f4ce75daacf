//! The addresses at which a file can be played.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::wire::{DaemonInfo, UrlInfo};
use crate::model::shown;
use crate::model::{FileInfo, TreePath};

/// Returns the addresses of the file at `path`.
pub(super) fn urls(daemon: &DaemonInfo, info: &FileInfo, path: &TreePath) -> UrlInfo {
    let inner = shown::percent_encoded(&path.to_bytes());
    let mount = daemon
        .mountpoint()
        .filter(|_| info.has_views)
        .map(|root| view_in_mount(&root, path).into_os_string().into_vec());
    let local = |name: &str| {
        let base = daemon.http.as_ref()?;
        info.has_views
            .then(|| format!("{base}/playlist/local/{name}.m3u8"))
    };
    let public = daemon.public.as_ref().filter(|_| info.has_views);
    UrlInfo {
        id: info.id.clone(),
        path: info.path.clone(),
        path_bytes: info.path_bytes.clone(),
        local: local(&info.id),
        by_name: info.slug.as_deref().and_then(local),
        public: public.map(|base| format!("{base}/playlist/public/{}.m3u8", info.id)),
        file: daemon.http.as_ref().map(|base| format!("{base}/fs{inner}")),
        mount: mount.as_deref().map(shown::readable),
        mount_bytes: mount.as_deref().and_then(shown::inexact_bytes),
        has_views: info.has_views,
    }
}

/// Returns the path of a film's `master.m3u8` below the mountpoint.
fn view_in_mount(root: &Path, film: &TreePath) -> PathBuf {
    let bytes = film.to_bytes();
    let relative = bytes.strip_prefix(b"/").unwrap_or(&bytes);
    let film = OsStr::from_bytes(relative);
    root.join(".hls").join(film).join("master.m3u8")
}
