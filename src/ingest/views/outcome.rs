//! Outcomes of remakes, and their effects.

use std::sync::Arc;

use super::queue::{RemakeQueue, RemakeReason, RemakeTicket};
use super::requests::RemakeRequests;
use crate::ingest::changes::ChangeSignal;
use crate::ingest::jobs::Jobs;
use crate::ingest::notes::Notes;
use crate::ingest::parts::CommonParts;
use crate::ingest::publish::publisher::Publisher;
use crate::ingest::spool_owners::{BlobOwner, SpoolOwners};
use crate::ingest::steps::RunningSteps;
use crate::model::{EntryKind, ErrorKind, FileContent, FsResult, Views, ViewsState};
use crate::tree::Tree;

/// Begin of the note about a rendition that could not be made. Notes are stored and compared, so
/// these texts are frozen.
const NO_RENDITION: &str = "no rendition in H.264";
/// Begin of the note about views that could not be made again.
const NO_NEW_VIEWS: &str = "the views could not be made again";

/// Outcome of one remake.
#[derive(Debug)]
pub enum RemakeOutcome {
    /// New views wait to be stored.
    Made(Box<Views>),
    /// There are no new views for this reason, and there will not be any.
    GivenUp(String),
    /// Nobody wants new views any more.
    Unwanted,
    /// Not possible now, for this reason if it is an error.
    Later(Option<String>),
}

/// Recorder of outcomes.
#[derive(Debug)]
pub struct RemakeOutcomes {
    tree: Arc<Tree>,
    jobs: Arc<Jobs>,
    notes: Arc<Notes>,
    owners: Arc<SpoolOwners>,
    publisher: Arc<Publisher>,
    queue: Arc<RemakeQueue>,
    steps: Arc<RunningSteps>,
    changes: Arc<ChangeSignal>,
    requests: Arc<RemakeRequests>,
}

impl RemakeOutcomes {
    /// Builds the recorder over the parts that it needs.
    #[must_use]
    pub fn new(parts: &CommonParts, requests: Arc<RemakeRequests>) -> Self {
        Self {
            tree: Arc::clone(&parts.tree),
            jobs: Arc::clone(&parts.jobs),
            notes: Arc::clone(&parts.notes),
            owners: Arc::clone(&parts.owners),
            publisher: Arc::clone(&parts.publisher),
            queue: Arc::clone(&parts.remakes),
            steps: Arc::clone(&parts.steps),
            changes: Arc::clone(&parts.changes),
            requests,
        }
    }

    /// Records the outcome of a remake: its views are sent, it is tried later, or it is forgotten.
    pub fn record(&self, ticket: RemakeTicket, outcome: FsResult<RemakeOutcome>) {
        let RemakeTicket { id, version, .. } = ticket;
        match outcome {
            Ok(RemakeOutcome::Made(views)) => self.queue_views(ticket, &views),
            Ok(RemakeOutcome::GivenUp(reason)) => self.give_up(ticket, &reason),
            Ok(RemakeOutcome::Unwanted) if self.steps.is_stopping() => {
                // A clean shutdown ended it, which is not a failed start.
                self.queue.take_back_start(id);
            }
            Ok(RemakeOutcome::Unwanted) => self.requests.forget(id, |known| known == version),
            Ok(RemakeOutcome::Later(why)) => self.queue.put_off(id, version, why),
            Err(error) if error.kind == ErrorKind::NotFound => self.requests.forget(id, |_| true),
            Err(error) => {
                tracing::warn!(%id, %error, "views are made again later");
                self.queue.put_off(id, version, Some(error.to_string()));
            }
        }
        self.changes.raise();
    }

    /// Queues the file, so that the views stage sends the new views.
    fn queue_views(&self, ticket: RemakeTicket, views: &Views) {
        let RemakeTicket { id, version, .. } = ticket;
        let blob = views.derived.id;
        if self.queue.set_made(id, version, views) {
            self.owners.set(BlobOwner::Remake(id), vec![blob]);
            self.notes.note_job(id);
            self.jobs.submit(id);
        } else {
            self.owners.orphan(vec![blob]);
        }
    }

    /// Keeps the old views, with a note that says which new ones are missing.
    fn give_up(&self, ticket: RemakeTicket, reason: &str) {
        let RemakeTicket { id, version, .. } = ticket;
        let reason_asked = self.queue.progress(id).map(|(reason, _)| reason);
        let what = match reason_asked {
            Some(RemakeReason::Asked) => NO_NEW_VIEWS,
            _ => NO_RENDITION,
        };
        let note = format!("{what}: {reason}; `tgfs retry` tries again");
        let updated = self.tree.update(id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind
                && content.version == version
            {
                add_note(content, what, &note);
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
        self.requests.forget(id, |known| known == version);
    }
}

/// Adds a note to the views of a file, and removes an older note that begins with `what`.
fn add_note(content: &mut FileContent, what: &str, note: &str) {
    match &mut content.views {
        ViewsState::Unsupported(said) => {
            let first = said.split("; ").next().unwrap_or_default();
            *said = format!("{first}; {note}");
        }
        ViewsState::Ready(views) => {
            let others = views.note.iter().flat_map(|note| note.split("; "));
            let others =
                others.filter(|part| !part.starts_with(what) && !part.starts_with("`tgfs retry`"));
            let all: Vec<&str> = others.chain([note]).collect();
            views.note = Some(all.join("; "));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_note_takes_the_place_of_an_older_one_of_its_kind() {
        let mut content = FileContent::empty();
        content.views = ViewsState::Unsupported("no place in MP4".to_owned());
        for reason in ["no room", "no ffmpeg"] {
            let note = format!("{NO_RENDITION}: {reason}; `tgfs retry` tries again");
            add_note(&mut content, NO_RENDITION, &note);
        }
        let expected =
            "no place in MP4; no rendition in H.264: no ffmpeg; `tgfs retry` tries again";
        assert_eq!(content.views, ViewsState::Unsupported(expected.to_owned()));
    }
}
