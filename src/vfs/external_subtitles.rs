//! The user's subtitle files in the views of the film beside them. Which files these are is found in
//! the tree at each look, so a file appears once it has been read, follows a rename, and disappears
//! when it is removed.

use std::sync::Arc;

use super::Inner;
use super::attr;
use super::open::OpenKind;
use super::open_view::OpenView;
use super::types::{Attr, FileKind, Lasting};
use super::viewed_file::ViewedFile;
use super::views::VirtualChild;
use super::virtual_tree::VirtualNode;
use crate::index::{Child, ChildKind};
use crate::media::hls::external_subtitles::{self, ExternalView, FileBeside};
use crate::media::hls::tags::ExternalSubtitle;
use crate::media::hls::view::{ViewEntry, ViewKind, ViewNode};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{
    Digest, Entry, EntryId, EntryKind, ErrorKind, FsResult, Ino, SubtitleInfo, ViewsState,
};

/// Most names beside a film: one with more of them has no external subtitles.
const MAX_BESIDE: usize = 1024;
/// First directory cookie of external subtitles. It is above all cookies of the film's own views; the
/// rest of a cookie comes from the name, so it stays valid while other files come and go.
const COOKIE_EXTERNAL: u64 = 1 << 62;

/// A view at the moment of the look.
pub struct SeenView {
    /// The file that `node` is made from: the film, or a subtitle file beside it.
    pub file: ViewedFile,
    pub node: ViewNode,
    /// Validator that changes whenever the bytes do.
    pub tag: String,
    pub lasting: Lasting,
}

/// The subtitle files beside a film.
#[derive(Default)]
struct SubtitlesBeside {
    /// Those that have been read, as the film shows them.
    external: Vec<ExternalSubtitle>,
    /// Records of all of them.
    entries: Vec<Arc<Entry>>,
}

impl Inner {
    /// Returns the view at `path` of a film.
    pub(super) fn seen_view(&self, film: EntryId, path: &str) -> FsResult<SeenView> {
        let file = self.viewed(film)?;
        let views = file.views()?;
        let tag = file.tag()?;
        let is_master = path.ends_with("master.m3u8");
        let lasting = match is_master {
            true => Lasting::Changes,
            false => Lasting::AsLongAsTheMap,
        };
        if external_subtitles::concerns(path) {
            let beside = self.subtitles_beside(&file.entry)?;
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
                        // Its key can be another file's later; the name of its directory cannot.
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

    /// Returns the attributes of a view, with the owner, mode and times of the file that it is made
    /// from.
    pub(super) fn attr_of_seen(&self, seen: &SeenView, ino: Ino) -> FsResult<Attr> {
        let owner = self.tree.node(seen.file.entry.id)?;
        Ok(match &seen.node {
            ViewNode::Directory => attr::view_directory(&owner, ino),
            ViewNode::File(view) => {
                let making = seen.file.derived()?.id;
                attr::made_view(&owner, ino, view.size, making)
            }
        })
    }

    /// Returns what external subtitles add to a directory of a film's views, each with its cookie.
    pub(super) fn external_children(
        &self,
        film: EntryId,
        path: &str,
    ) -> FsResult<Vec<(u64, VirtualChild)>> {
        if !external_subtitles::concerns(path) {
            return Ok(Vec::new());
        }
        let file = self.viewed(film)?;
        let beside = self.subtitles_beside(&file.entry)?;
        let views = file.views()?;
        let found = match path {
            "" => external_subtitles::entries(views, &beside.external),
            _ => external_subtitles::entries_in(views, &beside.external, path).unwrap_or_default(),
        };
        let below = |entry: ViewEntry| {
            let path = match path {
                "" => entry.name.clone(),
                _ => format!("{path}/{}", entry.name),
            };
            let node = VirtualNode::View { file: film, path };
            // The inode number is a hash of the path; 61 bits of it tell names apart.
            let cookie = COOKIE_EXTERNAL | (node.ino().0 & (COOKIE_EXTERNAL - 1));
            let child = VirtualChild {
                name: entry.name.into_bytes(),
                node,
                kind: match entry.kind {
                    ViewKind::Directory => FileKind::Directory,
                    ViewKind::File(_) => FileKind::File,
                },
            };
            (cookie, child)
        };
        let mut children: Vec<(u64, VirtualChild)> = found.into_iter().map(below).collect();
        children.sort_by_key(|(cookie, _)| *cookie);
        Ok(children)
    }

    /// Returns the external subtitles of a film as commands and HTTP list them.
    pub(super) fn external_subtitles(&self, film: &Entry) -> FsResult<Vec<SubtitleInfo>> {
        let external = self.subtitles_beside(film)?.external.into_iter();
        Ok(external
            .map(|one| SubtitleInfo {
                file: Some(one.file_name.display()),
                ..super::describe::subtitle_info(&one.subtitle)
            })
            .collect())
    }

    /// Returns what a handle on a view holds.
    pub(super) fn open_seen(seen: SeenView) -> FsResult<OpenKind> {
        match seen.node {
            ViewNode::File(view) => Ok(OpenKind::View(Arc::new(OpenView::new(seen.file, view)))),
            ViewNode::Directory => Err(ErrorKind::IsDirectory.into()),
        }
    }

    /// Returns the subtitle files beside a film; none if another film has the same stem, since nothing
    /// tells which of them the files belong to.
    fn subtitles_beside(&self, film: &Entry) -> FsResult<SubtitlesBeside> {
        let EntryKind::File(content) = &film.kind else {
            return Ok(SubtitlesBeside::default());
        };
        let ViewsState::Ready(views) = &content.views else {
            return Ok(SubtitlesBeside::default());
        };
        let (stem, _) = film.name.split_extension();
        let prefix = [stem, b"."].concat();
        let beside = self
            .tree
            .children_named(film.parent, &prefix, MAX_BESIDE + 1)?;
        let is_file = |child: &&Child| child.kind == ChildKind::File;
        let films: Vec<&Child> = beside
            .iter()
            .filter(is_file)
            .filter(|child| child.id != film.id && media_kind(&child.name).is_media())
            .collect();
        let stem_of = |child: &Child| child.name.split_extension().0.to_vec();
        if beside.len() > MAX_BESIDE || films.iter().any(|child| stem_of(child) == stem) {
            return Ok(SubtitlesBeside::default());
        }
        // `Heat.Cut.eng.srt` is `Heat.Cut.mkv`'s, not `Heat.mkv`'s.
        let longer: Vec<Vec<u8>> = films.iter().map(|child| stem_of(child)).collect();
        let is_ours = |child: &&Child| {
            let name = child.name.as_bytes();
            !longer
                .iter()
                .any(|stem| name.starts_with(stem) && name.get(stem.len()) == Some(&b'.'))
        };
        let mut entries = Vec::new();
        let texts = beside.iter().filter(is_file);
        for child in texts
            .filter(|child| is_subtitle_name(&child.name))
            .filter(is_ours)
        {
            match self.tree.recent_entry(child.id) {
                Ok(entry) => entries.push(entry),
                // It was removed since the directory was read.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let read = entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File(content) => match &content.views {
                ViewsState::Subtitles(texts) => Some(FileBeside {
                    file: entry.id,
                    name: entry.name.clone(),
                    texts,
                }),
                _ => None,
            },
            EntryKind::Directory => None,
        });
        Ok(SubtitlesBeside {
            external: external_subtitles::attach(views, stem, read.collect()),
            entries,
        })
    }
}

impl SubtitlesBeside {
    fn entry(&self, id: EntryId) -> FsResult<&Arc<Entry>> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.id == id)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns a digest of everything that a multivariant playlist says of the files.
    fn fingerprint(&self) -> Digest {
        let mut text = String::new();
        for one in &self.external {
            text.push_str(&format!("{} {:?}\n", one.name, one.subtitle));
        }
        Digest::of(text.as_bytes())
    }
}
