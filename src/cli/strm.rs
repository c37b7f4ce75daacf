//! `strm`: writes a tree of small text files, each with the URL of a film, for media servers that play
//! URLs (Jellyfin, Emby, Kodi).

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::args::StrmArgs;
use super::context::Context;
use super::outcome::{Outcome, Problems};
use super::output::{self, Format, count};
use super::session::answers_of;
use crate::config::HttpTrust;
use crate::control::{Request, Response, WirePath};
use crate::model::{FileInfo, MAX_NAME_BYTES, shown};

const EXTENSION: &str = "strm";
/// Characters of a film's id in a name that was cut.
const ID_CHARS: usize = 8;
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
    /// Films that only their owner may read. Without a login their URLs answer 404.
    private: u64,
}

pub(super) async fn run(arguments: &StrmArgs, context: &Context) -> Outcome {
    let base = &arguments.base_url;
    let answers = answers_of(&context.config, |_| {
        let directory = WirePath::new(b"/");
        Ok(Request::List { directory })
    })
    .await?;
    let films = answers.into_iter().filter_map(|answer| match answer {
        Response::File(file) if file.has_views => Some(file),
        _ => None,
    });
    let needs_login = context.config.get().http.trust == HttpTrust::Token;
    let (closed, films): (Vec<_>, Vec<_>) = films.partition(|film| film.is_private && needs_login);
    let wanted = contents(films, base);
    let mut problems = Vec::new();
    let mut written = write_all(&arguments.directory, &wanted, base, &mut problems)
        .with_context(|| arguments.directory.display().to_string())?;
    written.private = closed.len() as u64;
    if written.private > 0 {
        output::note(&format!(
            "{} left out, because only the owner may read them and a media server has no login; `chmod o+r` \
             the files, and `chmod o+x` their directories, to let it in",
            count(written.private, "film")
        ));
    }
    match context.format {
        Format::Json => output::json(&written)?,
        Format::Text => output::write(&format!(
            "{}: {} written, {} kept, {} removed\n",
            count(written.films, "film"),
            written.written,
            written.kept,
            written.removed
        ))?,
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Problems(problems).into()),
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
        by_stem
            .entry(relative(&film).with_extension(""))
            .or_default()
            .push(film);
    }
    let mut wanted = BTreeMap::new();
    for (stem, films) in by_stem {
        // Two files whose names differ only in the suffix keep it, so that both exist.
        let is_alone = films.len() == 1;
        for film in films {
            let path = match is_alone {
                true => stem.clone(),
                false => relative(&film),
            };
            let url = format!("{base}/playlist/{side}/{}.m3u8\n", film.id);
            wanted.insert(with_strm(path, &film.id), url);
        }
    }
    wanted
}

/// Returns the film's path below the root, in its exact bytes.
fn relative(film: &FileInfo) -> PathBuf {
    let bytes = shown::bytes_of(&film.path, film.path_bytes.as_deref());
    let inside = bytes.strip_prefix(b"/").unwrap_or(&bytes);
    PathBuf::from(OsStr::from_bytes(inside))
}

/// Adds the extension. A name that would be too long for a file system is cut, and told from others by the
/// film's id.
fn with_strm(path: PathBuf, id: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    if name.len() + 1 + EXTENSION.len() <= MAX_NAME_BYTES {
        let mut whole = path.into_os_string();
        whole.push(".");
        whole.push(EXTENSION);
        return PathBuf::from(whole);
    }
    let end = format!("~{}.{EXTENSION}", id.get(..ID_CHARS).unwrap_or(id));
    let mut cut = MAX_NAME_BYTES - end.len();
    // No character is cut in two.
    while cut > 0 && name[cut] & 0xc0 == 0x80 {
        cut -= 1;
    }
    let short = [&name[..cut], end.as_bytes()].concat();
    path.with_file_name(OsStr::from_bytes(&short))
}

/// Writes all files. One that cannot be written is added to `problems`, and the others are written.
fn write_all(
    root: &Path,
    wanted: &BTreeMap<PathBuf, String>,
    base: &str,
    problems: &mut Vec<String>,
) -> io::Result<Written> {
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
            match write_one(&path, content) {
                Ok(()) => written.written += 1,
                Err(error) => problems.push(format!("{}: {error}", path.display())),
            }
        }
        ours.insert(path);
    }
    let stale = format!("{base}/playlist/");
    let mut stale = StaleFiles {
        ours: &ours,
        prefix: &stale,
        removed: 0,
        problems,
    };
    stale.remove_below(root);
    written.removed = stale.removed;
    Ok(written)
}

fn write_one(path: &Path, content: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, content)
}

/// Files that an earlier run wrote and this one did not, known by their content.
struct StaleFiles<'a> {
    ours: &'a HashSet<PathBuf>,
    /// Begin of the content of our files.
    prefix: &'a str,
    removed: u64,
    problems: &'a mut Vec<String>,
}

impl StaleFiles<'_> {
    /// Removes them, and directories that are empty then. Files of others stay. Links are not followed.
    fn remove_below(&mut self, directory: &Path) {
        let items = match fs::read_dir(directory) {
            Ok(items) => items,
            Err(error) => return self.note(directory, &error),
        };
        for item in items {
            match item.and_then(|item| Ok((item.path(), item.file_type()?))) {
                Ok((path, kind)) if kind.is_dir() => {
                    let before = self.removed;
                    self.remove_below(&path);
                    if self.removed > before {
                        // A directory that is not empty stays.
                        let _ = fs::remove_dir(&path);
                    }
                }
                Ok((path, kind)) if kind.is_file() => self.remove_file(&path),
                Ok(_) => {}
                Err(error) => self.note(directory, &error),
            }
        }
    }

    fn remove_file(&mut self, path: &Path) {
        if self.ours.contains(path) || !is_stale(path, self.prefix) {
            return;
        }
        match fs::remove_file(path) {
            Ok(()) => self.removed += 1,
            Err(error) => self.note(path, &error),
        }
    }

    fn note(&mut self, path: &Path, error: &io::Error) {
        self.problems.push(format!("{}: {error}", path.display()));
    }
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
    fn a_long_name_is_cut_between_characters() {
        let named = |name: &str| with_strm(PathBuf::from(format!("a/{name}")), "0123456789");
        assert_eq!(
            named(&"x".repeat(250)),
            Path::new("a").join("x".repeat(250) + ".strm")
        );
        for name in ["x".repeat(251), "あ".repeat(84), "あ".repeat(83) + "xx"] {
            let cut = named(&name);
            let cut = cut.file_name().unwrap().to_str().unwrap();
            assert!(
                cut.len() <= MAX_NAME_BYTES && cut.ends_with("~01234567.strm"),
                "{cut}"
            );
        }
    }
}
