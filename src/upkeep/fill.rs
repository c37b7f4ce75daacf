//! Attach at a start. It ties a state to its store, and reads the changes of the log that the index lacks.

use std::sync::Arc;

use super::attach_error::{AttachError, AttachReport};
use super::catch_up::LogReader;
pub use super::patient_request::Patience;
use super::patient_request::PatientRequests;
use crate::index::Index;
use crate::model::{AttachState, LibraryClaim};
use crate::remote::{LibraryMark, Remote, RemoteErrorKind};

/// Ties the index to the store, makes the library in a new store, and fills the index with the changes of
/// the log that it lacks. These are none, those of an unacknowledged manifest, or all. While it fills,
/// commits are refused and reads see the rows that are there. Nothing is made because of an error. In the
/// end the index is attached, and work that waits for that goes on.
///
/// # Errors
/// See [`AttachError`]. The index is as usable as before.
pub async fn attach(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    claim: LibraryClaim,
    patience: Patience,
) -> Result<AttachReport, AttachError> {
    let report = bring_in_step(index, remote, claim, patience).await?;
    index.set_attach_state(AttachState::Attached);
    Ok(report)
}

/// Does the same as [`attach`], but leaves the index unattached, so nothing is published yet.
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
    let log = LogReader {
        index,
        remote,
        requests: PatientRequests { index, patience },
    };
    match bind(&log, &own, &given).await? {
        LogIs::New => log.read_all(claim).await,
        LogIs::Known if index.must_fill() => log.read_all(claim).await,
        LogIs::Known => log.follow(claim).await,
    }
}

/// Knowledge that the index has of its store's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogIs {
    /// The whole log has to be read.
    New,
    /// Only the end of the log may have to be read.
    Known,
}

/// Compares the library of the store with the one of the index, and binds a new index to it.
async fn bind(log: &LogReader<'_>, own: &str, given: &str) -> Result<LogIs, AttachError> {
    let index = log.index;
    let library = index.library_id();
    let found = log.requests.send(|| log.remote.library()).await?;
    match found.map(|mark| mark.id) {
        Some(found) if found == library => {
            if own.is_empty() {
                index.bind(library, given)?;
                return Ok(LogIs::New);
            }
            Ok(LogIs::Known)
        }
        // A state that was never used takes over the library that is there.
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
            // A remote that encrypts adds its key.
            let mark = LibraryMark {
                id: library,
                wrap: None,
            };
            create_library(&log.requests, log.remote, &mark).await?;
            index.bind(library, given)?;
            Ok(LogIs::New)
        }
        None => Err(AttachError::LibraryGone(given.to_owned())),
    }
}

/// Makes the library. If the first answer was lost, the store reports that there is a library already. If
/// that one has our id, it is ours.
///
/// # Errors
/// See [`AttachError`].
pub(super) async fn create_library(
    requests: &PatientRequests<'_>,
    remote: &Arc<dyn Remote>,
    mark: &LibraryMark,
) -> Result<(), AttachError> {
    match requests.send(|| remote.create_library(mark)).await {
        Err(AttachError::Remote(error)) if error.kind == RemoteErrorKind::Foreign => {
            match requests.send(|| remote.library()).await? {
                Some(found) if found.id == mark.id => Ok(()),
                _ => Err(error.into()),
            }
        }
        other => other,
    }
}
