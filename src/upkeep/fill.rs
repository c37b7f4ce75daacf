//! At start: ties a state to its store, and reads what the store's log has and the index has not.

use std::sync::Arc;

use super::asking::Asking;
pub use super::asking::Patience;
use super::catch_up::Log;
use crate::index::{FillReport, Index, IndexError};
use crate::model::{LibraryClaim, LibraryId, Standing, WriterId};
use crate::remote::{LibraryMark, Remote, RemoteError, RemoteErrorKind};

/// What attaching found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachReport {
    /// Objects of the log that were read.
    pub manifests: u64,
    pub fill: FillReport,
    /// What is not as it should be, for people: gaps, unreadable snapshots, other writers.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(
        "this state belongs to the store {own}, not to {given}; use that store, or another --state"
    )]
    OtherStore { own: String, given: String },
    #[error(
        "the store {store} holds library {found}, and this state belongs to library {own}; use the store that belongs to it, or another --state"
    )]
    OtherLibrary {
        store: String,
        found: LibraryId,
        own: LibraryId,
    },
    #[error(
        "the store {0} holds no library, but this state was used with one there; is its disk mounted?"
    )]
    LibraryGone(String),
    #[error(
        "another tgfs (writer {0}) has written to this library since this state was used last; stop it and run `tgfs recover --take-over` here, or go on there"
    )]
    OtherWriter(WriterId),
    #[error(
        "the store {0} knows changes that this state does not, as a state does that came back from a copy, and something was changed here since the start; nothing is lost: stop tgfs and run `tgfs recover`, which brings both together"
    )]
    Diverged(String),
    #[error(
        "this state's library is in {old}, and {new} holds it as well and has gone on: tgfs moved it from here before; move the state directory aside, and a new one fills itself from {new}"
    )]
    Moved { old: String, new: String },
    #[error("the work was interrupted: {0}")]
    Interrupted(String),
    /// As asked for.
    #[error("the store was not reached before the stop")]
    Stopped,
}

impl AttachError {
    /// Whether it may succeed later by itself: the store cannot be reached.
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
            | Self::Stopped => false,
        }
    }
}

/// Ties the index to the store, makes the library in a new store, and fills in what the log has
/// more than the index: nothing, what an unacknowledged manifest says, or everything. While it
/// fills, commits are refused and reads see what is there. Nothing is made because of an error.
/// In the end the index stands as attached, and what waits for that goes on.
///
/// # Errors
/// See [`AttachError`]; the index is as usable as before.
pub async fn attach(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    claim: LibraryClaim,
    patience: Patience,
) -> Result<AttachReport, AttachError> {
    let report = bring_in_step(index, remote, claim, patience).await?;
    index.set_standing(Standing::Attached);
    Ok(report)
}

/// As [`attach`], but nothing goes out yet.
pub(super) async fn bring_in_step(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    claim: LibraryClaim,
    patience: Patience,
) -> Result<AttachReport, AttachError> {
    let given = remote.describe();
    let own = index.store_description();
    if !own.is_empty() && own != given {
        return Err(AttachError::OtherStore { own, given });
    }
    let log = Log {
        index,
        remote,
        asking: Asking { index, patience },
    };
    match bind(&log, &own, &given).await? {
        LogIs::New => log.read_all(claim).await,
        LogIs::Known if index.must_fill() => log.read_all(claim).await,
        LogIs::Known => log.follow(claim).await,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogIs {
    /// To this index: all of it has to be read.
    New,
    Known,
}

async fn bind(log: &Log<'_>, own: &str, given: &str) -> Result<LogIs, AttachError> {
    let index = log.index;
    let library = index.library_id();
    let found = log.asking.ask(|| log.remote.library()).await?;
    match found.map(|mark| mark.id) {
        Some(found) if found == library => {
            if own.is_empty() {
                index.bind(library, given)?;
                return Ok(LogIs::New);
            }
            Ok(LogIs::Known)
        }
        // A state that was never used takes over what is there.
        Some(found) if own.is_empty() && index.is_empty()? => {
            index.begin_fill()?;
            index.bind(found, given)?;
            Ok(LogIs::New)
        }
        Some(found) => Err(AttachError::OtherLibrary {
            store: given.to_owned(),
            found,
            own: library,
        }),
        None if own.is_empty() => {
            create(log, library).await?;
            index.bind(library, given)?;
            Ok(LogIs::New)
        }
        None => Err(AttachError::LibraryGone(given.to_owned())),
    }
}

/// Makes the library; that the first answer was lost is no reason to refuse the second.
async fn create(log: &Log<'_>, library: LibraryId) -> Result<(), AttachError> {
    // A remote that encrypts adds its key.
    let mark = LibraryMark {
        id: library,
        wrap: None,
    };
    match log.asking.ask(|| log.remote.create_library(&mark)).await {
        Err(AttachError::Remote(error)) if error.kind == RemoteErrorKind::Foreign => {
            match log.asking.ask(|| log.remote.library()).await? {
                Some(found) if found.id == library => Ok(()),
                _ => Err(error.into()),
            }
        }
        other => other,
    }
}
