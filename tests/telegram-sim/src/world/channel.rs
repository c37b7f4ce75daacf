//! A channel: posts under counted ids, members, pins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::event::{Author, Date};
use crate::options::{Bot, Channel, Pace};

/// Right of an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    Post,
    /// Edit what others posted; in a channel it also takes this one to pin.
    Edit,
    /// Delete what others posted.
    Delete,
    Pin,
}

impl Right {
    pub(crate) const ALL: [Self; 4] = [Self::Post, Self::Edit, Self::Delete, Self::Pin];
}

/// Kind of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PostKind {
    Message,
    /// The first post of each channel.
    ChannelCreated,
    /// "pinned a message"
    PinNotice {
        pinned: i32,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) id: i32,
    pub(crate) date: Date,
    pub(crate) edited: Option<Date>,
    pub(crate) author: Author,
    pub(crate) kind: PostKind,
    pub(crate) text: String,
    pub(crate) document: Option<i64>,
}

/// A bot's membership; all bots of a channel are administrators.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) since: Date,
    pub(crate) rights: BTreeSet<Right>,
}

pub(crate) struct ChannelState {
    pub(crate) number: Channel,
    pub(crate) posts: BTreeMap<i32, Post>,
    /// The highest id that was ever given away.
    pub(crate) last_id: i32,
    /// Grows by one with each change.
    pub(crate) pts: i32,
    /// The newest last.
    pub(crate) pins: Vec<i32>,
    pub(crate) members: HashMap<Bot, Membership>,
    /// Which message a random id made.
    pub(crate) sent: HashMap<(Bot, i64), i32>,
    pub(crate) allowance: Allowance,
}

/// The id of a simulated channel without the -100 that bots see before it.
const FIRST_CHANNEL_ID: i64 = 2_000_000_000;

impl ChannelState {
    pub(crate) fn new(number: Channel, created: Date) -> Self {
        let first = Post {
            id: 1,
            date: created,
            edited: None,
            author: Author::Stranger,
            kind: PostKind::ChannelCreated,
            text: String::new(),
            document: None,
        };
        Self {
            number,
            posts: BTreeMap::from([(1, first)]),
            last_id: 1,
            pts: 1,
            pins: Vec::new(),
            members: HashMap::new(),
            sent: HashMap::new(),
            allowance: Allowance::default(),
        }
    }

    /// The id in the API's words.
    pub(crate) fn id_of(number: Channel) -> i64 {
        FIRST_CHANNEL_ID + i64::from(number.0)
    }

    pub(crate) fn number_of(id: i64) -> Option<Channel> {
        let number = id.checked_sub(FIRST_CHANNEL_ID)?;
        u32::try_from(number).ok().map(Channel)
    }

    /// The id as bots write it: -100 and the id.
    pub(crate) fn chat_id_of(number: Channel) -> i64 {
        -1_000_000_000_000 - Self::id_of(number)
    }

    pub(crate) fn username_of(number: Channel) -> String {
        format!("simchannel{}", number.0)
    }

    pub(crate) fn has(&self, bot: Bot, right: Right) -> bool {
        self.members
            .get(&bot)
            .is_some_and(|member| member.rights.contains(&right))
    }

    /// The newest pinned post.
    pub(crate) fn pinned(&self) -> Option<i32> {
        self.pins.last().copied()
    }
}

/// The token bucket of posts and edits. It starts full.
#[derive(Default)]
pub(crate) struct Allowance {
    used: f64,
    counted: Option<Instant>,
}

impl Allowance {
    /// Takes one message, or tells how many seconds to wait for the next.
    pub(crate) fn take(&mut self, pace: Pace) -> Result<(), u64> {
        if pace.messages_per_minute <= 0.0 {
            return Ok(());
        }
        let per_second = pace.messages_per_minute / 60.0;
        let now = Instant::now();
        if let Some(counted) = self.counted {
            let grown = now.duration_since(counted).as_secs_f64() * per_second;
            self.used = (self.used - grown).max(0.0);
        }
        self.counted = Some(now);
        let over = self.used + 1.0 - f64::from(pace.burst.max(1));
        if over > 0.0 {
            return Err(((over / per_second).ceil() as u64).max(1));
        }
        self.used += 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_wait_is_told() {
        let pace = Pace {
            messages_per_minute: 20.0,
            burst: 5,
        };
        let mut allowance = Allowance::default();
        for _ in 0..5 {
            assert_eq!(allowance.take(pace), Ok(()));
        }
        assert_eq!(allowance.take(pace), Err(3));
        assert_eq!(allowance.take(Pace::unlimited()), Ok(()));
    }
}
