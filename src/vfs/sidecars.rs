//! Subtitles that show as files beside their film, and the names that they leave behind.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::open_view::OpenView;
use super::settings::SharedSettings;
use super::types::FileKind;
use super::viewed_file::ViewedFile;
use super::views::{FilmViews, VirtualChild};
use super::virtual_tree::{Ghosts, VirtualNode};
use crate::index::ChildKind;
use crate::media::hls::view::{ViewFile, ViewNode};
use crate::media::inspect::name::media_kind;
use crate::model::{
    Entry, EntryId, EntryKind, ErrorKind, FileContent, FilePurpose, FsResult, Ino, Name,
    SidecarSubtitles, ViewsState,
};
use crate::tree::Tree;

/// Sidecar files of all films. They are not stored: each one is a view of its film.
#[derive(Debug)]
pub struct SidecarFiles {
    tree: Arc<Tree>,
    views: Arc<FilmViews>,
    settings: SharedSettings,
    ghosts: Ghosts,
}

impl SidecarFiles {
    pub fn new(tree: Arc<Tree>, views: Arc<FilmViews>, settings: SharedSettings) -> Self {
        Self {
            tree,
            views,
            settings,
            ghosts: Ghosts::default(),
        }
    }

    /// Returns the names of sidecars whose film left its directory within the last minute.
    pub fn ghosts(&self) -> &Ghosts {
        &self.ghosts
    }

    /// Returns the sidecars that a film shows in its directory.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn of(&self, film: EntryId) -> FsResult<Vec<VirtualChild>> {
        if self.settings.get().sidecars == SidecarSubtitles::Absent {
            return Ok(Vec::new());
        }
        let viewed = ViewedFile {
            entry: self.tree.recent_entry(film)?,
        };
        let names = shown_names(&viewed.entry.name, viewed.content()?);
        let children = names.into_iter().map(|(key, name)| VirtualChild {
            name: name.into(),
            node: VirtualNode::Sidecar { film, key },
            kind: FileKind::File,
        });
        Ok(children.collect())
    }

    /// Returns the sidecar of this name in a directory. Its film is the file whose stem starts the name.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn named(&self, parent: EntryId, name: &Name) -> FsResult<Option<VirtualNode>> {
        let (_, extension) = name.split_extension();
        if !matches!(extension, b"srt" | b"sup" | b"mks") {
            return Ok(None);
        }
        let found = self.tree.each_child(parent, Ino(0), |child| {
            let (stem, _) = child.name.split_extension();
            let fits =
                name.as_bytes().starts_with(stem) && name.as_bytes().get(stem.len()) == Some(&b'.');
            if child.kind == ChildKind::File && fits && media_kind(&child.name).is_media() {
                let mut sidecars = self.of(child.id)?.into_iter();
                if let Some(found) = sidecars.find(|s| s.name == name.as_bytes()) {
                    return Ok(ControlFlow::Break(found.node));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found.break_value())
    }

    /// Returns the view that a sidecar shows. For a text this is its `.srt`, for pictures the file itself.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn view(&self, film: EntryId, key: &str) -> FsResult<ViewFile> {
        let viewed = self.views.viewed(film)?;
        let is_file = viewed.views()?.files.iter().any(|file| file.path == key);
        let path = if is_file {
            key.to_owned()
        } else {
            format!("{key}.srt")
        };
        match viewed.node(&path)? {
            ViewNode::File(view) => Ok(view),
            ViewNode::Directory => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Opens a sidecar for reading.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn open(&self, film: EntryId, key: &str) -> FsResult<OpenView> {
        let view = self.view(film, key)?;
        Ok(OpenView::new(self.views.viewed(film)?, view))
    }

    /// Hides a sidecar for good, because the user removed it or has a file of that name.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn hide(&self, film: EntryId, name: Name) -> FsResult<()> {
        self.tree.update(film, |entry| {
            if let EntryKind::File(content) = &mut entry.kind
                && !content.hidden_sidecars.contains(&name)
            {
                content.hidden_sidecars.push(name);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Hides a sidecar whose name was taken by a user's file. The generated sidecar does not come
    /// back when that file is removed.
    pub fn was_replaced(&self, sidecar: Option<VirtualNode>, name: Name) {
        let Some(VirtualNode::Sidecar { film, .. }) = sidecar else {
            return;
        };
        if let Err(error) = self.hide(film, name) {
            tracing::warn!(%film, %error, "a replaced subtitle may show again");
        }
    }

    /// Keeps hidden sidecars hidden under the film's new name.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn film_was_renamed(&self, film: &Entry, old_name: &Name) -> FsResult<()> {
        let EntryKind::File(content) = &film.kind else {
            return Ok(());
        };
        let (old, _) = old_name.split_extension();
        let (new, _) = film.name.split_extension();
        if old == new || content.hidden_sidecars.is_empty() {
            return Ok(());
        }
        let hidden = content.hidden_sidecars.iter();
        let renamed: Vec<Name> = hidden.map(|name| restemmed(name, old, new)).collect();
        self.tree.update(film.id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind {
                content.hidden_sidecars = renamed;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Remembers the sidecars of a film that leaves its directory for `went_to`, or that is removed.
    pub fn film_leaves(&self, film: &Entry, went_to: Option<EntryId>) {
        if !media_kind(&film.name).is_media() {
            return;
        }
        let names: Vec<Name> = match self.of(film.id) {
            Ok(found) => found
                .into_iter()
                .filter_map(|s| Name::new(s.name).ok())
                .collect(),
            Err(_) => Vec::new(),
        };
        if !names.is_empty() {
            self.ghosts.add(film.parent, names, went_to);
        }
    }
}

/// Returns the keys and names of the sidecars that a film shows. A name that is too long for the
/// file system is left out, not cut.
fn shown_names(film: &Name, content: &FileContent) -> Vec<(String, Name)> {
    let ViewsState::Ready(known) = &content.views else {
        return Vec::new();
    };
    let (stem, _) = film.split_extension();
    let texts = known.subtitles.iter();
    let texts = texts.map(|subtitle| (subtitle.key.clone(), format!("{}.srt", subtitle.key)));
    let bitmaps = known.files.iter();
    let bitmaps = bitmaps
        .filter(|file| file.purpose == FilePurpose::Subtitle)
        .map(|file| (file.path.clone(), file.path.clone()));
    let named = texts.chain(bitmaps).filter_map(|(key, ending)| {
        let name = Name::new([stem, b".", ending.as_bytes()].concat()).ok()?;
        Some((key, name))
    });
    named
        .filter(|(_, name)| !content.hidden_sidecars.contains(name))
        .collect()
}

/// Returns the name of a sidecar after its film's stem changed from `old` to `new`.
fn restemmed(name: &Name, old: &[u8], new: &[u8]) -> Name {
    match name.as_bytes().strip_prefix(old) {
        Some(rest) => Name::new([new, rest].concat()).unwrap_or_else(|_| name.clone()),
        None => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_name_follows_its_film() {
        let name = |text: &str| Name::new(text).unwrap();
        assert_eq!(
            restemmed(&name("Heat.eng.srt"), b"Heat", b"Heat (1995)"),
            name("Heat (1995).eng.srt")
        );
        assert_eq!(restemmed(&name("Ran.srt"), b"Heat", b"X"), name("Ran.srt"));
    }

    #[test]
    fn a_film_without_views_shows_no_sidecars() {
        let film = Name::new("Heat.mkv").unwrap();
        assert!(shown_names(&film, &FileContent::empty()).is_empty());
    }
}
