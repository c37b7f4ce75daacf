//! Layers of the schema that clients speak. Objects are made in the newest one; in an older one some have
//! other names, and the fields that are used here lie at the same places.

use grammers_tl_types::{Identifiable, LAYER, functions, types};

use crate::refusal::Refusal;

/// The oldest layer that is known.
const OLDEST: i32 = 224;
/// Names of objects in the newest layer, and in [`OLDEST`].
const OBJECTS: [(u32, u32); 4] = [
    (types::User::CONSTRUCTOR_ID, 0x3177_4388),
    (types::Channel::CONSTRUCTOR_ID, 0x1c32_b11c),
    (types::Message::CONSTRUCTOR_ID, 0x3ae5_6482),
    (types::ChannelFull::CONSTRUCTOR_ID, 0xe4e0_b29d),
];
/// Names of methods likewise. Their newer flags are not set in an older call.
const METHODS: [(u32, u32); 2] = [
    (
        functions::messages::SendMessage::CONSTRUCTOR_ID,
        0x545c_d15a,
    ),
    (
        functions::messages::EditMessage::CONSTRUCTOR_ID,
        0x51e8_42e1,
    ),
];

/// The layer of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The newest one, or the one before it, which has the same names for all that is used here.
    #[default]
    Newest,
    Oldest,
}

impl Layer {
    /// Reads the number in `invokeWithLayer`.
    ///
    /// # Errors
    /// `CONNECTION_LAYER_INVALID` for a layer whose names are not known here.
    pub(crate) fn asked(number: i32) -> Result<Self, Refusal> {
        match number {
            OLDEST => Ok(Self::Oldest),
            number if number == LAYER || number == LAYER - 1 => Ok(Self::Newest),
            _ => Err(Refusal::bad("CONNECTION_LAYER_INVALID")),
        }
    }

    /// Returns the name of a method in the newest layer.
    pub(super) fn newest_method(id: u32) -> u32 {
        let known = METHODS.iter().find(|(_, older)| *older == id);
        known.map_or(id, |(newest, _)| *newest)
    }

    /// Renames the objects in an answer for this layer. Names stand at word borders; that a number or a text
    /// looks like one of four names is next to impossible.
    pub(crate) fn rename(self, answer: &mut [u8]) {
        if self == Self::Newest {
            return;
        }
        for word in answer.chunks_exact_mut(4) {
            let known = OBJECTS
                .iter()
                .find(|(newest, _)| newest.to_le_bytes() == *word);
            if let Some((_, older)) = known {
                word.copy_from_slice(&older.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_client_gets_older_names() {
        let mut answer = types::User::CONSTRUCTOR_ID.to_le_bytes().to_vec();
        answer.extend(7_u32.to_le_bytes());
        Layer::Newest.rename(&mut answer);
        assert_eq!(answer[..4], types::User::CONSTRUCTOR_ID.to_le_bytes());
        Layer::Oldest.rename(&mut answer);
        assert_eq!(answer[..4], 0x3177_4388_u32.to_le_bytes());
        assert_eq!(answer[4..], 7_u32.to_le_bytes());
        assert!(Layer::asked(1).is_err());
        assert_eq!(Layer::asked(LAYER).ok(), Some(Layer::Newest));
    }
}
