//! User's subtitle files shown in the views of the film beside them. The tree is searched at each access,
//! so a file appears once it has been read, follows a rename, and disappears when it is removed.

use std::sync::Arc;

use crate::index::ChildKind;
use crate::media::hls::external_subtitles::{self, FileBeside};
use crate::media::hls::tags::ExternalSubtitle;
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::folded::{behind, reads_as};
use crate::model::{Digest, Entry, EntryId, EntryKind, ErrorKind, FsResult, Name, ViewsState};
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

    /// Returns the subtitle files beside a film: those whose names begin with its stem, in any case and
    /// in either normal form of Unicode. A file that could belong to two films belongs to none.
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
        let beside = self
            .tree
            .children_alike(film.parent, stem, MAX_BESIDE + 1)?;
        if beside.len() > MAX_BESIDE {
            return Ok(SubtitlesBeside::default());
        }
        let files = beside
            .iter()
            .filter(|child| child.kind == ChildKind::File && child.id != film.id);
        let films: Vec<&[u8]> = files
            .clone()
            .filter(|child| media_kind(&child.name).is_media())
            .map(|child| child.name.split_extension().0)
            .collect();
        let mut entries = Vec::new();
        let texts = files.filter(|child| is_subtitle_name(&child.name));
        for child in texts.filter(|child| belongs_to(stem, &films, &child.name)) {
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

/// Returns whether a subtitle file belongs to the film with the stem `stem`, and not to one of the others,
/// whose stems are `others`. The longest stem wins, and of two that read the same the one that is the same.
fn belongs_to(stem: &[u8], others: &[&[u8]], file: &Name) -> bool {
    let name = file.as_bytes();
    let is_exact = |stem: &[u8]| name.starts_with(stem) && behind(stem, name).is_some();
    others.iter().all(|other| match reads_as(stem, other) {
        true => is_exact(stem) && !is_exact(other),
        // `Heat.Cut.eng.srt` belongs to `Heat.Cut.mkv`, not to `Heat.mkv`. Stems that are shorter than
        // this film's are not among the others.
        false => behind(other, name).is_none(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_one_film_or_to_none() {
        let belongs = |stem: &str, others: &[&str], file: &str| {
            let others: Vec<&[u8]> = others.iter().map(|other| other.as_bytes()).collect();
            belongs_to(stem.as_bytes(), &others, &Name::new(file).unwrap())
        };
        assert!(belongs("film", &[], "Film.de.srt"));
        assert!(!belongs("film", &["Film"], "Film.de.srt"));
        assert!(belongs("Film", &["film"], "Film.de.srt"));
        assert!(!belongs("film", &["Film"], "FILM.de.srt"));
        assert!(!belongs("film", &["film"], "film.de.srt"));
        assert!(!belongs("Heat", &["heat.cut"], "Heat.Cut.eng.srt"));
        assert!(belongs("Heat", &["heat.cut"], "Heat.eng.srt"));
    }
}
