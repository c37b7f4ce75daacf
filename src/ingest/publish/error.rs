//! Errors of publishing.

use crate::index::IndexError;
use crate::model::WriterId;
use crate::remote::RemoteError;

/// Reason why changes are not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The remote refuses or cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Another daemon writes to the library. This is final.
    #[error(
        "another tgfs (writer {0}) writes to this library; nothing is lost here, but nothing more is published: stop one of the two, then run `tgfs recover --take-over` where the library shall live on"
    )]
    OtherWriter(WriterId),
    /// The publisher ended. This is final.
    #[error("publishing stopped: {0}")]
    Stopped(String),
}

impl PublishError {
    /// Returns true if publishing ends with this error instead of trying again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::OtherWriter(_) | Self::Stopped(_) => true,
            Self::Index(_) | Self::Remote(_) => false,
        }
    }
}
