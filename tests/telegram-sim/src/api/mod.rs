//! The methods: from the bytes of a call to the bytes of its result.

mod auth;
mod channels;
mod files;
mod layer;
mod messages;
mod objects;
mod updates;

use bytes::Bytes;
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable, Serializable, deserialize, functions, name_for_id,
};

use crate::options::Bot;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::world::content::Slice;

pub(crate) use layer::Layer;
pub(crate) use objects::bot_user_id;

/// Answer to a call.
pub(crate) enum Answer {
    Object(Vec<u8>),
    /// An `upload.file` with these bytes, copied when it is sent.
    File(Slice),
}

pub(crate) type Outcome = Result<Answer, Refusal>;

impl From<deserialize::Error> for Refusal {
    fn from(_: deserialize::Error) -> Self {
        Self::bad("INPUT_FETCH_ERROR")
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        eprintln!("telegram-sim: {error:#}");
        Self::internal()
    }
}

fn object(value: &impl Serializable) -> Outcome {
    Ok(Answer::Object(value.to_bytes()))
}

/// Caller of a method.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) dc: i32,
    pub(crate) key_id: i64,
    pub(crate) bot: Option<Bot>,
}

/// A call without the wrappers it came in.
pub(crate) struct Call {
    id: u32,
    /// Without the id.
    arguments: Bytes,
    /// Whether `initConnection` came with it.
    pub(crate) initializes: bool,
    /// The layer, when `invokeWithLayer` came with it.
    pub(crate) layer: Option<Layer>,
}

impl Call {
    /// Unwraps `invokeWithLayer`, `initConnection` and the like, and checks the api id.
    pub(crate) fn unwrap(mut body: Bytes, api_id: i32) -> Result<Self, Refusal> {
        let mut initializes = false;
        let mut layer = None;
        loop {
            let Some(id) = body.first_chunk::<4>() else {
                return Err(Refusal::bad("INPUT_FETCH_ERROR"));
            };
            let id = u32::from_le_bytes(*id);
            let mut cursor = Cursor::from_slice(&body[4..]);
            match id {
                functions::InvokeWithLayer::<functions::Ping>::CONSTRUCTOR_ID => {
                    layer = Some(Layer::asked(i32::deserialize(&mut cursor)?)?);
                }
                functions::InvokeWithoutUpdates::<functions::Ping>::CONSTRUCTOR_ID => {}
                functions::InitConnection::<functions::Ping>::CONSTRUCTOR_ID => {
                    let flags = u32::deserialize(&mut cursor)?;
                    if i32::deserialize(&mut cursor)? != api_id {
                        return Err(Refusal::bad("API_ID_INVALID"));
                    }
                    for _device_system_version_languages in 0..6 {
                        String::deserialize(&mut cursor)?;
                    }
                    // A proxy or parameters: clients that speak to a test server send neither.
                    if flags & 3 != 0 {
                        return Err(Refusal::bad("INPUT_FETCH_ERROR"));
                    }
                    initializes = true;
                }
                _ => {
                    return Ok(Self {
                        id: Layer::newest_method(id),
                        layer,
                        arguments: body.slice(4..),
                        initializes,
                    });
                }
            }
            let inner = 4 + cursor.pos();
            body = body.slice(inner..);
        }
    }

    /// As in the documentation: `upload.getFile`.
    pub(crate) fn method(&self) -> &'static str {
        name_for_id(self.id)
    }

    /// Returns whether the call belongs to the start of a connection.
    pub(crate) fn starts(&self) -> bool {
        matches!(
            self.id,
            functions::help::GetConfig::CONSTRUCTOR_ID
                | functions::auth::ImportBotAuthorization::CONSTRUCTOR_ID
                | functions::auth::ImportAuthorization::CONSTRUCTOR_ID
                | functions::updates::GetState::CONSTRUCTOR_ID
        )
    }

    /// The document that the call reads, when it is one that can be told.
    pub(crate) fn document(&self) -> Option<i64> {
        (self.id == functions::upload::GetFile::CONSTRUCTOR_ID)
            .then(|| files::document_of(&self.arguments))?
    }

    /// The upload that the call makes a message of.
    pub(crate) fn upload(&self) -> Option<i64> {
        (self.id == functions::messages::SendMedia::CONSTRUCTOR_ID)
            .then(|| messages::upload_of(&self.arguments))?
    }

    fn read<T: Deserializable>(&self) -> Result<T, Refusal> {
        Ok(T::deserialize(&mut Cursor::from_slice(&self.arguments))?)
    }

    pub(crate) fn run(&self, caller: Caller<'_>) -> Outcome {
        match self.id {
            functions::help::GetConfig::CONSTRUCTOR_ID => {
                return Ok(Answer::Object(objects::config(caller)));
            }
            functions::auth::ImportBotAuthorization::CONSTRUCTOR_ID => {
                return auth::import_bot(caller, &self.read()?);
            }
            functions::auth::ImportAuthorization::CONSTRUCTOR_ID => {
                return auth::import(caller, &self.read()?);
            }
            _ => {}
        }
        let Some(bot) = caller.bot else {
            return Err(Refusal::unauthorized("AUTH_KEY_UNREGISTERED"));
        };
        if let Some(outcome) = self.run_anywhere(caller, bot) {
            return outcome;
        }
        let home = caller.shared.home_of(bot);
        if caller.dc != home {
            return Err(Refusal::elsewhere("USER", home));
        }
        self.run_at_home(caller, bot)
    }

    /// Handles the calls that every data center takes.
    fn run_anywhere(&self, caller: Caller<'_>, bot: Bot) -> Option<Outcome> {
        Some(match self.id {
            functions::upload::SaveFilePart::CONSTRUCTOR_ID => {
                files::save_part(caller, bot, &self.arguments)
            }
            functions::upload::SaveBigFilePart::CONSTRUCTOR_ID => {
                files::save_big_part(caller, bot, &self.arguments)
            }
            functions::upload::GetFile::CONSTRUCTOR_ID => {
                self.read().and_then(|call| files::get(caller, bot, call))
            }
            functions::updates::GetState::CONSTRUCTOR_ID => updates::state(caller, bot),
            functions::auth::LogOut::CONSTRUCTOR_ID => auth::log_out(caller),
            _ => return None,
        })
    }

    fn run_at_home(&self, caller: Caller<'_>, bot: Bot) -> Outcome {
        match self.id {
            functions::auth::ExportAuthorization::CONSTRUCTOR_ID => {
                auth::export(caller, bot, &self.read()?)
            }
            functions::updates::GetDifference::CONSTRUCTOR_ID => {
                updates::difference(caller, bot, &self.read()?)
            }
            functions::users::GetUsers::CONSTRUCTOR_ID => auth::users(caller, bot, &self.read()?),
            functions::contacts::ResolveUsername::CONSTRUCTOR_ID => {
                channels::resolve_username(caller, bot, &self.read()?)
            }
            functions::channels::GetChannels::CONSTRUCTOR_ID => {
                channels::get(caller, bot, &self.read()?)
            }
            functions::channels::GetFullChannel::CONSTRUCTOR_ID => {
                channels::get_full(caller, bot, &self.read()?)
            }
            functions::channels::GetParticipant::CONSTRUCTOR_ID => {
                channels::get_participant(caller, bot, &self.read()?)
            }
            functions::channels::GetMessages::CONSTRUCTOR_ID => {
                messages::get(caller, bot, &self.read()?)
            }
            functions::channels::DeleteMessages::CONSTRUCTOR_ID => {
                messages::delete(caller, bot, &self.read()?)
            }
            functions::messages::SendMedia::CONSTRUCTOR_ID => {
                messages::send_media(caller, bot, self.read()?)
            }
            functions::messages::SendMessage::CONSTRUCTOR_ID => {
                messages::send_text(caller, bot, self.read()?)
            }
            functions::messages::EditMessage::CONSTRUCTOR_ID => {
                messages::edit(caller, bot, self.read()?)
            }
            functions::messages::UpdatePinnedMessage::CONSTRUCTOR_ID => {
                messages::pin(caller, bot, &self.read()?)
            }
            functions::messages::GetHistory::CONSTRUCTOR_ID
            | functions::messages::Search::CONSTRUCTOR_ID => {
                Err(Refusal::bad("BOT_METHOD_INVALID"))
            }
            id => {
                eprintln!("telegram-sim: no method {} ({id:08x})", name_for_id(id));
                Err(Refusal::bad(format!("INPUT_METHOD_INVALID_{id}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::shared::HOME_DC;

    const METHODS: [u32; 17] = [
        functions::auth::ExportAuthorization::CONSTRUCTOR_ID,
        functions::auth::ImportAuthorization::CONSTRUCTOR_ID,
        functions::auth::ImportBotAuthorization::CONSTRUCTOR_ID,
        functions::channels::DeleteMessages::CONSTRUCTOR_ID,
        functions::channels::GetChannels::CONSTRUCTOR_ID,
        functions::channels::GetFullChannel::CONSTRUCTOR_ID,
        functions::channels::GetMessages::CONSTRUCTOR_ID,
        functions::channels::GetParticipant::CONSTRUCTOR_ID,
        functions::contacts::ResolveUsername::CONSTRUCTOR_ID,
        functions::messages::EditMessage::CONSTRUCTOR_ID,
        functions::messages::SendMedia::CONSTRUCTOR_ID,
        functions::messages::SendMessage::CONSTRUCTOR_ID,
        functions::messages::UpdatePinnedMessage::CONSTRUCTOR_ID,
        functions::updates::GetDifference::CONSTRUCTOR_ID,
        functions::upload::GetFile::CONSTRUCTOR_ID,
        functions::upload::SaveBigFilePart::CONSTRUCTOR_ID,
        functions::upload::SaveFilePart::CONSTRUCTOR_ID,
    ];

    #[test]
    fn odd_arguments_are_refused_and_nothing_breaks() {
        let shared = Shared::new(Options::default()).expect("a server");
        let caller = Caller {
            shared: &shared,
            dc: HOME_DC,
            key_id: 1,
            bot: Some(Bot(1)),
        };
        for method in METHODS {
            for round in 0..300 {
                let mut body = method.to_le_bytes().to_vec();
                let mut noise = vec![0; round % 97];
                getrandom::fill(&mut noise).expect("random bytes");
                body.extend(noise);
                let call = Call::unwrap(body.into(), 1).expect("a call");
                // Parts and numbers of updates may happen to be right.
                let outcome = call.run(caller);
                if !call.method().starts_with("up") {
                    assert!(outcome.is_err(), "{}", call.method());
                }
                assert!(call.document().is_none() && call.upload().is_none());
            }
        }
        for length in 0..8 {
            let wrapped = functions::InvokeWithLayer::<functions::Ping>::CONSTRUCTOR_ID;
            let body = wrapped.to_le_bytes().repeat(2);
            assert!(Call::unwrap(Bytes::from(body).slice(..length), 1).is_err());
        }
    }
}
