//! Descriptions of files for people: state, facts, and the job that works on the file.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::availability::Availability;
use super::open::OpenTable;
use super::settle::SettleTimers;
use super::slugs::Slugs;
use super::unfinished::UnfinishedFiles;
use super::views::{FilmViews, subtitle_info};
use crate::index::{ChildKind, NodeKind};
use crate::ingest::policy::{NamePolicy, name_policy};
use crate::ingest::{Ingest, JobProgress, RemakeReason};
use crate::media::hls::views::THUMBNAILS;
use crate::media::inspect::name::media_kind;
use crate::model::{
    ChapterInfo, Entry, EntryId, EntryKind, ErrorKind, FileContent, FileInfo, FileState, FsResult,
    JobInfo, PendingInfo, PublicState, Timestamp, TrackKind, TreePath, Views, ViewsState,
};
use crate::tree::Tree;

/// Step of a file that waits for the end of its download.
const AWAITS_RENAME: &str = "rename";

/// Bit of a mode by which other users read a file.
const READ_BY_OTHERS: u32 = 0o004;
/// Bit of a mode by which other users reach what is in a directory.
const SEARCH_BY_OTHERS: u32 = 0o001;

/// Part that describes files and jobs for commands, HTTP and extended attributes.
#[derive(Debug)]
pub struct FileReports {
    tree: Arc<Tree>,
    ingest: Ingest,
    open: Arc<OpenTable>,
    timers: Arc<SettleTimers>,
    views: Arc<FilmViews>,
    availability: Arc<Availability>,
    slugs: Slugs,
    unfinished: Arc<UnfinishedFiles>,
}

/// Parts that reports get their facts from.
#[derive(Debug)]
pub struct ReportParts {
    pub tree: Arc<Tree>,
    pub ingest: Ingest,
    pub open: Arc<OpenTable>,
    pub timers: Arc<SettleTimers>,
    pub views: Arc<FilmViews>,
    pub availability: Arc<Availability>,
    pub slugs: Slugs,
    pub unfinished: Arc<UnfinishedFiles>,
}

impl FileReports {
    /// Creates the reports of one library.
    pub fn new(parts: ReportParts) -> Self {
        Self {
            tree: parts.tree,
            ingest: parts.ingest,
            open: parts.open,
            timers: parts.timers,
            views: parts.views,
            availability: parts.availability,
            slugs: parts.slugs,
            unfinished: parts.unfinished,
        }
    }

    /// Returns the state that people see. It is derived from the record, the job and the log.
    fn public_state(&self, entry: &Entry, content: &FileContent) -> FsResult<PublicState> {
        if matches!(content.state, FileState::Failed(_)) {
            return Ok(PublicState::Failed);
        }
        if self.is_written(entry.id) || self.unfinished.waits(entry, content)? != NamePolicy::Ingest
        {
            return Ok(PublicState::Spooled);
        }
        let views_done = !matches!(content.views, ViewsState::Pending);
        Ok(match (&content.state, views_done) {
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
        })
    }

    /// Returns whether a file is open for writing, or was a moment ago.
    fn is_written(&self, id: EntryId) -> bool {
        self.open.writers(id) > 0 || self.timers.is_waiting(id)
    }

    /// Returns whether the user asked for the new views and so waits for them. Nobody waits for a
    /// rendition.
    fn is_remade_on_request(&self, id: EntryId) -> bool {
        let remaking = self.ingest.remaking(id);
        remaking.is_some_and(|(reason, _)| reason == RemakeReason::Asked)
    }

    fn describe(&self, entry: &Entry, path: &TreePath) -> FsResult<FileInfo> {
        let EntryKind::File(content) = &entry.kind else {
            return Err(ErrorKind::IsDirectory.into());
        };
        let state = self.public_state(entry, content)?;
        let job = self.ingest.progress(entry.id);
        let mut info = FileInfo {
            id: entry.id.to_string(),
            path: path.display(),
            path_bytes: path.inexact_bytes(),
            size: content.size,
            state,
            progress: if state.is_final() {
                100
            } else {
                let remade = || self.ingest.remaking(entry.id).map(|(_, progress)| progress);
                job.clone().or_else(remade).map_or(0, |job| job.percent)
            },
            upload: match state.is_final() {
                true => None,
                false => job.as_ref().and_then(|job| job.upload),
            },
            error: match error_text(content, job.as_ref()) {
                None if !self.is_written(entry.id) => self.unfinished.reason(entry, content)?,
                error => error,
            },
            duration: None,
            resolution: None,
            bitrate: None,
            codecs: Vec::new(),
            segments: 0,
            derived: None,
            subtitles: Vec::new(),
            chapters: Vec::new(),
            created: entry.attributes.created.seconds,
            modified: entry.attributes.mtime.seconds,
            slug: None,
            has_views: false,
            has_thumbnails: false,
            is_private: false,
        };
        if let ViewsState::Ready(views) = &content.views {
            describe_views(&mut info, views, content.size);
            // Facts that cannot be read are told with the file. They must not hide all other files.
            match self.views.external_subtitles(entry) {
                Ok(subtitles) => info.subtitles.extend(subtitles),
                Err(error) => info.error = Some(format!("its subtitle files: {error}")),
            }
            match self.is_private(entry) {
                Ok(is_private) => info.is_private = is_private,
                Err(error) => info.error = Some(format!("its directories: {error}")),
            }
            match self.slugs.of(entry) {
                Ok(slug) => info.slug = Some(slug),
                Err(error) => info.error = Some(format!("its short name: {error}")),
            }
        }
        Ok(info)
    }

    /// Returns whether the modes of a file, or of a directory above it, keep other users from reading it.
    fn is_private(&self, file: &Entry) -> FsResult<bool> {
        if file.attributes.mode & READ_BY_OTHERS == 0 {
            return Ok(true);
        }
        let mut at = file.parent;
        loop {
            let directory = self.tree.node(at)?;
            if directory.attributes.mode & SEARCH_BY_OTHERS == 0 {
                return Ok(true);
            }
            if at == EntryId::ROOT {
                return Ok(false);
            }
            at = directory.parent;
        }
    }

    /// Describes one file.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn info(&self, id: EntryId) -> FsResult<FileInfo> {
        let entry = self.availability.unless_incomplete(self.tree.entry(id))?;
        self.describe(&entry, &self.tree.path_of(id)?)
    }

    /// Returns the film that has a slug.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn by_slug(&self, slug: &str) -> FsResult<EntryId> {
        let owner = self.slugs.owner(slug)?;
        self.availability
            .unless_incomplete(owner.ok_or_else(|| ErrorKind::NotFound.into()))
    }

    /// Returns all files below `directory`, sorted by path. For the path of a file, returns only that file.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn list(&self, directory: &TreePath) -> FsResult<Vec<FileInfo>> {
        self.availability.require_complete()?;
        let node = self.tree.resolve(directory)?;
        if matches!(node.kind, NodeKind::File { .. }) {
            return Ok(vec![self.info(node.id)?]);
        }
        let mut found = Vec::new();
        let mut todo = vec![(node.id, directory.clone())];
        while let Some((id, path)) = todo.pop() {
            for child in self.tree.all_children(id)? {
                let path = path.join(child.name);
                match child.kind {
                    ChildKind::Directory => todo.push((child.id, path)),
                    ChildKind::File => match self.tree.entry(child.id) {
                        Ok(entry) => found.push(self.describe(&entry, &path)?),
                        // It was removed meanwhile.
                        Err(error) if error.kind == ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    },
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Returns the files that ingest works on and those that failed, with the bytes that are only
    /// in the spool.
    ///
    /// # Errors
    /// `Io`.
    pub fn jobs(&self) -> FsResult<Vec<JobInfo>> {
        let mut jobs = Vec::new();
        for (entry, content) in self.unfinished_files()? {
            // An unfinished download waits for its rename, for as long as that takes.
            if self.unfinished.waits(&entry, &content)? != NamePolicy::Ingest {
                continue;
            }
            let info = match self.tree.path_of(entry.id) {
                Ok(path) => self.describe(&entry, &path)?,
                // It was removed meanwhile.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let progress = self.ingest.progress(entry.id);
            let step = match &progress {
                Some(progress) => progress.step.to_owned(),
                None if info.state == PublicState::Failed => "none".to_owned(),
                None => "wait".to_owned(),
            };
            jobs.push(JobInfo {
                id: info.id,
                path: info.path,
                path_bytes: info.path_bytes,
                state: info.state,
                step,
                progress: info.progress,
                step_progress: progress.as_ref().and_then(|job| job.step_percent),
                upload: info.upload,
                error: info.error,
                spool_bytes: only_in_spool(&content),
                age_seconds: age(entry.attributes.ctime),
            });
        }
        for id in self.ingest.remakes() {
            jobs.extend(self.remake_job(id, &jobs)?);
        }
        jobs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(jobs)
    }

    /// Returns the files that wait for the end of a download, with what each waits for. Nobody waits for
    /// these: only their users know when that is.
    ///
    /// # Errors
    /// `Io`.
    pub fn awaiting_rename(&self) -> FsResult<Vec<JobInfo>> {
        let mut waiting = Vec::new();
        for (entry, content) in self.unfinished_files()? {
            if self.is_written(entry.id) || self.unfinished.reason(&entry, &content)?.is_none() {
                continue;
            }
            let info = self.describe(&entry, &self.tree.path_of(entry.id)?)?;
            waiting.push(JobInfo {
                id: info.id,
                path: info.path,
                path_bytes: info.path_bytes,
                state: info.state,
                step: AWAITS_RENAME.to_owned(),
                progress: 0,
                step_progress: None,
                upload: None,
                error: info.error,
                spool_bytes: only_in_spool(&content),
                age_seconds: age(entry.attributes.ctime),
            });
        }
        waiting.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(waiting)
    }

    /// Describes a file whose views are being made again, unless the file is listed already.
    fn remake_job(&self, id: EntryId, listed: &[JobInfo]) -> FsResult<Option<JobInfo>> {
        let (Some((_, progress)), Ok(entry), Ok(path)) = (
            self.ingest.remaking(id),
            self.tree.entry(id),
            self.tree.path_of(id),
        ) else {
            return Ok(None);
        };
        let info = self.describe(&entry, &path)?;
        if listed.iter().any(|job| job.id == info.id) {
            return Ok(None);
        }
        Ok(Some(JobInfo {
            id: info.id,
            path: info.path,
            path_bytes: info.path_bytes,
            state: info.state,
            step: progress.step.to_owned(),
            progress: progress.percent,
            step_progress: progress.step_percent,
            upload: None,
            error: progress.error,
            spool_bytes: 0,
            age_seconds: age(entry.attributes.ctime),
        }))
    }

    /// Returns the data that would be lost with the local disk. Files that a file manager creates
    /// for itself do not count.
    ///
    /// # Errors
    /// `Io`.
    pub fn pending(&self) -> FsResult<PendingInfo> {
        let mut pending = PendingInfo::default();
        let mut unpublished: BTreeSet<EntryId> = self.ingest.unpublished()?.into_iter().collect();
        for (entry, content) in self.unfinished_files()? {
            let bytes = only_in_spool(&content);
            let is_local = name_policy(&entry.name) == NamePolicy::Local;
            if bytes > 0 && !is_local {
                pending.files += 1;
                pending.bytes += bytes;
                pending.oldest_seconds = pending.oldest_seconds.max(age(entry.attributes.ctime));
            }
            if needs_playlists(&entry, &content)
                && self.unfinished.waits(&entry, &content)? == NamePolicy::Ingest
            {
                pending.without_views += 1;
            }
            if bytes > 0 || is_local {
                unpublished.remove(&entry.id);
            }
        }
        pending.changes = unpublished.len() as u64;
        Ok(pending)
    }

    /// Returns the files whose newest state is in no acknowledged manifest, and those that a job works on.
    fn unfinished_files(&self) -> FsResult<Vec<(Entry, FileContent)>> {
        let mut found = Vec::new();
        for id in self.ingest.unfinished()? {
            match self.tree.entry(id) {
                Ok(Entry {
                    kind: EntryKind::Directory,
                    ..
                }) => {}
                Ok(entry) => {
                    if let EntryKind::File(content) = &entry.kind {
                        let content = (**content).clone();
                        found.push((entry, content));
                    }
                }
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// Returns whether a file is a stored film whose playlists are not made yet.
fn needs_playlists(entry: &Entry, content: &FileContent) -> bool {
    content.size > 0
        && content.is_durable()
        && content.views == ViewsState::Pending
        && media_kind(&entry.name).is_media()
}

/// Returns the number of bytes of a file that no acknowledged pack holds.
fn only_in_spool(content: &FileContent) -> u64 {
    if content.is_durable() {
        0
    } else {
        content.size
    }
}

fn error_text(content: &FileContent, job: Option<&JobProgress>) -> Option<String> {
    let not_done = job.and_then(|job| job.error.clone());
    match (&content.state, &content.views) {
        (FileState::Failed(reason), _) => Some(reason.clone()),
        // Bytes that are not safe yet matter more than views that cannot be made.
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
    let chapters = views.chapters.iter().enumerate();
    info.chapters = chapters
        .map(|(index, chapter)| ChapterInfo {
            start: chapter.start_ms as f64 / 1000.0,
            end: chapter.end_ms as f64 / 1000.0,
            title: chapter.shown_title(index),
        })
        .collect();
}

fn age(since: Timestamp) -> u64 {
    u64::try_from(Timestamp::now().seconds.saturating_sub(since.seconds)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_problem_is_the_one_that_shows() {
        let mut content = FileContent::empty();
        content.views = ViewsState::Unsupported("no video".to_owned());
        let job = JobProgress {
            step: "upload",
            percent: 10,
            step_percent: None,
            upload: None,
            error: Some("no bot answers".to_owned()),
        };
        assert_eq!(error_text(&content, None).as_deref(), Some("no video"));
        assert_eq!(
            error_text(&content, Some(&job)).as_deref(),
            Some("no bot answers")
        );
        content.state = FileState::Failed("copy it again".to_owned());
        assert_eq!(
            error_text(&content, Some(&job)).as_deref(),
            Some("copy it again")
        );
    }
}
