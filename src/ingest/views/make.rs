//! Making of a file's views, in one pass of the media tool over the sealed bytes. The file is stored
//! even if this fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::files::{ToolFiles, ToolInput};
use super::lanes::{Turn, ViewsLanes};
use super::report::log_cuts;
use super::requests::RemakeRequests;
use super::store::ViewsStore;
use crate::failpoint;
use crate::ingest::attempts::{Attempts, LAST_ATTEMPT};
use crate::ingest::changes::ChangeSignal;
use crate::ingest::jobs::{Jobs, Stage, percent};
use crate::ingest::parts::CommonParts;
use crate::ingest::settings::LiveSettings;
use crate::ingest::subtitle_files;
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

/// Longest time for the views of a film, beside the time for its bytes.
const LONGEST_BUILD: Duration = Duration::from_secs(3600);
/// Bytes of a film that earn it one more second. An old disk, and frames that must be encoded again, are
/// many times as fast.
const BUILD_BYTES_A_SECOND: u64 = 1 << 20;
/// Longest time for reading a subtitle file, which takes a second.
const LONGEST_READING: Duration = Duration::from_secs(60);

/// Stage that makes the views of files.
#[derive(Debug)]
pub struct ViewsStage {
    tree: Arc<Tree>,
    tool: Arc<dyn MediaTool>,
    settings: Arc<LiveSettings>,
    jobs: Arc<Jobs>,
    attempts: Arc<Attempts>,
    changes: Arc<ChangeSignal>,
    files: Arc<ToolFiles>,
    requests: Arc<RemakeRequests>,
    store: ViewsStore,
    lanes: ViewsLanes,
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
            attempts: Arc::clone(&parts.attempts),
            changes: Arc::clone(&parts.changes),
            files,
            requests,
            store,
            lanes: ViewsLanes::new(parts),
        }
    }

    /// Makes the views of a file as far as they are missing, and stores their derived blob. The permit
    /// bounds the number of films that are mapped side by side, apart from those that take long. Sending
    /// needs none.
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
                let state = self.find_in_lanes(&entry, content, permit).await?;
                self.store.set(id, content.version, state)?;
                self.requests.want_rendition(id);
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

    /// Finds the views of a file without holding up the files behind it.
    async fn find_in_lanes(
        &self,
        entry: &Entry,
        content: &FileContent,
        permit: OwnedSemaphorePermit,
    ) -> FsResult<ViewsState> {
        {
            let finding = self.find_views(entry, content);
            tokio::pin!(finding);
            let turn = self.lanes.first_turn(content.size, permit, finding);
            if let Turn::Done(found) = turn.await {
                return found;
            }
            // The end of this block drops the work, which stops the tool.
        }
        self.attempts.take_back(entry.id);
        self.jobs.set_progress(Stage::Views, entry.id, "wait", 0);
        tracing::info!(file = %entry.name.display(), "it takes long; its views wait until others that take long are done");
        let _place = self.lanes.long_place().await?;
        self.find_views(entry, content).await
    }

    async fn find_views(&self, entry: &Entry, content: &FileContent) -> FsResult<ViewsState> {
        let is_subtitle = is_subtitle_name(&entry.name);
        if !is_subtitle && !media_kind(&entry.name).is_media() {
            return Ok(ViewsState::NotMedia);
        }
        if let Some(reason) = subtitle_files::refusal(&entry.name, content.size) {
            return Ok(reason);
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
        let attempt = self.attempts.begin(entry.id, content.version)?;
        if attempt >= LAST_ATTEMPT {
            self.attempts.failed(entry.id);
            return Ok(ViewsState::Unreadable(
                "tgfs ended twice while it made the views; `tgfs retry` tries again".to_owned(),
            ));
        }
        failpoint::pass(failpoint::Step::ViewsBegun);
        let found = match is_subtitle {
            true => {
                let reading = subtitle_files::read_subtitle_file(&self.files, entry, &input);
                within(LONGEST_READING, reading).await
            }
            false => {
                let longest = longest_build(content.size);
                within(longest, self.build(entry, content, &input)).await
            }
        };
        match found {
            Ok(state) => Ok(state),
            Err(error) => self.failed_attempt(entry.id, attempt, &error),
        }
    }

    /// Builds the views of a film.
    async fn build(
        &self,
        entry: &Entry,
        content: &FileContent,
        input: &ToolInput,
    ) -> Result<ViewsState, MediaError> {
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
        match build_views(request, &progress).await? {
            BuildOutcome::Ready(views, account) => {
                log_cuts(entry, &views, &account);
                let ready = ViewsState::Ready(views);
                let taken = self.files.take_derived(entry, &derived, ready);
                taken.map_err(|error| MediaError::new(MediaErrorKind::Io, error.to_string()))
            }
            BuildOutcome::Unsupported(reason) => Ok(ViewsState::Unsupported(reason.to_string())),
            BuildOutcome::Unreadable(reason) => Ok(ViewsState::Unreadable(reason.to_string())),
            BuildOutcome::NotMedia => Ok(ViewsState::Unreadable(
                "its name says media, but its contents are not a known video format".to_owned(),
            )),
        }
    }

    /// Decides the result of a failed attempt. A tool that is missing or was stopped, or work that never
    /// ends, leaves the file without views in the end. An error that has nothing to do with the file does
    /// not count.
    fn failed_attempt(
        &self,
        id: EntryId,
        attempt: u32,
        error: &MediaError,
    ) -> FsResult<ViewsState> {
        if !error.is_retryable() {
            return Ok(ViewsState::Unreadable(error.to_string()));
        }
        let counts = matches!(
            error.kind,
            MediaErrorKind::ToolMissing | MediaErrorKind::ToolStopped
        );
        if counts && attempt + 1 >= LAST_ATTEMPT {
            let reason = format!("{error}; `tgfs retry` tries again");
            return Ok(ViewsState::Unreadable(reason));
        }
        match counts {
            true => self.attempts.failed(id),
            false => self.attempts.take_back(id),
        }
        Err(FsError::new(ErrorKind::Io, error.to_string()))
    }
}

/// Returns the longest time for the views of a film.
pub(super) fn longest_build(bytes: u64) -> Duration {
    LONGEST_BUILD + Duration::from_secs(bytes / BUILD_BYTES_A_SECOND)
}

/// Does work that must end within `longest`. It is dropped otherwise, which stops the tool.
async fn within(
    longest: Duration,
    work: impl Future<Output = Result<ViewsState, MediaError>> + Send,
) -> Result<ViewsState, MediaError> {
    let done = tokio::time::timeout(longest, work).await;
    done.unwrap_or_else(|_| Err(too_long(longest)))
}

/// Returns the error of views that are not made within `longest`.
pub(super) fn too_long(longest: Duration) -> MediaError {
    let minutes = longest.as_secs() / 60;
    let message = format!("making the views did not end within {minutes} min");
    MediaError::new(MediaErrorKind::ToolStopped, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_never_ends_counts_as_a_tool_that_was_stopped() {
        let longest = longest_build(2 << 30);
        let error = within(longest, std::future::pending()).await.unwrap_err();
        assert_eq!(error.kind, MediaErrorKind::ToolStopped);
        assert!(error.is_retryable());
        let expected = "making the views did not end within 94 min";
        assert_eq!(error.to_string(), expected);
    }
}
