//! Way of a written file to ingest: a file that has settled is sealed and submitted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::blocking::blocking;
use super::drafts::{DraftEnd, Drafts};
use super::settle::SettleTimers;
use super::unfinished::UnfinishedFiles;
use crate::ingest::Ingest;
use crate::ingest::policy::{NamePolicy, name_policy};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{EntryId, EntryKind, ErrorKind, FileState, FsResult, Name, ViewsState};
use crate::tree::Tree;

/// Longest sleep of the settling task, so that it notices a dropped file system.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Part that seals files and gives them to ingest.
#[derive(Debug)]
pub struct Sealer {
    tree: Arc<Tree>,
    ingest: Ingest,
    drafts: Arc<Drafts>,
    timers: Arc<SettleTimers>,
    unfinished: Arc<UnfinishedFiles>,
}

impl Sealer {
    pub fn new(
        tree: Arc<Tree>,
        ingest: Ingest,
        drafts: Arc<Drafts>,
        timers: Arc<SettleTimers>,
        unfinished: Arc<UnfinishedFiles>,
    ) -> Self {
        Self {
            tree,
            ingest,
            drafts,
            timers,
            unfinished,
        }
    }

    /// Starts the task that seals settled files. Needs a tokio runtime. The task ends with the last
    /// reference to `self`.
    pub fn spawn(self: &Arc<Self>) {
        let sealer = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Some(sealer) = sealer.upgrade() else {
                    return;
                };
                let (due, next) = sealer.timers.take_due();
                if due.is_empty() {
                    let limit = next.min(Instant::now() + LONGEST_SLEEP);
                    sealer.timers.changed_before(limit).await;
                    continue;
                }
                let _ = blocking(move || {
                    due.into_iter().for_each(|id| sealer.seal_or_keep(id));
                    Ok(())
                })
                .await;
            }
        });
    }

    fn seal_or_keep(&self, id: EntryId) {
        match self.seal(id) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(file = %id, %error, "a written file could not be sealed; it is kept");
                // The disk is probably full, so sealing is tried again when something may have changed.
                self.timers.touch(id);
            }
            Ok(()) => {}
        }
    }

    /// Ends the writing of a file and gives it to ingest. Its blob is immutable from here on.
    fn seal(&self, id: EntryId) -> FsResult<()> {
        match self.drafts.finish(id)? {
            DraftEnd::Yes => self.submit(id),
            DraftEnd::No => Ok(()),
        }
    }

    /// Gives a sealed file to ingest, unless its name or its state forbids it.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn submit(&self, id: EntryId) -> FsResult<()> {
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        if name_policy(&entry.name) == NamePolicy::Local {
            self.ingest.expect_no_more(id);
        }
        if matches!(content.state, FileState::Failed(_))
            || self.unfinished.policy(&entry)? != NamePolicy::Ingest
        {
            self.ingest.changed();
            return Ok(());
        }
        if is_outdated(&content.views, &entry.name) {
            self.tree.update(id, |entry| {
                if let EntryKind::File(content) = &mut entry.kind {
                    content.views = ViewsState::Pending;
                }
                Ok(())
            })?;
        }
        self.ingest.submit(id);
        Ok(())
    }

    /// Submits every file that waits for its settle time. This is the last round before the daemon stops.
    ///
    /// # Errors
    /// `Io`.
    pub fn submit_waiting(&self) -> FsResult<()> {
        let mut waiting = self.timers.take_all().into_iter();
        waiting.try_for_each(|id| match self.submit(id) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            result => result,
        })
    }

    /// Ingests a failed, quarantined or temp-named file. If the file has views, they are made again
    /// with this release and the current settings, while the old ones stay.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn retry(&self, id: EntryId) -> FsResult<()> {
        if self.drafts.finish(id)? == DraftEnd::No {
            // Its bytes can still change. It goes to ingest when its last writer has closed it.
            return Ok(());
        }
        let (_, remade) = self.tree.update(id, |entry| match &mut entry.kind {
            EntryKind::Directory => Err(ErrorKind::IsDirectory.into()),
            EntryKind::File(content) => {
                if matches!(content.state, FileState::Failed(_)) {
                    content.state = FileState::Spooled;
                }
                // Earlier releases did not treat subtitle files as media.
                let is_older =
                    matches!(content.views, ViewsState::NotMedia) && is_subtitle_name(&entry.name);
                if is_older
                    || matches!(
                        content.views,
                        ViewsState::Unsupported(_) | ViewsState::Unreadable(_)
                    )
                {
                    content.views = ViewsState::Pending;
                }
                let has_views = matches!(content.views, ViewsState::Ready(_));
                Ok(has_views.then_some(content.version))
            }
        })?;
        if let Some(version) = remade {
            self.ingest.remake(id, version);
        }
        self.ingest.retry(id);
        Ok(())
    }
}

/// Returns whether the file's new name is of another kind: media that was none before, or the other
/// way round.
fn is_outdated(views: &ViewsState, name: &Name) -> bool {
    match views {
        ViewsState::NotMedia => media_kind(name).is_media() || is_subtitle_name(name),
        ViewsState::Subtitles(_) => media_kind(name).is_media(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_can_make_media_of_a_file() {
        let is_new = |name: &str| is_outdated(&ViewsState::NotMedia, &Name::new(name).unwrap());
        assert!(is_new("a.mkv"));
        assert!(is_new("a.srt"));
        assert!(!is_new("a.txt"));
        assert!(!is_outdated(
            &ViewsState::Pending,
            &Name::new("a.mkv").unwrap()
        ));
    }
}
