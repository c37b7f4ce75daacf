//! User's subtitle files shown in the views of the film beside them. The tree is searched at each access,
//! so a file appears once it has been read, follows a rename, and disappears when it is removed.

use std::sync::Arc;

use crate::index::{Child, ChildKind};
use crate::media::hls::external_subtitles::{self, FileBeside};
use crate::media::hls::tags::ExternalSubtitle;
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{Digest, Entry, EntryId, EntryKind, ErrorKind, FsResult, ViewsState};
use crate::tree::Tree;

/// Largest number of names beside a film. A film with more of them has no external subtitles.
const MAX_BESIDE: usize = 1024;

/// The subtitle files beside a film.
#[derive(Debug, Default)]
pub struct SubtitlesBeside {
    /// Files that have been read, as the film shows them.
    pub external: Vec<ExternalSubtitle>,
    /// Records of all the files.
    entries: Vec<Arc<Entry>>,
}

/// Finder of the subtitle files beside films.
#[derive(Debug)]
pub struct ExternalSubtitles {
    tree: Arc<Tree>,
}

impl ExternalSubtitles {
    /// Creates a finder in `tree`.
    pub fn new(tree: Arc<Tree>) -> Self {
        Self { tree }
    }

    /// Returns the subtitle files beside a film. Returns none if another film has the same stem,
    /// because nothing tells which of the films the files belong to.
    ///
    /// # Errors
    /// `Io`.
    pub fn beside(&self, film: &Entry) -> FsResult<SubtitlesBeside> {
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
        // `Heat.Cut.eng.srt` belongs to `Heat.Cut.mkv`, not to `Heat.mkv`.
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
                // The file was removed after the directory was read.
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
    /// Returns the record of one of the files.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn entry(&self, id: EntryId) -> FsResult<&Arc<Entry>> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.id == id)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns a digest of everything that a multivariant playlist says about the files.
    pub fn fingerprint(&self) -> Digest {
        let mut text = String::new();
        for one in &self.external {
            text.push_str(&format!("{} {:?}\n", one.name, one.subtitle));
        }
        Digest::of(text.as_bytes())
    }
}
