//! Remaking of a stored file's views, one file at a time. The old views stay in place until the new
//! ones are in the store; an error costs only the new ones.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::files::ToolFiles;
use super::make::{longest_build, too_long};
use super::outcome::RemakeOutcome;
use super::queue::{RemakeQueue, RemakeReason, RemakeTicket};
use super::report::log_cuts;
use super::requests::RemakeRequests;
use crate::index::Index;
use crate::ingest::attempts::LAST_ATTEMPT;
use crate::ingest::changes::ChangeSignal;
use crate::ingest::jobs::{Jobs, percent};
use crate::ingest::parts::CommonParts;
use crate::ingest::settings::LiveSettings;
use crate::ingest::steps::RunningSteps;
use crate::media::build::rendition::{self, RenditionOutcome};
use crate::media::build::{BuildOutcome, BuildReport, BuildRequest, build_views};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::reason::UnsupportedReason;
use crate::media::tool::MediaTool;
use crate::model::{
    Compat, Entry, EntryId, EntryKind, ErrorKind, FileContent, FileState, FsResult, Views,
    ViewsState,
};
use crate::spool::Spool;
use crate::tree::Tree;

/// Number of the start at which a remake is given up.
const LAST_START: u32 = LAST_ATTEMPT;
/// Time between two checks of a build that somebody still wants it.
const LOOK: Duration = Duration::from_millis(500);
/// Most bytes of a second of a rendition. They decide if the spool has room for it.
const RENDITION_BYTES: u64 = 1 << 20;

/// Builder of new views for stored files.
#[derive(Debug)]
pub struct ViewsRemaker {
    index: Arc<Index>,
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    tool: Arc<dyn MediaTool>,
    settings: Arc<LiveSettings>,
    jobs: Arc<Jobs>,
    queue: Arc<RemakeQueue>,
    steps: Arc<RunningSteps>,
    changes: Arc<ChangeSignal>,
    files: Arc<ToolFiles>,
    requests: Arc<RemakeRequests>,
}

/// Files and settings of one build.
#[derive(Debug, Clone, Copy)]
struct RemakeBuild<'a> {
    entry: &'a Entry,
    content: &'a FileContent,
    input: &'a Path,
    derived: &'a Path,
}

/// Views that a file has before they are made again.
#[derive(Debug, Clone, Copy)]
struct OldViews {
    is_durable: bool,
    has_rendition: bool,
    seconds: u64,
}

impl OldViews {
    /// Returns `None` for views that cannot be made again.
    fn of(views: &ViewsState) -> Option<Self> {
        match views {
            ViewsState::Ready(views) => Some(Self {
                is_durable: views.is_durable(),
                has_rendition: rendition::has_rendition(views),
                seconds: views.duration_ms / 1000,
            }),
            ViewsState::Unsupported(stored)
                if UnsupportedReason::decode(stored).rendition_helps() =>
            {
                Some(Self {
                    is_durable: true,
                    has_rendition: true,
                    seconds: 0,
                })
            }
            _ => None,
        }
    }
}

impl ViewsRemaker {
    /// Builds the remaker over the parts that it needs.
    #[must_use]
    pub fn new(parts: &CommonParts, files: Arc<ToolFiles>, requests: Arc<RemakeRequests>) -> Self {
        Self {
            index: Arc::clone(&parts.index),
            tree: Arc::clone(&parts.tree),
            spool: Arc::clone(&parts.spool),
            tool: Arc::clone(&parts.tool),
            settings: Arc::clone(&parts.settings),
            jobs: Arc::clone(&parts.jobs),
            queue: Arc::clone(&parts.remakes),
            steps: Arc::clone(&parts.steps),
            changes: Arc::clone(&parts.changes),
            files,
            requests,
        }
    }

    /// Makes the views of a file again.
    ///
    /// # Errors
    /// `NotFound` when the file is gone; an error that another try may fix.
    pub async fn remake(&self, ticket: RemakeTicket) -> FsResult<RemakeOutcome> {
        let id = ticket.id;
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(RemakeOutcome::Unwanted);
        };
        let Some(old) = OldViews::of(&content.views) else {
            return Ok(RemakeOutcome::Unwanted);
        };
        if content.version != ticket.version || matches!(content.state, FileState::Failed(_)) {
            return Ok(RemakeOutcome::Unwanted);
        }
        let is_stored =
            content.is_durable() && old.is_durable && self.index.is_published(id).unwrap_or(false);
        if !is_stored || self.jobs.is_held(id) {
            return Ok(RemakeOutcome::Later(None));
        }
        let wanted = self.settings.get().compat;
        let compat = match ticket.reason {
            RemakeReason::Rendition if wanted == Compat::Off => {
                return Ok(RemakeOutcome::Unwanted);
            }
            RemakeReason::Asked if !old.has_rendition => Compat::Off,
            RemakeReason::Rendition | RemakeReason::Asked => wanted,
        };
        if compat != Compat::Off && self.spool.free() < RENDITION_BYTES * old.seconds {
            let why = "the spool has no room for a rendition in H.264".to_owned();
            return Ok(RemakeOutcome::Later(Some(why)));
        }
        self.requests.keep_copy(id, content);
        let input = match self.files.input(&entry, content).await {
            Err(error) if error.kind == ErrorKind::TooLarge => {
                return Ok(RemakeOutcome::GivenUp(error.message));
            }
            input => input?,
        };
        let begun = self.queue.begin(id);
        if begun >= LAST_START {
            return Ok(RemakeOutcome::GivenUp(
                "tgfs ended twice while it was made".to_owned(),
            ));
        }
        let build = RemakeBuild {
            entry: &entry,
            content,
            input: &input.path,
            derived: &self.files.derived_path(&entry),
        };
        match self.build_as_needed(build, compat, wanted).await {
            Ok(None) => Ok(RemakeOutcome::Unwanted),
            Ok(Some(outcome)) => self.take(build, outcome),
            Err(error) => Ok(self.after_error(id, begun, &error)),
        }
    }

    /// Builds the views, and once more with a rendition if the film turns out to need one.
    async fn build_as_needed(
        &self,
        build: RemakeBuild<'_>,
        compat: Compat,
        wanted: Compat,
    ) -> Result<Option<BuildOutcome>, MediaError> {
        let outcome = self.build(build, compat).await?;
        match &outcome {
            Some(BuildOutcome::Unsupported(reason))
                if compat == Compat::Off && wanted != Compat::Off && reason.rendition_helps() =>
            {
                self.build(build, wanted).await
            }
            _ => Ok(outcome),
        }
    }

    /// Builds the views. Returns `None` when the build was stopped because nobody wants it any more
    /// or ingest is stopping.
    async fn build(
        &self,
        build: RemakeBuild<'_>,
        compat: Compat,
    ) -> Result<Option<BuildOutcome>, MediaError> {
        let (id, size) = (build.entry.id, build.content.size);
        let version = build.content.version;
        let label = match compat {
            Compat::Off => "map",
            Compat::With(_) => "encode",
        };
        self.queue.set_progress(id, label, 0);
        let progress = |done| {
            self.queue.set_progress(id, label, percent(done, size));
            self.changes.raise();
        };
        let cuts = self.settings.get().cuts;
        let request = BuildRequest {
            tool: &self.tool,
            source: build.input,
            derived: build.derived,
            policy: &cuts,
            compat,
        };
        let begun = tokio::time::Instant::now();
        let longest = longest_build(size);
        let building = build_views(request, &progress);
        tokio::pin!(building);
        loop {
            tokio::select! {
                outcome = &mut building => return outcome.map(Some),
                () = tokio::time::sleep(LOOK) => {
                    if self.steps.is_stopping() || !self.queue.is_wanted(id, version) {
                        return Ok(None);
                    }
                    // The encoder has limits of its own, since a film may take a night.
                    if compat == Compat::Off && begun.elapsed() > longest {
                        return Err(too_long(longest));
                    }
                }
            }
        }
    }

    fn after_error(&self, id: EntryId, begun: u32, error: &MediaError) -> RemakeOutcome {
        let is_the_tools = matches!(
            error.kind,
            MediaErrorKind::ToolMissing | MediaErrorKind::ToolStopped
        );
        if !error.is_retryable() || is_the_tools && begun + 1 >= LAST_START {
            return RemakeOutcome::GivenUp(error.to_string());
        }
        if !is_the_tools {
            self.queue.take_back_start(id);
        }
        RemakeOutcome::Later(Some(error.to_string()))
    }

    fn take(&self, build: RemakeBuild<'_>, outcome: BuildOutcome) -> FsResult<RemakeOutcome> {
        match outcome {
            BuildOutcome::Ready(new, account) => self.take_views(build, *new, &account),
            BuildOutcome::Unsupported(reason) => Ok(RemakeOutcome::GivenUp(reason.to_string())),
            BuildOutcome::Unreadable(reason) => Ok(RemakeOutcome::GivenUp(reason.to_string())),
            BuildOutcome::NotMedia => Ok(RemakeOutcome::GivenUp(
                "its contents are not a known video format".to_owned(),
            )),
        }
    }

    fn take_views(
        &self,
        build: RemakeBuild<'_>,
        new: Views,
        account: &BuildReport,
    ) -> FsResult<RemakeOutcome> {
        let RemakeBuild { entry, derived, .. } = build;
        if let RenditionOutcome::Failed(reason) = &account.rendition {
            let _nothing_to_keep = std::fs::remove_file(derived);
            return Ok(RemakeOutcome::GivenUp(reason.clone()));
        }
        log_cuts(entry, &new, account);
        if account.rendition == RenditionOutcome::Made {
            tracing::info!(file = %entry.name.display(), "it has a rendition in H.264 now");
        }
        let new = ViewsState::Ready(Box::new(new));
        Ok(match self.files.take_derived(entry, derived, new)? {
            ViewsState::Ready(views) => RemakeOutcome::Made(views),
            _ => RemakeOutcome::Unwanted,
        })
    }
}
