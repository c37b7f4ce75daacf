//! `strm`: writes a tree of small text files, each with the URL of a film, for media servers that play
//! URLs (Jellyfin, Emby, Kodi).

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::args::StrmArgs;
use super::context::Context;
use super::outcome::Outcome;
use super::output::{self, Format, count};
use super::session::answers_of;
use crate::control::{Request, Response, WirePath};
use crate::model::FileInfo;

const EXTENSION: &str = "strm";
/// Longest content that is read, in bytes: our URLs are far shorter.
const MAX_CONTENT_BYTES: u64 = 4096;

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Written {
    films: u64,
    written: u64,
    /// Files that were right already. They are not touched, so no media server scans them again.
    kept: u64,
    /// Files of films that no longer exist.
    removed: u64,
}

pub(super) async fn run(arguments: &StrmArgs, context: &Context) -> Outcome {
    let base = base_url(&arguments.base_url)?;
    let answers = answers_of(&context.config, |_| {
        let directory = WirePath::new(b"/");
        Ok(Request::List { directory })
    })
    .await?;
    let films = answers.into_iter().filter_map(|answer| match answer {
        Response::File(file) if file.has_views => Some(file),
        _ => None,
    });
    let wanted = contents(films.collect(), &base);
    let written = write_all(&arguments.directory, &wanted, &base)
        .with_context(|| arguments.directory.display().to_string())?;
    match context.format {
        Format::Json => output::json(&written),
        Format::Text => Ok(output::write(&format!(
            "{}: {} written, {} kept, {} removed\n",
            count(written.films, "film"),
            written.written,
            written.kept,
            written.removed
        ))?),
    }
}

/// Checks the base URL, and cuts a slash at its end.
fn base_url(typed: &str) -> anyhow::Result<String> {
    let base = typed.trim_end_matches('/');
    let host = base
        .strip_prefix("http://")
        .or_else(|| base.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !base.contains(char::is_whitespace) => {
            Ok(base.to_owned())
        }
        _ => bail!(
            "--base-url {typed}: give the address at which players reach this machine, e.g. http://192.168.1.5:8080"
        ),
    }
}

/// Returns the content of each file, by its path below the directory. The ids in the URLs survive
/// renames.
fn contents(films: Vec<FileInfo>, base: &str) -> BTreeMap<PathBuf, String> {
    // Behind a proxy with TLS, links must lead to the public host.
    let side = match base.starts_with("https://") {
        true => "public",
        false => "local",
    };
    let mut by_stem: BTreeMap<PathBuf, Vec<FileInfo>> = BTreeMap::new();
    for film in films {
        let path = PathBuf::from(film.path.trim_start_matches('/'));
        by_stem
            .entry(path.with_extension(""))
            .or_default()
            .push(film);
    }
    let mut wanted = BTreeMap::new();
    for (stem, films) in by_stem {
        // Two files whose names differ only in the suffix keep it, so that both exist.
        let is_alone = films.len() == 1;
        for film in films {
            let mut name = match is_alone {
                true => stem.clone(),
                false => PathBuf::from(film.path.trim_start_matches('/')),
            }
            .into_os_string();
            name.push(".");
            name.push(EXTENSION);
            let url = format!("{base}/playlist/{side}/{}.m3u8\n", film.id);
            wanted.insert(PathBuf::from(name), url);
        }
    }
    wanted
}

fn write_all(root: &Path, wanted: &BTreeMap<PathBuf, String>, base: &str) -> io::Result<Written> {
    let mut written = Written {
        films: wanted.len() as u64,
        ..Written::default()
    };
    fs::create_dir_all(root)?;
    let mut ours = HashSet::new();
    for (path, content) in wanted {
        let path = root.join(path);
        if fs::read(&path).is_ok_and(|there| there == content.as_bytes()) {
            written.kept += 1;
        } else {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::write(&path, content)?;
            written.written += 1;
        }
        ours.insert(path);
    }
    let stale = format!("{base}/playlist/");
    remove_stale(root, &ours, &stale, &mut written.removed)?;
    Ok(written)
}

/// Removes files that an earlier run wrote and this one did not, known by their content, and directories
/// that are empty then. Files of others stay. Links are not followed.
fn remove_stale(
    directory: &Path,
    ours: &HashSet<PathBuf>,
    prefix: &str,
    removed: &mut u64,
) -> io::Result<()> {
    for item in fs::read_dir(directory)? {
        let item = item?;
        let (path, kind) = (item.path(), item.file_type()?);
        if kind.is_dir() {
            let before = *removed;
            remove_stale(&path, ours, prefix, removed)?;
            if *removed > before {
                // A directory that is not empty stays.
                let _ = fs::remove_dir(&path);
            }
        } else if kind.is_file() && !ours.contains(&path) && is_stale(&path, prefix) {
            fs::remove_file(&path)?;
            *removed += 1;
        }
    }
    Ok(())
}

fn is_stale(path: &Path, prefix: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension == EXTENSION)
        && fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MAX_CONTENT_BYTES)
        && fs::read(path).is_ok_and(|content| content.starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_url_of_this_machine() {
        assert_eq!(base_url("http://nas:8080/").unwrap(), "http://nas:8080");
        for typed in ["nas:8080", "http://", "ftp://nas", "http://a b"] {
            assert!(
                base_url(typed)
                    .unwrap_err()
                    .to_string()
                    .contains("http://192")
            );
        }
    }
}
