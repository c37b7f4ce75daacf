//! The views of films as directories and files, with the external subtitles beside each film.

use std::collections::HashSet;
use std::sync::Arc;

use super::attr;
use super::external_subtitles::ExternalSubtitles;
use super::open::OpenKind;
use super::open_view::OpenView;
use super::types::{Attr, FileKind, Lasting};
use super::view_versions::{ViewVersions, is_version};
use super::viewed_file::ViewedFile;
use super::virtual_tree::VirtualNode;
use crate::media::hls::external_subtitles::{self, ExternalView};
use crate::media::hls::view::{ViewEntry, ViewKind, ViewNode};
use crate::media::hls::views;
use crate::model::{
    Digest, Entry, EntryId, ErrorKind, FsResult, Ino, PackId, Subtitle, SubtitleInfo,
};
use crate::tree::Tree;

/// First directory cookie of external subtitles. It is above all cookies of the film's own views.
/// The rest of a cookie comes from the name, so it stays valid while other files come and go.
const COOKIE_EXTERNAL: u64 = 1 << 62;

/// A name in a virtual directory.
#[derive(Debug, Clone)]
pub struct VirtualChild {
    pub name: Vec<u8>,
    pub node: VirtualNode,
    pub kind: FileKind,
}

/// A view at the moment of the look-up.
#[derive(Debug)]
pub struct SeenView {
    /// The file that `node` is made from: the film, or a subtitle file beside it.
    pub file: ViewedFile,
    pub node: ViewNode,
    /// Validator that changes whenever the bytes do.
    pub tag: String,
    pub lasting: Lasting,
}

impl SeenView {
    /// Opens the view for reading.
    ///
    /// # Errors
    /// `IsDirectory`.
    pub fn open(self) -> FsResult<OpenKind> {
        match self.node {
            ViewNode::File(view) => Ok(OpenKind::View(Arc::new(OpenView::new(self.file, view)))),
            ViewNode::Directory => Err(ErrorKind::IsDirectory.into()),
        }
    }
}

/// Views of all films.
#[derive(Debug)]
pub struct FilmViews {
    tree: Arc<Tree>,
    external: ExternalSubtitles,
    versions: ViewVersions,
}

impl FilmViews {
    /// Creates the views over the files of `tree`.
    pub fn new(tree: Arc<Tree>) -> Self {
        Self {
            external: ExternalSubtitles::new(Arc::clone(&tree)),
            versions: ViewVersions::default(),
            tree,
        }
    }

    /// Returns a file with ready views.
    ///
    /// # Errors
    /// `NotFound` while it has none, or `Io`.
    pub fn viewed(&self, id: EntryId) -> FsResult<ViewedFile> {
        let file = ViewedFile {
            entry: self.tree.recent_entry(id)?,
        };
        file.views()?;
        Ok(file)
    }

    /// Returns the digest of the map of a film's views, and keeps these views for the players that get
    /// URLs with it.
    ///
    /// # Errors
    /// `NotFound` while it has none, or `Io`.
    pub fn version(&self, film: EntryId) -> FsResult<Digest> {
        let file = self.viewed(film)?;
        self.versions.note(&file)?;
        Ok(file.views()?.map_digest)
    }

    /// Returns the view at `path` of a film, in the version whose map's digest begins with `digits`.
    ///
    /// # Errors
    /// `NotFound`, also when no player used the version lately, or `Io`.
    pub fn seen_in_version(&self, film: EntryId, digits: &str, path: &str) -> FsResult<SeenView> {
        // The film has to exist, in whatever version.
        self.tree.recent_entry(film)?;
        let newest = self.viewed(film);
        let file = match newest {
            Ok(file) if is_version(file.views()?.map_digest, digits) => {
                self.versions.note(&file)?;
                file
            }
            _ => {
                let known = self.versions.find(film, digits);
                known.ok_or(ErrorKind::NotFound)?
            }
        };
        self.seen_of(file, path)
    }

    /// Returns the packs of views that players use, newer ones or not.
    pub fn packs_in_use(&self) -> HashSet<PackId> {
        self.versions
            .packs(|film| match self.tree.recent_entry(film) {
                Ok(_) => true,
                // An index that cannot be read says nothing.
                Err(error) => error.kind != ErrorKind::NotFound,
            })
    }

    /// Returns the view at `path` of a film.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn seen(&self, film: EntryId, path: &str) -> FsResult<SeenView> {
        self.seen_of(self.viewed(film)?, path)
    }

    fn seen_of(&self, file: ViewedFile, path: &str) -> FsResult<SeenView> {
        let views = file.views()?;
        let tag = file.tag()?;
        let is_master = path.ends_with("master.m3u8");
        let lasting = match is_master {
            true => Lasting::Changes,
            false => Lasting::AsLongAsTheMap,
        };
        if external_subtitles::concerns(path) {
            // The film may have moved since the version was made.
            let newest = self.tree.recent_entry(file.entry.id)?;
            let beside = self.external.beside(&newest)?;
            match external_subtitles::find(views, &beside.external, path) {
                Some(ExternalView::OfFilm(node)) => {
                    let tag = match is_master {
                        true => format!("{tag}-{}", beside.fingerprint()),
                        false => format!("{tag}-{path}"),
                    };
                    return Ok(SeenView {
                        file,
                        node,
                        tag,
                        lasting,
                    });
                }
                Some(ExternalView::OfFile(one, view)) => {
                    let source = beside.entry(one.file)?;
                    let source = ViewedFile {
                        entry: Arc::clone(source),
                    };
                    return Ok(SeenView {
                        tag: format!("{tag}-{}", source.derived()?.id),
                        file: source,
                        node: ViewNode::File(view),
                        // Another file may get the same key later, but never the same directory name.
                        lasting: match path.starts_with(&one.name) {
                            true => Lasting::AsLongAsTheMap,
                            false => Lasting::Changes,
                        },
                    });
                }
                None => {}
            }
        }
        let node = file.node(path)?;
        Ok(SeenView {
            file,
            node,
            tag,
            lasting,
        })
    }

    /// Returns the attributes of a view, with the owner, mode and times of the file that it is made from.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn attr(&self, seen: &SeenView, ino: Ino) -> FsResult<Attr> {
        let owner = self.tree.node(seen.file.entry.id)?;
        Ok(match &seen.node {
            ViewNode::Directory => attr::view_directory(&owner, ino),
            ViewNode::File(view) => {
                let making = seen.file.derived()?.id;
                attr::made_view(&owner, ino, view.size, making)
            }
        })
    }

    /// Returns the names of a directory of a film's own views.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io`.
    pub fn children(&self, film: EntryId, path: &str) -> FsResult<Vec<VirtualChild>> {
        let viewed = self.viewed(film)?;
        // A directory of external subtitles has no other names.
        let Some(found) = views::entries(viewed.views()?, path) else {
            return match self.seen(film, path)?.node {
                ViewNode::Directory => Ok(Vec::new()),
                ViewNode::File(_) => Err(ErrorKind::NotDirectory.into()),
            };
        };
        let children = found.into_iter();
        Ok(children.map(|entry| child_of(film, path, entry)).collect())
    }

    /// Returns the entries that external subtitles add to a directory of a film's views, each with
    /// its cookie.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn external_children(
        &self,
        film: EntryId,
        path: &str,
    ) -> FsResult<Vec<(u64, VirtualChild)>> {
        if !external_subtitles::concerns(path) {
            return Ok(Vec::new());
        }
        let file = self.viewed(film)?;
        let beside = self.external.beside(&file.entry)?;
        let views = file.views()?;
        let found = match path {
            "" => external_subtitles::entries(views, &beside.external),
            _ => external_subtitles::entries_in(views, &beside.external, path).unwrap_or_default(),
        };
        let with_cookie = |entry: ViewEntry| {
            let child = child_of(film, path, entry);
            // The inode number is a hash of the path, and 61 bits of it are enough to tell names apart.
            let cookie = COOKIE_EXTERNAL | (child.node.ino().0 & (COOKIE_EXTERNAL - 1));
            (cookie, child)
        };
        let mut children: Vec<(u64, VirtualChild)> = found.into_iter().map(with_cookie).collect();
        children.sort_by_key(|(cookie, _)| *cookie);
        Ok(children)
    }

    /// Returns the external subtitles of a film as commands and HTTP list them.
    ///
    /// # Errors
    /// `Io`.
    pub fn external_subtitles(&self, film: &Entry) -> FsResult<Vec<SubtitleInfo>> {
        let external = self.external.beside(film)?.external.into_iter();
        Ok(external
            .map(|one| SubtitleInfo {
                file: Some(one.file_name.display()),
                ..subtitle_info(&one.subtitle)
            })
            .collect())
    }
}

fn child_of(film: EntryId, directory: &str, entry: ViewEntry) -> VirtualChild {
    let path = match directory {
        "" => entry.name.clone(),
        _ => format!("{directory}/{}", entry.name),
    };
    VirtualChild {
        name: entry.name.into_bytes(),
        node: VirtualNode::View { file: film, path },
        kind: match entry.kind {
            ViewKind::Directory => FileKind::Directory,
            ViewKind::File(_) => FileKind::File,
        },
    }
}

/// Describes a subtitle of a film for commands and HTTP.
pub fn subtitle_info(subtitle: &Subtitle) -> SubtitleInfo {
    let formats = subtitle.texts.iter();
    SubtitleInfo {
        key: subtitle.key.clone(),
        language: subtitle.language.clone(),
        title: subtitle.title.clone(),
        forced: subtitle.forced,
        default: subtitle.default,
        hearing_impaired: subtitle.hearing_impaired,
        file: None,
        formats: formats
            .map(|(format, _)| format.extension().to_owned())
            .collect(),
    }
}
