//! Identities. Ids of files, blobs and packs are 128 random bits. They do not depend on a name, a
//! position or a setting, so a rename or a recovery changes none of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Error for text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct ParseIdError;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Returns a new id from the system's random source.
            #[must_use]
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                // The kernel's source fails only before it is seeded at boot. The ids of a library must
                // never collide, so there is nothing sensible to go on with.
                if let Err(error) = getrandom::fill(&mut bytes) {
                    panic!("the system has no random numbers: {error}");
                }
                Self(bytes)
            }
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self).ok_or(ParseIdError)
            }
        }
    };
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

random_id!(
    /// Id of a file or directory, which renames and new versions keep.
    EntryId
);
random_id!(
    /// Id of an immutable byte string: the content of a file, or bytes derived at ingest.
    BlobId
);
random_id!(
    /// Id of an object in the remote.
    PackId
);
random_id!(
    /// Id of a library: its tree, its packs and its log.
    LibraryId
);
random_id!(
    /// Id of one run of a daemon. A manifest by another writer reveals a second daemon.
    WriterId
);

impl EntryId {
    /// The root directory, the same in each library.
    pub const ROOT: Self = Self([0; 16]);
}

/// Inode number, as the kernel and media libraries see it. Manifests hold it, so that a recovery
/// keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory (fixed by the FUSE protocol).
    pub const ROOT: Self = Self(1);
    /// Bit that is set in the numbers of computed files and directories: views, sidecars, `/.hls` and
    /// the directories in it.
    pub const VIRTUAL_BIT: u64 = 1 << 62;

    /// Returns whether the number belongs to a computed file or directory.
    #[must_use]
    pub const fn is_virtual(self) -> bool {
        self.0 & Self::VIRTUAL_BIT != 0
    }
}

/// Position of a change in the library's history; the highest one of an entry counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Offset that the Bot API adds to a channel's id before it negates it.
const BOT_API_OFFSET: i64 = 1_000_000_000_000;

/// A Telegram channel's own id, without the `-100` of the Bot API. It is displayed with `-100`, as people
/// write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(i64);

impl ChannelId {
    /// Wraps the bare id.
    #[must_use]
    pub const fn new(bare: i64) -> Self {
        Self(bare)
    }

    /// Returns the bare id.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads either form: `-1001234567890` and `1234567890` are the same channel.
    #[must_use]
    pub fn from_chat_id(text: &str) -> Option<Self> {
        let number: i64 = text.parse().ok()?;
        let bare = if number < -BOT_API_OFFSET {
            number.checked_neg()?.checked_sub(BOT_API_OFFSET)?
        } else {
            number
        };
        (bare > 0).then_some(Self(bare))
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The same spelling as in settings, for ids of any length. A stored id may be any number.
        let dialog = i128::from(self.0) + i128::from(BOT_API_OFFSET);
        write!(f, "-{dialog}")
    }
}

/// The number of a message within its Telegram channel. Later messages have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(i32);

impl MessageId {
    /// A number below that of every message.
    pub const ZERO: Self = Self(0);
    /// The number of a channel's first message.
    pub const FIRST: Self = Self(1);

    /// Wraps the number.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Wraps a number of which 0 means that there is no message.
    #[must_use]
    pub fn from_stored(number: i32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// Returns the next number.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Telegram bot's id: the public half of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BotId(i64);

impl BotId {
    /// Wraps the id.
    #[must_use]
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// Returns the id.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for BotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = EntryId::random();
        assert_eq!(id.to_string().parse::<EntryId>(), Ok(id));
        assert_eq!("xyz".parse::<EntryId>(), Err(ParseIdError));
        assert_eq!(
            "zz000000000000000000000000000000".parse::<EntryId>(),
            Err(ParseIdError)
        );
    }

    #[test]
    fn channel_ids_come_in_two_forms() {
        let channel = Some(ChannelId::new(1_234_567_890));
        assert_eq!(ChannelId::from_chat_id("-1001234567890"), channel);
        assert_eq!(ChannelId::from_chat_id("1234567890"), channel);
        assert_eq!(ChannelId::from_chat_id("-5"), None);
        assert_eq!(ChannelId::from_chat_id("@name"), None);
        assert_eq!(ChannelId::new(1_234_567_890).to_string(), "-1001234567890");
        for bare in [
            1,
            5,
            987_654_321,
            1_234_567_890,
            12_345_678_901,
            i64::MAX >> 1,
        ] {
            let channel = ChannelId::new(bare);
            let printed = channel.to_string();
            assert_eq!(
                ChannelId::from_chat_id(&printed),
                Some(channel),
                "{printed}"
            );
        }
        assert_eq!(ChannelId::from_chat_id(&i64::MIN.to_string()), None);
    }
}
