//! Names of the errors that methods answer with. Only this file compares their texts.

use std::fmt;

/// Defines [`RpcErrorName`] with the service's text for each variant.
macro_rules! rpc_error_names {
    ($($variant:ident = $text:literal,)*) => {
        /// Name of an error that a method answered with, without the number in it
        /// (<https://core.telegram.org/api/errors>).
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum RpcErrorName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any `FILE_REFERENCE…`: the reference is too old, or was never valid.
            FileReference(String),
            /// Any other `FLOOD…`.
            OtherFlood(String),
            /// A name without any effect here, as the service wrote it.
            Other(String),
        }

        impl RpcErrorName {
            /// Reads a name from which the number has been taken.
            pub fn decode(name: &str) -> Self {
                match name {
                    $($text => Self::$variant,)*
                    _ if name.starts_with("FILE_REFERENCE") => Self::FileReference(name.to_owned()),
                    _ if name.starts_with("FLOOD") => Self::OtherFlood(name.to_owned()),
                    _ => Self::Other(name.to_owned()),
                }
            }

            /// Returns the name as the service writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::FileReference(name) | Self::OtherFlood(name) | Self::Other(name) => name,
                }
            }
        }
    };
}

rpc_error_names! {
    AccessTokenExpired = "ACCESS_TOKEN_EXPIRED",
    AccessTokenInvalid = "ACCESS_TOKEN_INVALID",
    ApiIdInvalid = "API_ID_INVALID",
    ApiIdPublishedFlood = "API_ID_PUBLISHED_FLOOD",
    AuthKeyDuplicated = "AUTH_KEY_DUPLICATED",
    ChannelInvalid = "CHANNEL_INVALID",
    ChannelPrivate = "CHANNEL_PRIVATE",
    ChatAdminRequired = "CHAT_ADMIN_REQUIRED",
    ChatForbidden = "CHAT_FORBIDDEN",
    ChatSendDocsForbidden = "CHAT_SEND_DOCS_FORBIDDEN",
    ChatSendMediaForbidden = "CHAT_SEND_MEDIA_FORBIDDEN",
    ChatWriteForbidden = "CHAT_WRITE_FORBIDDEN",
    FileIdInvalid = "FILE_ID_INVALID",
    FilePartMissing = "FILE_PART_MISSING",
    FloodPremiumWait = "FLOOD_PREMIUM_WAIT",
    FloodTestPhoneWait = "FLOOD_TEST_PHONE_WAIT",
    FloodWait = "FLOOD_WAIT",
    LocationInvalid = "LOCATION_INVALID",
    MessageDeleteForbidden = "MESSAGE_DELETE_FORBIDDEN",
    MessageIdInvalid = "MESSAGE_ID_INVALID",
    MessageNotModified = "MESSAGE_NOT_MODIFIED",
    PeerIdInvalid = "PEER_ID_INVALID",
    RandomIdDuplicate = "RANDOM_ID_DUPLICATE",
    SlowmodeWait = "SLOWMODE_WAIT",
    UserBannedInChannel = "USER_BANNED_IN_CHANNEL",
    UserNotParticipant = "USER_NOT_PARTICIPANT",
    UsernameInvalid = "USERNAME_INVALID",
    UsernameNotOccupied = "USERNAME_NOT_OCCUPIED",
}

impl fmt::Display for RpcErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RpcErrorName {
    /// Returns whether the service names a time to wait.
    pub const fn asks_to_wait(&self) -> bool {
        matches!(
            self,
            Self::FloodWait
                | Self::FloodPremiumWait
                | Self::SlowmodeWait
                | Self::FloodTestPhoneWait
        )
    }

    /// Returns whether the same call may succeed later.
    pub const fn is_passing(&self) -> bool {
        self.asks_to_wait() || matches!(self, Self::OtherFlood(_))
    }

    /// Returns whether the location of a document is out of date.
    pub const fn is_stale_reference(&self) -> bool {
        matches!(
            self,
            Self::FileReference(_) | Self::FileIdInvalid | Self::LocationInvalid
        )
    }

    /// Returns whether the bot may not do this here. Another bot might be allowed to.
    pub const fn is_missing_right(&self) -> bool {
        matches!(
            self,
            Self::ChatAdminRequired
                | Self::ChatWriteForbidden
                | Self::ChannelPrivate
                | Self::ChannelInvalid
                | Self::ChatForbidden
                | Self::UserBannedInChannel
                | Self::MessageDeleteForbidden
                | Self::ChatSendMediaForbidden
                | Self::ChatSendDocsForbidden
                | Self::PeerIdInvalid
                | Self::UserNotParticipant
        )
    }

    /// Returns whether the service does not take the address of a channel: its access hash is out of date, or
    /// the bot is not in the channel any more.
    pub const fn is_refused_address(&self) -> bool {
        matches!(
            self,
            Self::ChannelInvalid | Self::ChannelPrivate | Self::PeerIdInvalid
        )
    }

    /// Returns the meaning of the error and what to do, when the name alone does not say it.
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::AccessTokenInvalid | Self::AccessTokenExpired => {
                "Telegram does not know this token: copy it again from @BotFather"
            }
            Self::ApiIdInvalid | Self::ApiIdPublishedFlood => {
                "TELEGRAM_API_ID and TELEGRAM_API_HASH do not fit: copy both from my.telegram.org"
            }
            Self::ChannelPrivate
            | Self::ChannelInvalid
            | Self::PeerIdInvalid
            | Self::UserNotParticipant => {
                "the bot is not in the channel: add it as an administrator"
            }
            Self::ChatAdminRequired
            | Self::ChatWriteForbidden
            | Self::ChatForbidden
            | Self::UserBannedInChannel
            | Self::ChatSendMediaForbidden
            | Self::ChatSendDocsForbidden
            | Self::MessageDeleteForbidden => {
                "the bot lacks a right in the channel: make it an administrator that may post, edit and delete messages"
            }
            Self::UsernameNotOccupied | Self::UsernameInvalid => {
                "no channel has this name: check CHAT_ID"
            }
            Self::FloodWait | Self::FloodPremiumWait | Self::SlowmodeWait => {
                "Telegram asks to wait"
            }
            Self::AuthKeyDuplicated => {
                "this sign-in is used from another address at the same time; it is made anew"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_the_service_wrote_them() {
        for text in [
            "FLOOD_WAIT",
            "FILE_REFERENCE_EXPIRED",
            "FLOOD_SKIP",
            "NEW_IN_THE_NEXT_LAYER",
        ] {
            assert_eq!(RpcErrorName::decode(text).as_str(), text);
        }
        assert_eq!(
            RpcErrorName::decode("CHANNEL_PRIVATE"),
            RpcErrorName::ChannelPrivate
        );
    }

    #[test]
    fn unknown_names_of_a_known_family_keep_its_meaning() {
        assert!(RpcErrorName::decode("FILE_REFERENCE_EMPTY").is_stale_reference());
        assert!(RpcErrorName::decode("FLOOD_SKIP").is_passing());
        assert!(!RpcErrorName::decode("FLOOD_SKIP").asks_to_wait());
        assert!(!RpcErrorName::decode("API_ID_PUBLISHED_FLOOD").is_passing());
    }
}
