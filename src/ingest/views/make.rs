//! Making of a file's views, in one pass of the media tool over the sealed bytes. The file is stored
//! even if this fails.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::files::ToolFiles;
use super::report::log_cuts;
use super::requests::RemakeRequests;
use super::store::ViewsStore;
use crate::ingest::changes::ChangeSignal;
use crate::ingest::jobs::{Jobs, Stage, percent};
use crate::ingest::notes::Notes;
use crate::ingest::parts::CommonParts;
use crate::ingest::settings::LiveSettings;
use crate::ingest::subtitle_files::read_subtitle_file;
use crate::media::build::{BuildOutcome, BuildRequest, build_views};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::media::tool::MediaTool;
use crate::model::{
    Compat, Entry, EntryId, EntryKind, ErrorKind, FileContent, FileState, FsError, FsResult,
    ViewsState,
};
use crate::tree::Tree;

/// Number of the start that leaves a version without views instead of making them. A file that crashes
/// the daemon must not do so for ever.
const LAST_ATTEMPT: u32 = 3;

/// Stage that makes the views of files.
#[derive(Debug)]
pub struct ViewsStage {
    tree: Arc<Tree>,
    tool: Arc<dyn MediaTool>,
    settings: Arc<LiveSettings>,
    jobs: Arc<Jobs>,
    notes: Arc<Notes>,
    changes: Arc<ChangeSignal>,
    files: Arc<ToolFiles>,
    requests: Arc<RemakeRequests>,
    store: ViewsStore,
}

impl ViewsStage {
    /// Builds the stage over the parts that it needs.
    #[must_use]
    pub fn new(
        parts: &CommonParts,
        files: Arc<ToolFiles>,
        requests: Arc<RemakeRequests>,
        store: ViewsStore,
    ) -> Self {
        Self {
            tree: Arc::clone(&parts.tree),
            tool: Arc::clone(&parts.tool),
            settings: Arc::clone(&parts.settings),
            jobs: Arc::clone(&parts.jobs),
            notes: Arc::clone(&parts.notes),
            changes: Arc::clone(&parts.changes),
            files,
            requests,
            store,
        }
    }

    /// Makes the views of a file as far as they are missing, and stores their derived blob. The permit
    /// bounds the number of films that are mapped side by side. Sending needs none.
    ///
    /// # Errors
    /// `NotFound` when the file is gone; an error that another try may fix.
    pub async fn make(&self, id: EntryId, permit: OwnedSemaphorePermit) -> FsResult<()> {
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        if self.jobs.is_held(id) || matches!(content.state, FileState::Failed(_)) {
            return Ok(());
        }
        // A request for older bytes of the file has no use any more.
        self.requests
            .forget(id, |version| version != content.version);
        match &content.views {
            ViewsState::Pending => {
                let state = self.find_views(&entry, content).await?;
                self.store.set(id, content.version, state)?;
                self.requests.want_rendition(id);
                drop(permit);
                self.store.send(id).await
            }
            views if !views.is_durable() => {
                drop(permit);
                self.store.send(id).await
            }
            ViewsState::Ready(_) | ViewsState::Unsupported(_) => {
                drop(permit);
                self.store.send_remade(id, content.version).await
            }
            _ => Ok(()),
        }
    }

    async fn find_views(&self, entry: &Entry, content: &FileContent) -> FsResult<ViewsState> {
        if is_subtitle_name(&entry.name) {
            return read_subtitle_file(&self.files, entry, content).await;
        }
        if !media_kind(&entry.name).is_media() {
            return Ok(ViewsState::NotMedia);
        }
        if content.size == 0 {
            return Ok(ViewsState::Unreadable("the file is empty".to_owned()));
        }
        self.jobs.set_progress(Stage::Views, entry.id, "map", 0);
        let input = match self.files.input(entry, content).await {
            // The file is still stored whole. Only its views are missing.
            Err(error) if error.kind == ErrorKind::TooLarge => {
                return Ok(ViewsState::Unsupported(error.message));
            }
            input => input?,
        };
        let attempt = self.notes.begin_attempt(entry.id, content.version)?;
        if attempt >= LAST_ATTEMPT {
            return Ok(ViewsState::Unreadable(
                "tgfs ended twice while it made the views; `tgfs retry` tries again".to_owned(),
            ));
        }
        let derived = self.files.derived_path(entry);
        let size = content.size;
        let progress = |done| {
            self.jobs
                .set_progress(Stage::Views, entry.id, "map", percent(done, size));
            self.changes.raise();
        };
        let cuts = self.settings.get().cuts;
        let request = BuildRequest {
            tool: &self.tool,
            source: &input.path,
            derived: &derived,
            policy: &cuts,
            compat: Compat::Off,
        };
        match build_views(request, &progress).await {
            Ok(BuildOutcome::Ready(views, account)) => {
                log_cuts(entry, &views, &account);
                self.files
                    .take_derived(entry, &derived, ViewsState::Ready(views))
            }
            Ok(BuildOutcome::Unsupported(reason)) => {
                Ok(ViewsState::Unsupported(reason.to_string()))
            }
            Ok(BuildOutcome::Unreadable(reason)) => Ok(ViewsState::Unreadable(reason.to_string())),
            Ok(BuildOutcome::NotMedia) => Ok(ViewsState::Unreadable(
                "its name says media, but its contents are not a known video format".to_owned(),
            )),
            Err(error) if error.is_retryable() => self.failed_attempt(entry.id, attempt, &error),
            Err(error) => Ok(ViewsState::Unreadable(error.to_string())),
        }
    }

    /// Decides the result of a failed attempt. A tool that is missing or was stopped leaves the file
    /// without views in the end. An error that has nothing to do with the file does not count.
    fn failed_attempt(
        &self,
        id: EntryId,
        attempt: u32,
        error: &MediaError,
    ) -> FsResult<ViewsState> {
        let is_the_tools = matches!(
            error.kind,
            MediaErrorKind::ToolMissing | MediaErrorKind::ToolStopped
        );
        if is_the_tools && attempt + 1 >= LAST_ATTEMPT {
            let reason = format!("{error}; `tgfs retry` tries again");
            return Ok(ViewsState::Unreadable(reason));
        }
        if !is_the_tools {
            self.notes.forget_attempts(id);
        }
        Err(FsError::new(ErrorKind::Io, error.to_string()))
    }
}
