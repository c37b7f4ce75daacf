//! The methods: from the bytes of a call to the bytes of its result.

mod auth;
mod channels;
mod files;
mod messages;
mod objects;

use bytes::Bytes;
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable, Serializable, deserialize, functions, name_for_id,
};

use crate::options::Bot;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::world::content::Slice;

pub(crate) use objects::bot_user_id;

/// What a call is answered with.
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

/// Who calls, from where.
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
}

impl Call {
    /// Unwraps `invokeWithLayer`, `initConnection` and the like, and checks the api id.
    pub(crate) fn unwrap(mut body: Bytes, api_id: i32) -> Result<Self, Refusal> {
        let mut initializes = false;
        loop {
            let Some(id) = body.first_chunk::<4>() else {
                return Err(Refusal::bad("INPUT_FETCH_ERROR"));
            };
            let id = u32::from_le_bytes(*id);
            let mut cursor = Cursor::from_slice(&body[4..]);
            match id {
                functions::InvokeWithLayer::<functions::Ping>::CONSTRUCTOR_ID => {
                    i32::deserialize(&mut cursor)?;
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
                        id,
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

    /// Whether it belongs to the start of a connection.
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

    /// What every data center does for an account.
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
            functions::updates::GetState::CONSTRUCTOR_ID => auth::state(caller, bot),
            functions::auth::LogOut::CONSTRUCTOR_ID => auth::log_out(caller),
            _ => return None,
        })
    }

    fn run_at_home(&self, caller: Caller<'_>, bot: Bot) -> Outcome {
        match self.id {
            functions::auth::ExportAuthorization::CONSTRUCTOR_ID => {
                auth::export(caller, bot, &self.read()?)
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
