//! Subtitle files that lie beside a film, in its views. Which these are follows from the tree at each
//! look, so a file joins when it is read, follows a rename, and leaves when it is removed.

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
use crate::media::hls::external_subtitles::{self, Found, Joined};
use crate::media::hls::views::{ViewEntry, ViewKind, ViewNode};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_captions_name;
use crate::model::{
    Digest, Entry, EntryId, EntryKind, ErrorKind, FsResult, Ino, SubtitleInfo, ViewsState,
};

/// Names beside a film that are looked at: a film with more of them has no joined subtitles.
const MAX_BESIDE: usize = 1024;
/// Cookies of what joined: behind all that the film itself has, and made from the name, so that they
/// stay right while others come and go.
const COOKIE_JOINED: u64 = 1 << 62;

/// A view as it is now.
pub struct SeenView {
    /// The file that `node` is made of: the film, or a subtitle file that joined it.
    pub file: ViewedFile,
    pub node: ViewNode,
    /// Changes whenever the bytes do.
    pub tag: String,
    pub lasting: Lasting,
}

/// What joined a film, with the records that it is made of.
#[derive(Default)]
struct Company {
    joined: Vec<Joined>,
    entries: Vec<Arc<Entry>>,
}

impl Inner {
    /// The view at `path` of a film.
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
            let company = self.company(&file.entry)?;
            match external_subtitles::find(views, &company.joined, path) {
                Some(Found::OfFilm(node)) => {
                    let tag = match is_master {
                        true => format!("{tag}-{}", company.fingerprint()),
                        false => format!("{tag}-{path}"),
                    };
                    return Ok(SeenView {
                        file,
                        node,
                        tag,
                        lasting,
                    });
                }
                Some(Found::OfFile(one, view)) => {
                    let source = company.entry(one.file)?;
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

    /// `stat` of a view: with the owner, mode and times of the file that it is made of.
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

    /// What joined adds to a directory of a film's views, with cookies.
    pub(super) fn joined_children(
        &self,
        film: EntryId,
        path: &str,
    ) -> FsResult<Vec<(u64, VirtualChild)>> {
        if !external_subtitles::concerns(path) {
            return Ok(Vec::new());
        }
        let file = self.viewed(film)?;
        let company = self.company(&file.entry)?;
        let views = file.views()?;
        let found = match path {
            "" => external_subtitles::entries(views, &company.joined),
            _ => external_subtitles::entries_in(views, &company.joined, path).unwrap_or_default(),
        };
        let below = |entry: ViewEntry| {
            let path = match path {
                "" => entry.name.clone(),
                _ => format!("{path}/{}", entry.name),
            };
            let node = VirtualNode::View { file: film, path };
            // 61 bits of the number, which is made from the path.
            let cookie = COOKIE_JOINED | (node.ino().0 & (COOKIE_JOINED - 1));
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

    /// What joined a film, as people and programs are told.
    pub(super) fn joined_subtitles(&self, film: &Entry) -> FsResult<Vec<SubtitleInfo>> {
        let joined = self.company(film)?.joined.into_iter();
        Ok(joined
            .map(|one| SubtitleInfo {
                file: Some(one.file_name.display()),
                ..super::describe::subtitle_info(&one.subtitle)
            })
            .collect())
    }

    pub(super) fn open_seen(seen: SeenView) -> FsResult<OpenKind> {
        match seen.node {
            ViewNode::File(view) => Ok(OpenKind::View(Arc::new(OpenView::new(seen.file, view)))),
            ViewNode::Directory => Err(ErrorKind::IsDirectory.into()),
        }
    }

    /// The subtitle files beside a film. None where another film has the same stem: whose they are
    /// cannot be told then.
    fn company(&self, film: &Entry) -> FsResult<Company> {
        let EntryKind::File(content) = &film.kind else {
            return Ok(Company::default());
        };
        let ViewsState::Ready(views) = &content.views else {
            return Ok(Company::default());
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
            return Ok(Company::default());
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
            .filter(|child| is_captions_name(&child.name))
            .filter(is_ours)
        {
            match self.tree.recent_entry(child.id) {
                Ok(entry) => entries.push(entry),
                // Removed this very moment.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let read = entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File(content) => match &content.views {
                ViewsState::Captions(texts) => Some((entry.id, entry.name.clone(), &**texts)),
                _ => None,
            },
            EntryKind::Directory => None,
        });
        Ok(Company {
            joined: external_subtitles::join(views, stem, read.collect()),
            entries,
        })
    }
}

impl Company {
    fn entry(&self, id: EntryId) -> FsResult<&Arc<Entry>> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.id == id)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Of all that stands in a multivariant playlist.
    fn fingerprint(&self) -> Digest {
        let mut text = String::new();
        for one in &self.joined {
            text.push_str(&format!("{} {:?}\n", one.name, one.subtitle));
        }
        Digest::of(text.as_bytes())
    }
}
