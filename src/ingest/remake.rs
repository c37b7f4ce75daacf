//! The lane beside the others: makes the views of a stored file anew, one file at a time. The old ones
//! stay in place until the new ones are in the store; whatever goes wrong costs only the new ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::content::{Part, percent, slices_digest};
use super::jobs::{JobProgress, Lane};
use super::owners::Owner;
use super::remakes::Wish;
use super::views::tell_cuts;
use super::{Ingest, LANE_POLL, Shared, needed_blobs};
use crate::media::build::rendition::{self, RenditionOutcome};
use crate::media::build::{BuildOutcome, BuildReport, build_views_for};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::model::{
    ByteRange, Compat, Entry, EntryId, EntryKind, ErrorKind, FileContent, FileState, FsError,
    FsResult, Views, ViewsState,
};

/// This start of a remake is given up instead.
const LAST_START: u32 = 3;
/// How often a build looks whether anybody still wants it.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes a second that a rendition takes at most, for the question whether there is room.
const RENDITION_BYTES: u64 = 1 << 20;
/// What begins the note about a rendition that could not be made.
const NO_RENDITION: &str = "no rendition in H.264";

/// How one remake ended.
enum Ended {
    /// New views wait to be stored.
    Made(Box<Views>),
    /// For this reason there are none, and will not be.
    GivenUp(String),
    /// Nobody wants them any more.
    Unwanted,
    /// Not now.
    Later(Option<String>),
}

impl Ingest {
    /// Makes the views of a file again, as the settings have it now; the old ones stay meanwhile.
    pub fn remake(&self, id: EntryId, version: u64) {
        self.0.remakes.ask(id, Wish::Asked, version);
        self.changed();
    }

    /// What is being done for views that are made again, and whether somebody waits for it.
    #[must_use]
    pub fn remaking(&self, id: EntryId) -> Option<(Wish, JobProgress)> {
        self.0.remakes.progress(id)
    }

    /// Files whose views are made again.
    #[must_use]
    pub fn remakes(&self) -> Vec<EntryId> {
        self.0.remakes.ids()
    }

    pub(super) fn spawn_remakes(&self) {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(shared) = weak.upgrade() {
                if shared.stopping.load(Ordering::Relaxed) {
                    return;
                }
                if !shared.index.standing().borrow().is_attached() {
                    shared.attached(LANE_POLL).await;
                    continue;
                }
                let Some((id, wish, version)) = shared.remakes.take() else {
                    let _ = tokio::time::timeout(LANE_POLL, shared.remakes.queued()).await;
                    continue;
                };
                shared.running.fetch_add(1, Ordering::Relaxed);
                let working = Arc::clone(&shared);
                // A panic over one file must not end the others.
                let done = tokio::spawn(async move { working.remake(id, wish, version).await });
                let ended = done.await.unwrap_or_else(|error| {
                    let message = format!("it stopped unexpectedly: {error}");
                    Err(FsError::new(ErrorKind::Io, message))
                });
                shared.end_remake(id, version, ended);
                shared.running.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }
}

/// Views that a remake may take the place of.
fn may_have_new(views: &ViewsState) -> bool {
    matches!(views, ViewsState::Ready(_) | ViewsState::Unsupported(_))
}

impl Shared {
    /// Asks for a rendition where the settings want one and the views have none that browsers play.
    pub(super) fn wish_for_rendition(&self, id: EntryId) {
        let Ok(content) = self.tree.content(id) else {
            return;
        };
        let is_wanted = match &content.views {
            ViewsState::Ready(views) => rendition::is_wanted(views),
            ViewsState::Unsupported(reason) => rendition::is_reason(reason),
            _ => false,
        };
        if is_wanted && self.settings.load().compat != Compat::Off {
            // Made from the copy here, while there is room for it.
            self.keep_copy(id, &content);
            self.remakes.ask(id, Wish::Rendition, content.version);
        }
    }

    fn keep_copy(&self, id: EntryId, content: &FileContent) {
        let blobs = content.blobs.iter().map(|blob| blob.id);
        let here = blobs
            .filter(|blob| self.spool.get(*blob).is_some())
            .collect();
        self.set_owned(Owner::Remake(id), here);
    }

    /// Copies that only wait for a rendition give way to what comes in: they can be had again.
    pub(super) fn release_copies(&self) {
        if self.spool.free() >= self.spool.capacity() / 2 {
            return;
        }
        for id in self.remakes.waiting() {
            self.set_owned(Owner::Remake(id), Vec::new());
        }
    }

    async fn remake(self: &Arc<Self>, id: EntryId, wish: Wish, version: u64) -> FsResult<Ended> {
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(Ended::Unwanted);
        };
        let (is_durable, has_rendition, seconds) = match &content.views {
            ViewsState::Ready(views) => (
                views.is_durable(),
                rendition::has_rendition(views),
                views.duration_ms / 1000,
            ),
            ViewsState::Unsupported(reason) if rendition::is_reason(reason) => (true, true, 0),
            _ => return Ok(Ended::Unwanted),
        };
        if content.version != version || matches!(content.state, FileState::Failed(_)) {
            return Ok(Ended::Unwanted);
        }
        let is_stored =
            content.is_durable() && is_durable && self.index.is_published(id).unwrap_or(false);
        if !is_stored || self.jobs.is_held(id) {
            return Ok(Ended::Later(None));
        }
        let settings = self.settings.load_full();
        let compat = match wish {
            Wish::Rendition if settings.compat == Compat::Off => return Ok(Ended::Unwanted),
            Wish::Asked if !has_rendition => Compat::Off,
            Wish::Rendition | Wish::Asked => settings.compat,
        };
        if compat != Compat::Off && self.spool.free() < RENDITION_BYTES * seconds {
            let why = "the spool has no room for a rendition in H.264".to_owned();
            return Ok(Ended::Later(Some(why)));
        }
        self.keep_copy(id, content);
        let source = match self.plain_file(&entry, content).await {
            Err(error) if error.kind == ErrorKind::TooLarge => {
                return Ok(Ended::GivenUp(error.message));
            }
            source => source?,
        };
        let begun = self.remakes.begin(id);
        if begun >= LAST_START {
            return Ok(Ended::GivenUp(
                "tgfs ended twice while it was made".to_owned(),
            ));
        }
        let path = self.spool.directory().join(format!("{id}.remade"));
        let files = (source.path.as_path(), path.as_path());
        let mut outcome = self.build(&entry, files, compat).await;
        if let Ok(Some(BuildOutcome::Unsupported(reason))) = &outcome
            && compat == Compat::Off
            && settings.compat != Compat::Off
            && rendition::is_reason(reason)
        {
            outcome = self.build(&entry, files, settings.compat).await;
        }
        match outcome {
            Ok(None) => Ok(Ended::Unwanted),
            Ok(Some(BuildOutcome::Ready(new, account))) => {
                self.take_remade(&entry, &path, *new, &account)
            }
            Ok(Some(BuildOutcome::Unsupported(reason) | BuildOutcome::Unreadable(reason))) => {
                Ok(Ended::GivenUp(reason))
            }
            Ok(Some(BuildOutcome::NotMedia)) => Ok(Ended::GivenUp(
                "its bytes are no container that we know".to_owned(),
            )),
            Err(error) => Ok(self.after_error(id, begun, &error)),
        }
    }

    /// `None` when it was stopped because nobody wants it any more, or all is stopping.
    async fn build(
        &self,
        entry: &Entry,
        (source, derived): (&Path, &Path),
        compat: Compat,
    ) -> Result<Option<BuildOutcome>, MediaError> {
        let EntryKind::File(content) = &entry.kind else {
            return Ok(None);
        };
        let (id, size, version) = (entry.id, content.size, content.version);
        let label = match compat {
            Compat::Off => "map",
            Compat::With(_) => "encode",
        };
        self.remakes.set_progress(id, label, 0);
        let progress = |done| {
            self.remakes.set_progress(id, label, percent(done, size));
            self.changed();
        };
        let cuts = self.settings.load().cuts;
        let building = build_views_for(&self.tool, (source, derived), (&cuts, compat), &progress);
        tokio::pin!(building);
        loop {
            tokio::select! {
                outcome = &mut building => return outcome.map(Some),
                () = tokio::time::sleep(LOOK) => {
                    if self.stopping.load(Ordering::Relaxed) || !self.remakes.is_wanted(id, version) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn after_error(&self, id: EntryId, begun: u32, error: &MediaError) -> Ended {
        let is_the_tools = matches!(
            error.kind,
            MediaErrorKind::ToolMissing | MediaErrorKind::ToolStopped
        );
        if !error.is_retryable() || is_the_tools && begun + 1 >= LAST_START {
            return Ended::GivenUp(error.to_string());
        }
        if !is_the_tools {
            self.remakes.forget_starts(id);
        }
        Ended::Later(Some(error.to_string()))
    }

    fn take_remade(
        &self,
        entry: &Entry,
        path: &Path,
        new: Views,
        account: &BuildReport,
    ) -> FsResult<Ended> {
        if let RenditionOutcome::Failed(reason) = &account.rendition {
            let _nothing_to_keep = std::fs::remove_file(path);
            return Ok(Ended::GivenUp(reason.clone()));
        }
        tell_cuts(entry, &new, account);
        if account.rendition == RenditionOutcome::Made {
            tracing::info!(file = %entry.name.display(), "it has a rendition in H.264 now");
        }
        let state = self.take_derived(entry, path, ViewsState::Ready(Box::new(new)))?;
        Ok(match state {
            ViewsState::Ready(views) => Ended::Made(views),
            _ => Ended::Unwanted,
        })
    }

    fn end_remake(self: &Arc<Self>, id: EntryId, version: u64, ended: FsResult<Ended>) {
        match ended {
            Ok(Ended::Made(views)) => {
                let blob = views.derived.id;
                if self.remakes.set_made(id, version, &views) {
                    self.set_owned(Owner::Remake(id), vec![blob]);
                    // Sending is a job like any other; it swaps the views at its end.
                    self.notes.note_job(id);
                    self.jobs.submit(id);
                } else {
                    self.orphan(vec![blob]);
                }
            }
            Ok(Ended::GivenUp(reason)) => self.give_up(id, version, &reason),
            Ok(Ended::Unwanted) if self.stopping.load(Ordering::Relaxed) => {
                // A stop in order is no start that ended the daemon.
                self.remakes.forget_starts(id);
            }
            Ok(Ended::Unwanted) => self.forget_remake(id, |known| known == version),
            Ok(Ended::Later(why)) => self.remakes.put_off(id, version, why),
            Err(error) if error.kind == ErrorKind::NotFound => self.forget_remake(id, |_| true),
            Err(error) => {
                tracing::warn!(%id, %error, "views are made again later");
                self.remakes.put_off(id, version, Some(error.to_string()));
            }
        }
        self.changed();
    }

    pub(super) fn forget_remake(&self, id: EntryId, which: impl Fn(u64) -> bool) {
        if self.remakes.forget(id, which) {
            self.set_owned(Owner::Remake(id), Vec::new());
        }
    }

    /// The old views stay, and say what there is not.
    fn give_up(&self, id: EntryId, version: u64, reason: &str) {
        let wish = self.remakes.progress(id).map(|(wish, _)| wish);
        let what = match wish {
            Some(Wish::Asked) => "the views could not be made again",
            _ => NO_RENDITION,
        };
        let note = format!("{what}: {reason}; `tgfs retry` tries again");
        let updated = self.tree.update(id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind
                && content.version == version
                && let ViewsState::Unsupported(said) = &mut content.views
            {
                let first = said.split("; ").next().unwrap_or_default();
                *said = format!("{first}; {note}");
            }
            if let EntryKind::File(content) = &mut entry.kind
                && content.version == version
                && let ViewsState::Ready(views) = &mut content.views
            {
                let others = views.note.iter().flat_map(|note| note.split("; "));
                let others = others
                    .filter(|part| !part.starts_with(what) && !part.starts_with("`tgfs retry`"));
                let all: Vec<&str> = others.chain([note.as_str()]).collect();
                views.note = Some(all.join("; "));
            }
            Ok(())
        });
        match updated {
            Ok((entry, ())) => {
                tracing::warn!(file = %entry.name.display(), "{note}");
                self.publisher.urge();
            }
            Err(error) => tracing::warn!(%id, %error, "{note}"),
        }
        self.forget_remake(id, |known| known == version);
    }

    /// Sends the new derived blob; then, and not before, the new views take the place of the old.
    pub(super) async fn send_remade(self: &Arc<Self>, id: EntryId, mut new: Views) -> FsResult<()> {
        let blob = new.derived.id;
        let version = self.tree.content(id)?.version;
        if self.spool.get(blob).is_none() {
            self.forget_remake(id, |_| true);
            return Ok(());
        }
        let of = Part {
            lane: Lane::Views,
            id,
        };
        let all = vec![ByteRange::new(0, new.derived.len)];
        self.store_blob(of, &new.derived, all, &mut None).await?;
        new.derived.slices = self.notes.slices(blob)?;
        new.derived.digest = Some(slices_digest(&new.derived.slices));
        let (_, swapped) = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(false);
            };
            if content.version != version || !may_have_new(&content.views) {
                return Ok(false);
            }
            content.views = ViewsState::Ready(Box::new(new.clone()));
            // Until the log has them, the copy here is kept.
            let mut needed = needed_blobs(content);
            needed.push(blob);
            self.set_owned(Owner::Entry(id), needed);
            Ok(true)
        })?;
        self.forget_remake(id, |known| known == version);
        if swapped {
            self.wish_for_rendition(id);
        }
        self.publisher.urge();
        self.changed();
        Ok(())
    }
}
