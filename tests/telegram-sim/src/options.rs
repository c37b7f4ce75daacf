//! Options of a simulated server.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::Faults;

/// A bot, by its number: the first is 1, as in `BOT_TOKEN_1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bot(pub u32);

impl fmt::Display for Bot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bot {}", self.0)
    }
}

/// A channel, by its number: the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Channel(pub u32);

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "channel {}", self.0)
    }
}

/// Whether the channels have names that anybody can resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// No name: reachable by id alone.
    Private,
    /// `simchannel1`, `simchannel2` and so on.
    Public,
}

/// Answer to a second `sendMedia` with the same random id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// `RANDOM_ID_DUPLICATE`
    Refuse,
    /// The message that the first one made.
    AnswerFirst,
}

/// Effect of a bot's `deleteMessages` on a post that is too old for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldPosts {
    /// Leaves it, says nothing, and does not count it in `pts_count`.
    Keep,
    /// `MESSAGE_DELETE_FORBIDDEN` for the whole call.
    Refuse,
    /// Deletes it: for a service without the limit.
    Delete,
}

/// Which of the two answers `channels.getMessages` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagesShape {
    /// `messages.channelMessages`, as the service does.
    ChannelMessages,
    /// `messages.messages`, as other servers do.
    Messages,
}

/// Form of transport errors on full streams. The documentation allows both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    /// The number alone, as the service sends it.
    Bare,
    /// The number as the payload of a packet, as other servers do.
    Framed,
}

/// Speed of the simulated network, which can change while the server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Time from the arrival of a call to its answer: the round trip.
    pub latency: Duration,
    /// Bytes a second of one connection, each direction; `None` for as fast as it goes.
    pub lane_bytes_per_s: Option<u64>,
    /// Bytes a second of all connections of one bot together, each direction.
    pub bot_bytes_per_s: Option<u64>,
}

/// A token bucket of posts and edits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// 0 for no limit.
    pub messages_per_minute: f64,
    pub burst: u32,
}

impl Pace {
    /// Without a limit.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            messages_per_minute: 0.0,
            burst: 0,
        }
    }

    /// Twenty a minute in a channel, all twenty at once if need be: what channels were seen to take.
    #[must_use]
    pub const fn of_the_service() -> Self {
        Self {
            messages_per_minute: 20.0,
            burst: 20,
        }
    }
}

/// All that a server is told when it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of data center 2; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Address of data center 4, when there is one.
    pub second_dc: Option<SocketAddr>,
    /// Bots whose home is data center 4.
    pub second_dc_bots: BTreeSet<Bot>,
    pub bots: u32,
    pub channels: u32,
    pub visibility: Visibility,
    pub api_id: i32,
    pub api_hash: String,
    pub shape: Shape,
    /// Of each channel.
    pub pace: Pace,
    /// Of `auth.exportAuthorization`, a bot.
    pub export_pace: Pace,
    pub faults: Faults,
    /// Of the dice that roll the faults.
    pub seed: u64,
    /// Lead of the server's calendar over the machine's. Message ids and salts keep real time.
    pub clock_offset: Duration,
    /// Directory of the state; `None` keeps it in memory.
    pub data: Option<PathBuf>,
    /// Lifetime of a file reference.
    pub reference_lifetime: Duration,
    /// Lifetime of a saved part that waits for its message.
    pub part_lifetime: Duration,
    pub duplicates: Duplicates,
    /// The age from which `old_posts` applies.
    pub delete_within: Duration,
    pub old_posts: OldPosts,
    pub messages_shape: MessagesShape,
    pub status_form: StatusForm,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Default for Options {
    /// One bot in one private channel at a free port of 127.0.0.1, without delays and faults, at the
    /// service's pace, in memory.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            second_dc: None,
            second_dc_bots: BTreeSet::new(),
            bots: 1,
            channels: 1,
            visibility: Visibility::Private,
            api_id: 1_234_567,
            api_hash: "0123456789abcdef0123456789abcdef".to_owned(),
            shape: Shape::default(),
            pace: Pace::of_the_service(),
            export_pace: Pace::unlimited(),
            faults: Faults::default(),
            seed: 1,
            clock_offset: Duration::ZERO,
            data: None,
            reference_lifetime: 24 * HOUR,
            part_lifetime: HOUR,
            duplicates: Duplicates::Refuse,
            delete_within: 48 * HOUR,
            old_posts: OldPosts::Keep,
            messages_shape: MessagesShape::ChannelMessages,
            status_form: StatusForm::Bare,
        }
    }
}
