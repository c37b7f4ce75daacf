//! Changes of the world: what is applied to it is what the journal keeps.

use serde::{Deserialize, Serialize};

use super::channel::Right;
use crate::options::{Bot, Channel};

/// Seconds since 1970 on the server's calendar.
pub(crate) type Date = i32;

/// Author of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    Bot(Bot),
    /// A person, or another program.
    Stranger,
}

/// Origin and description of a document; its bytes lie beside the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DocumentRecord {
    pub(crate) id: i64,
    pub(crate) dc: i32,
    pub(crate) mime_type: String,
    /// A serialized `Vector<DocumentAttribute>`, as it was sent.
    pub(crate) attributes: Vec<u8>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    KeyMade {
        dc: i32,
        /// Hexadecimal.
        key: String,
    },
    KeyForgotten {
        dc: i32,
        id: i64,
    },
    SignedIn {
        dc: i32,
        id: i64,
        bot: Bot,
    },
    SignedOut {
        dc: i32,
        id: i64,
    },
    Posted {
        channel: Channel,
        id: i32,
        date: Date,
        author: Author,
        random_id: i64,
        text: String,
        document: Option<DocumentRecord>,
    },
    Edited {
        channel: Channel,
        id: i32,
        date: Date,
        text: Option<String>,
        document: Option<DocumentRecord>,
    },
    Deleted {
        channel: Channel,
        ids: Vec<i32>,
    },
    /// With the id of the service post that says so, unless it was silent.
    Pinned {
        channel: Channel,
        id: i32,
        date: Date,
        author: Author,
        notice: i32,
    },
    Unpinned {
        channel: Channel,
        id: i32,
    },
    /// Ids that posts had which are gone.
    Skipped {
        channel: Channel,
        ids: i32,
    },
    Joined {
        channel: Channel,
        bot: Bot,
        date: Date,
    },
    Left {
        channel: Channel,
        bot: Bot,
        date: Date,
    },
    Granted {
        channel: Channel,
        bot: Bot,
        right: Right,
    },
    Revoked {
        channel: Channel,
        bot: Bot,
        right: Right,
    },
}
