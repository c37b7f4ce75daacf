//! Files of others, in a place where a remote can read them.

use super::{RemoteError, RemoteErrorKind};
use crate::model::{TelegramAddress, Timestamp};

/// A file that somebody else put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignDocument {
    pub address: TelegramAddress,
    /// As it was given; may be empty.
    pub name: String,
    pub mime: String,
    /// The text beside it.
    pub text: String,
    /// Bytes.
    pub size: u64,
    pub date: Timestamp,
}

/// What is in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignDocuments {
    /// In the order in which they came there.
    pub documents: Vec<ForeignDocument>,
    pub reach: Reach,
}

/// How far the look went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Everything,
    /// It ended where so many numbers in a row had no post: later ones are not known.
    UpToAGap(u32),
}

pub fn no_such_places(name: &str) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Invalid,
        format!("take over {name}"),
        "only a library in Telegram channels can take over what is in a channel",
    )
}
