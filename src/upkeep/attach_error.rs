//! Outcome of tying a state to its store: the report, and the errors.

use tokio::task::JoinError;

use crate::index::{FillReport, IndexError};
use crate::ingest::publish::PublishError;
use crate::model::{LibraryId, WriterId};
use crate::remote::RemoteError;

/// Report of an attach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachReport {
    /// Number of manifests that were read.
    pub manifests: u64,
    /// Changes of the rows.
    pub fill: FillReport,
    /// Findings for people: gaps, unreadable snapshots, other writers.
    pub notes: Vec<String>,
}

impl AttachReport {
    /// Returns a sentence on the entries that moved to `/lost+found`, with the first of them; `None` when
    /// none did.
    #[must_use]
    pub fn lost_and_found(&self) -> Option<String> {
        /// Entries that are named.
        const NAMED: usize = 5;
        let lost = &self.fill.lost_and_found;
        let named: Vec<String> = lost
            .iter()
            .take(NAMED)
            .map(|name| format!("{name:?}"))
            .collect();
        (!lost.is_empty()).then(|| {
            format!(
                "{} entries without a place were put into /lost+found: {}{}",
                lost.len(),
                named.join(", "),
                if lost.len() > NAMED { ", …" } else { "" }
            )
        })
    }
}

/// Reason why a state could not be tied to its store.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store refuses, or cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The state was used with another store.
    #[error(
        "this state belongs to the store {own}, not to {given}; use that store, or another --state"
    )]
    OtherStore { own: String, given: String },
    /// The store holds another library.
    #[error(
        "the store {store} holds library {found}, and this state belongs to library {own}; use the store that belongs to it, or another --state"
    )]
    OtherLibrary {
        store: String,
        found: LibraryId,
        own: LibraryId,
    },
    /// The store is empty, although the state was used with it.
    #[error(
        "the store {0} holds no library, but this state was used with one there; is its disk mounted?"
    )]
    LibraryGone(String),
    /// Another daemon has written to the library.
    #[error(
        "another tgfs (writer {0}) has written to this library since this state was used last; stop it and run `tgfs recover --take-over` here, or go on there"
    )]
    OtherWriter(WriterId),
    /// Store and state each have changes that the other does not know.
    #[error(
        "the store {0} knows changes that this state does not, as a state does that came back from a copy, and something was changed here since the start; nothing is lost: stop tgfs and run `tgfs recover`, which brings both together"
    )]
    Diverged(String),
    /// The library was moved to another store, and has gone on there.
    #[error(
        "this state's library is in {old}, and {new} holds it as well and has gone on: tgfs moved it from here before; move the state directory aside, and a new one fills itself from {new}"
    )]
    Moved { old: String, new: String },
    /// Blocking work ended early.
    #[error("the work was interrupted: {0}")]
    Interrupted(#[source] JoinError),
    /// The state directory does not take the note about the place that the library moves to.
    #[error("the work was interrupted: the state: {0}")]
    Note(#[source] std::io::Error),
    /// The snapshot for the new store could not be made.
    #[error("the work was interrupted: {0}")]
    Snapshot(#[source] PublishError),
    /// A stop was asked for.
    #[error("the store was not reached before the stop")]
    Stopped,
}

impl AttachError {
    /// Returns whether a later try may succeed by itself: the store cannot be reached now.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Remote(error) => error.is_retryable(),
            Self::Index(error) => error.is_retryable(),
            Self::OtherStore { .. }
            | Self::OtherLibrary { .. }
            | Self::LibraryGone(_)
            | Self::OtherWriter(_)
            | Self::Diverged(_)
            | Self::Moved { .. }
            | Self::Interrupted(_)
            | Self::Note(_)
            | Self::Snapshot(_)
            | Self::Stopped => false,
        }
    }
}

impl From<PublishError> for AttachError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Index(error) => Self::Index(error),
            PublishError::Remote(error) => Self::Remote(error),
            other => Self::Snapshot(other),
        }
    }
}
