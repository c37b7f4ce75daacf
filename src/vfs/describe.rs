//! What people see of a file: its state, its facts, its slug.

use super::Inner;
use crate::ingest::policy::{NamePolicy, name_policy};
use crate::ingest::{JobProgress, RemakeReason};
use crate::media::hls::views::THUMBNAILS;
use crate::model::{
    Entry, EntryId, EntryKind, ErrorKind, FileContent, FileInfo, FileState, FsError, FsResult,
    Name, PublicState, Subtitle, SubtitleInfo, Timestamp, TrackKind, TreePath, Views, ViewsState,
};

/// Longest slug in bytes: it is part of URLs that people type.
const MAX_SLUG_BYTES: usize = 80;

impl Inner {
    /// The state that people see, made from the record, the job and the log.
    fn public_state(&self, entry: &Entry, content: &FileContent) -> PublicState {
        if matches!(content.state, FileState::Failed(_)) {
            return PublicState::Failed;
        }
        if self.open.writers(entry.id) > 0
            || self.settle.is_waiting(entry.id)
            || name_policy(&entry.name) != NamePolicy::Ingest
        {
            return PublicState::Spooled;
        }
        let views_done = !matches!(content.views, ViewsState::Pending);
        match (&content.state, views_done) {
            (FileState::Stored, true) if self.ingest.progress(entry.id).is_none() => {
                match content.views {
                    ViewsState::Unreadable(_) => PublicState::Plain,
                    _ if self.is_remade_on_request(entry.id) => PublicState::Ingesting,
                    _ => PublicState::Stored,
                }
            }
            (FileState::Stored, true) => PublicState::Uploading,
            (_, false) => PublicState::Ingesting,
            (_, true) => PublicState::Uploading,
        }
    }

    /// Whoever asked for new views waits for them; for a rendition nobody does.
    fn is_remade_on_request(&self, id: EntryId) -> bool {
        let remaking = self.ingest.remaking(id);
        remaking.is_some_and(|(reason, _)| reason == RemakeReason::Asked)
    }

    pub(super) fn describe(&self, entry: &Entry, path: &TreePath) -> FsResult<FileInfo> {
        let EntryKind::File(content) = &entry.kind else {
            return Err(ErrorKind::IsDirectory.into());
        };
        let state = self.public_state(entry, content);
        let job = self.ingest.progress(entry.id);
        let mut info = FileInfo {
            id: entry.id.to_string(),
            path: path.display(),
            size: content.size,
            state,
            progress: if state.is_final() {
                100
            } else {
                let remade = || self.ingest.remaking(entry.id).map(|(_, progress)| progress);
                job.clone().or_else(remade).map_or(0, |job| job.percent)
            },
            error: error_text(content, job.as_ref()),
            duration: None,
            resolution: None,
            bitrate: None,
            codecs: Vec::new(),
            segments: 0,
            derived: None,
            subtitles: Vec::new(),
            created: entry.attributes.created.seconds,
            modified: entry.attributes.mtime.seconds,
            slug: None,
            has_views: false,
            has_thumbnails: false,
        };
        if let ViewsState::Ready(views) = &content.views {
            describe_views(&mut info, views, content.size);
            info.subtitles.extend(self.external_subtitles(entry)?);
            info.slug = Some(self.slug_of(entry)?);
        }
        Ok(info)
    }

    /// The slug of a film, given out at the first question.
    fn slug_of(&self, entry: &Entry) -> FsResult<String> {
        let io = |e: crate::index::IndexError| FsError::new(ErrorKind::Io, e.to_string());
        let mut own_key = b"id/".to_vec();
        own_key.extend_from_slice(entry.id.as_bytes());
        let base = slugify(&entry.name);
        if let Some(known) = self.slugs.get(&own_key).map_err(io)?
            && let Ok(slug) = String::from_utf8(known)
            && (slug == base || slug.rsplit_once('-').is_some_and(|(stem, _)| stem == base))
        {
            return Ok(slug);
        }
        for number in 1u32.. {
            let slug = if number == 1 {
                base.clone()
            } else {
                format!("{base}-{number}")
            };
            let owner = self.slug_owner(&slug)?;
            if owner.is_none() || owner == Some(entry.id) {
                self.slugs
                    .put(&slug_key(&slug), entry.id.as_bytes())
                    .map_err(io)?;
                self.slugs.put(&own_key, slug.as_bytes()).map_err(io)?;
                return Ok(slug);
            }
        }
        Err(ErrorKind::Io.into())
    }

    pub(super) fn slug_owner(&self, slug: &str) -> FsResult<Option<EntryId>> {
        let row = self
            .slugs
            .get(&slug_key(slug))
            .map_err(|e| FsError::new(ErrorKind::Io, e.to_string()))?;
        let Some(id) = row.and_then(|row| Some(EntryId::from_bytes(row.try_into().ok()?))) else {
            return Ok(None);
        };
        match self.tree.node(id) {
            Ok(_) => Ok(Some(id)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Bytes of a file that no acknowledged pack holds.
pub(super) fn only_in_spool(content: &FileContent) -> u64 {
    if content.is_durable() {
        0
    } else {
        content.size
    }
}

fn slug_key(slug: &str) -> Vec<u8> {
    let mut key = b"slug/".to_vec();
    key.extend_from_slice(slug.as_bytes());
    key
}

/// `Heat (1995).mkv` → `heat-1995`.
fn slugify(name: &Name) -> String {
    let (stem, _) = name.split_extension();
    let mut slug = String::new();
    for c in String::from_utf8_lossy(stem)
        .chars()
        .flat_map(char::to_lowercase)
    {
        if slug.len() + c.len_utf8() > MAX_SLUG_BYTES {
            break;
        }
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "file".to_owned()
    } else {
        slug.to_owned()
    }
}

fn error_text(content: &FileContent, job: Option<&JobProgress>) -> Option<String> {
    let not_done = job.and_then(|job| job.error.clone());
    match (&content.state, &content.views) {
        (FileState::Failed(reason), _) => Some(reason.clone()),
        // Bytes that are not safe yet matter more than views that will not be.
        _ if not_done.is_some() => not_done,
        (_, ViewsState::Unsupported(reason) | ViewsState::Unreadable(reason)) => {
            Some(reason.clone())
        }
        (_, ViewsState::Ready(views)) if views.note.is_some() => views.note.clone(),
        (_, ViewsState::Subtitles(captions)) => captions.note.clone(),
        _ => None,
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds of a film are far below 2^52"
)]
fn describe_views(info: &mut FileInfo, views: &Views, size: u64) {
    info.has_views = true;
    info.has_thumbnails = views.files.iter().any(|file| file.path == THUMBNAILS);
    info.duration = Some(views.duration_ms as f64 / 1000.0);
    info.bitrate = (size * 8 * 1000).checked_div(views.duration_ms);
    info.codecs = views
        .tracks
        .iter()
        .map(|track| track.codec.clone())
        .collect();
    info.codecs.dedup();
    info.segments = views.tracks.first().map_or(0, |track| {
        u32::try_from(track.segments.len()).unwrap_or(u32::MAX)
    });
    info.derived = Some(views.derived.len);
    info.resolution = views.tracks.iter().find_map(|track| match track.kind {
        TrackKind::Video { width, height, .. } => Some((width, height)),
        TrackKind::Audio { .. } => None,
    });
    info.subtitles = views.subtitles.iter().map(subtitle_info).collect();
}

pub(super) fn subtitle_info(subtitle: &Subtitle) -> SubtitleInfo {
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

pub(super) fn age(since: Timestamp) -> u64 {
    u64::try_from(Timestamp::now().seconds.saturating_sub(since.seconds)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_read_well() {
        for (name, slug) in [
            ("Heat (1995).mkv", "heat-1995"),
            ("Amélie.mp4", "amélie"),
            ("...", "file"),
            ("S01E02 - The  One.mkv", "s01e02-the-one"),
        ] {
            assert_eq!(slugify(&Name::new(name).unwrap()), slug);
        }
    }
}
