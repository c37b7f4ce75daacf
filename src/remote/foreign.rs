//! Files of others, in a place where a remote can read them.

use super::{RemoteError, RemoteErrorKind};
use crate::model::{PackRef, TelegramAddress, Timestamp};

/// Files that others put where a remote can read them. A store without such files keeps the
/// defaults.
#[async_trait::async_trait]
pub trait ForeignFiles: std::fmt::Debug + Send + Sync + 'static {
    /// Lists the files in a place (a channel, by id or `@name`).
    ///
    /// # Errors
    /// [`RemoteErrorKind::Invalid`] when the store has no such places.
    async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        Err(no_such_places(place))
    }

    /// Makes a pack of such a file without copying its bytes, which are read once for their digests.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Invalid`] when the store has no such places.
    async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        Err(no_such_places(&document.name))
    }
}

/// A file that somebody else put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignDocument {
    pub address: TelegramAddress,
    /// Name that its sender gave it; may be empty.
    pub name: String,
    pub mime: String,
    /// The text beside it.
    pub text: String,
    /// Bytes.
    pub size: u64,
    pub date: Timestamp,
}

/// The files in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignDocuments {
    /// In the order in which they were posted.
    pub documents: Vec<ForeignDocument>,
    pub reach: ListingReach,
}

/// Extent of the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingReach {
    Everything,
    /// The listing ended after this many message numbers in a row without a post. Later posts are not
    /// known.
    UpToAGap(u32),
}

fn no_such_places(name: &str) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Invalid,
        format!("take over {name}"),
        "only a library in Telegram channels can take over what is in a channel",
    )
}
