//! Posts: made, edited, pinned, read by id, deleted.

use std::time::Duration;

use grammers_tl_types::{Deserializable, Serializable, enums, functions, types};

use super::channels::{reach_input, reach_peer};
use super::objects::{channel, message};
use super::{Caller, Outcome, object};
use crate::options::{Bot, Channel, Duplicates, MessagesShape, OldPosts};
use crate::refusal::Refusal;
use crate::world::World;
use crate::world::access::{self, Standing};
use crate::world::channel::{ChannelState, Post, PostKind, Right};
use crate::world::event::{Author, DocumentRecord, Event};

/// UTF-16 units of a caption.
const MAX_CAPTION: usize = 1024;
/// UTF-16 units of a message without a document.
const MAX_TEXT: usize = 4096;
/// Ids in one call.
const MAX_IDS: usize = 100;

fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A document that a call brings: checked, not yet taken.
enum Brought {
    Upload {
        file_id: i64,
        mime_type: String,
        attributes: Vec<u8>,
    },
    /// One that another post has.
    Known(DocumentRecord),
}

impl Brought {
    fn check(
        caller: Caller<'_>,
        world: &mut World,
        bot: Bot,
        media: enums::InputMedia,
    ) -> Result<Self, Refusal> {
        match media {
            enums::InputMedia::UploadedDocument(media) => {
                let (file_id, parts, is_big, name) = match media.file {
                    enums::InputFile::File(file) => (file.id, file.parts, false, file.name),
                    enums::InputFile::Big(file) => (file.id, file.parts, true, file.name),
                    _ => return Err(Refusal::bad("MEDIA_INVALID")),
                };
                world.uploads()?.check((bot, file_id), parts, is_big)?;
                Ok(Self::Upload {
                    file_id,
                    mime_type: media.mime_type,
                    attributes: with_name(media.attributes, name).to_bytes(),
                })
            }
            enums::InputMedia::Document(media) => {
                let enums::InputDocument::Document(input) = media.id else {
                    return Err(Refusal::bad("MEDIA_EMPTY"));
                };
                let standing = access::standing(
                    &input.file_reference,
                    bot,
                    input.id,
                    world.reference_generation(bot, input.id),
                    caller.shared.options.reference_lifetime,
                );
                if standing != Standing::Live {
                    return Err(Refusal::bad("FILE_REFERENCE_EXPIRED"));
                }
                world
                    .document(input.id)
                    .filter(|_| input.access_hash == access::document_hash(bot, input.id))
                    .map(|document| Self::Known(document.record.clone()))
                    .ok_or_else(|| Refusal::bad("MEDIA_EMPTY"))
            }
            _ => Err(Refusal::bad("MEDIA_INVALID")),
        }
    }

    fn take(
        self,
        caller: Caller<'_>,
        world: &mut World,
        bot: Bot,
    ) -> Result<DocumentRecord, Refusal> {
        match self {
            Self::Upload {
                file_id,
                mime_type,
                attributes,
            } => {
                let dc = caller.shared.home_of(bot);
                Ok(world.finish_upload((bot, file_id), dc, mime_type, attributes)?)
            }
            Self::Known(record) => Ok(record),
        }
    }
}

/// The service names a document after its file when the client did not.
fn with_name(
    mut attributes: Vec<enums::DocumentAttribute>,
    name: String,
) -> Vec<enums::DocumentAttribute> {
    let is_named = attributes
        .iter()
        .any(|attribute| matches!(attribute, enums::DocumentAttribute::Filename(_)));
    if !is_named {
        attributes.push(types::DocumentAttributeFilename { file_name: name }.into());
    }
    attributes
}

/// The upload that `messages.sendMedia` makes a message of.
pub(super) fn upload_of(arguments: &[u8]) -> Option<i64> {
    let call = functions::messages::SendMedia::from_bytes(arguments).ok()?;
    match call.media {
        enums::InputMedia::UploadedDocument(media) => match media.file {
            enums::InputFile::File(file) => Some(file.id),
            enums::InputFile::Big(file) => Some(file.id),
            _ => None,
        },
        _ => None,
    }
}

/// The channel, if the bot may post there.
fn post_to(world: &World, bot: Bot, peer: &enums::InputPeer) -> Result<Channel, Refusal> {
    let state = reach_peer(world, bot, peer)?;
    let has_none = state
        .members
        .get(&bot)
        .is_none_or(|member| member.rights.is_empty());
    if has_none {
        return Err(Refusal::forbidden("CHAT_WRITE_FORBIDDEN"));
    }
    if !state.has(bot, Right::Post) {
        return Err(Refusal::bad("CHAT_ADMIN_REQUIRED"));
    }
    Ok(state.number)
}

fn take_turn(caller: Caller<'_>, world: &mut World, channel: Channel) -> Result<(), Refusal> {
    world
        .take_turn(channel, caller.shared.controls.pace())?
        .map_err(|seconds| Refusal::wait("FLOOD_WAIT", seconds))
}

/// Returns the answer to a random id that was used before.
fn duplicate(
    caller: Caller<'_>,
    world: &World,
    channel: Channel,
    bot: Bot,
    random_id: i64,
) -> Result<Option<i32>, Refusal> {
    if random_id == 0 {
        return Err(Refusal::bad("RANDOM_ID_EMPTY"));
    }
    let state = world.channel(channel)?;
    match (
        state.sent.get(&(bot, random_id)),
        caller.shared.options.duplicates,
    ) {
        (None, _) => Ok(None),
        (Some(id), Duplicates::AnswerFirst) if state.posts.contains_key(id) => Ok(Some(*id)),
        _ => Err(Refusal::bad("RANDOM_ID_DUPLICATE")),
    }
}

fn updates(caller: Caller<'_>, updates: Vec<enums::Update>, chats: Vec<enums::Chat>) -> Outcome {
    object(&enums::Updates::Updates(types::Updates {
        updates,
        users: Vec::new(),
        chats,
        date: caller.shared.now(),
        seq: 0,
    }))
}

fn posted(
    caller: Caller<'_>,
    world: &World,
    at: (Channel, i32),
    bot: Bot,
    random_id: i64,
) -> Outcome {
    let (number, id) = at;
    let state = world.channel(number)?;
    let post = state
        .posts
        .get(&id)
        .ok_or_else(|| Refusal::bad("MESSAGE_ID_INVALID"))?;
    let new = types::UpdateNewChannelMessage {
        message: message(world, state, post, bot)?,
        pts: state.pts,
        pts_count: 1,
    };
    updates(
        caller,
        vec![types::UpdateMessageId { id, random_id }.into(), new.into()],
        vec![channel(caller, state, bot)?],
    )
}

/// `messages.sendMedia`
pub(super) fn send_media(
    caller: Caller<'_>,
    bot: Bot,
    call: functions::messages::SendMedia,
) -> Outcome {
    let mut world = caller.shared.world();
    let channel = post_to(&world, bot, &call.peer)?;
    if utf16_len(&call.message) > MAX_CAPTION {
        return Err(Refusal::bad("MEDIA_CAPTION_TOO_LONG"));
    }
    if let Some(first) = duplicate(caller, &world, channel, bot, call.random_id)? {
        return posted(caller, &world, (channel, first), bot, call.random_id);
    }
    let brought = Brought::check(caller, &mut world, bot, call.media)?;
    take_turn(caller, &mut world, channel)?;
    let document = brought.take(caller, &mut world, bot)?;
    let id = world.channel(channel)?.last_id + 1;
    world.record(Event::Posted {
        channel,
        id,
        date: caller.shared.now(),
        author: Author::Bot(bot),
        random_id: call.random_id,
        text: call.message,
        document: Some(document),
    })?;
    posted(caller, &world, (channel, id), bot, call.random_id)
}

/// `messages.sendMessage`
pub(super) fn send_text(
    caller: Caller<'_>,
    bot: Bot,
    call: functions::messages::SendMessage,
) -> Outcome {
    let mut world = caller.shared.world();
    let channel = post_to(&world, bot, &call.peer)?;
    if call.message.is_empty() {
        return Err(Refusal::bad("MESSAGE_EMPTY"));
    }
    if utf16_len(&call.message) > MAX_TEXT {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    if let Some(first) = duplicate(caller, &world, channel, bot, call.random_id)? {
        return posted(caller, &world, (channel, first), bot, call.random_id);
    }
    take_turn(caller, &mut world, channel)?;
    let id = world.channel(channel)?.last_id + 1;
    world.record(Event::Posted {
        channel,
        id,
        date: caller.shared.now(),
        author: Author::Bot(bot),
        random_id: call.random_id,
        text: call.message,
        document: None,
    })?;
    posted(caller, &world, (channel, id), bot, call.random_id)
}

/// A post that is no service message.
fn editable(state: &ChannelState, id: i32) -> Result<&Post, Refusal> {
    state
        .posts
        .get(&id)
        .filter(|post| post.kind == PostKind::Message)
        .ok_or_else(|| Refusal::bad("MESSAGE_ID_INVALID"))
}

/// `messages.editMessage`: administrators of a channel may edit at any time.
pub(super) fn edit(
    caller: Caller<'_>,
    bot: Bot,
    call: functions::messages::EditMessage,
) -> Outcome {
    let mut world = caller.shared.world();
    let state = reach_peer(&world, bot, &call.peer)?;
    let post = editable(state, call.id)?;
    let is_own = post.author == Author::Bot(bot);
    let may = state.has(bot, Right::Edit) || (is_own && state.has(bot, Right::Post));
    if !may {
        return Err(Refusal::bad("CHAT_ADMIN_REQUIRED"));
    }
    let has_media = call.media.is_some() || post.document.is_some();
    let length = call.message.as_deref().map_or(0, utf16_len);
    if length > if has_media { MAX_CAPTION } else { MAX_TEXT } {
        return Err(Refusal::bad(if has_media {
            "MEDIA_CAPTION_TOO_LONG"
        } else {
            "MESSAGE_TOO_LONG"
        }));
    }
    let is_same = call.message.as_ref().is_none_or(|text| *text == post.text);
    if call.media.is_none() && is_same {
        return Err(Refusal::bad("MESSAGE_NOT_MODIFIED"));
    }
    let number = state.number;
    let brought = call
        .media
        .map(|media| Brought::check(caller, &mut world, bot, media))
        .transpose()?;
    take_turn(caller, &mut world, number)?;
    let document = brought
        .map(|brought| brought.take(caller, &mut world, bot))
        .transpose()?;
    world.record(Event::Edited {
        channel: number,
        id: call.id,
        date: caller.shared.now(),
        text: call.message,
        document,
    })?;
    let state = world.channel(number)?;
    let update = types::UpdateEditChannelMessage {
        message: message(&world, state, editable(state, call.id)?, bot)?,
        pts: state.pts,
        pts_count: 1,
    };
    updates(
        caller,
        vec![update.into()],
        vec![channel(caller, state, bot)?],
    )
}

/// `messages.updatePinnedMessage`
pub(super) fn pin(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::messages::UpdatePinnedMessage,
) -> Outcome {
    let mut world = caller.shared.world();
    let state = reach_peer(&world, bot, &call.peer)?;
    let number = state.number;
    if !state.has(bot, Right::Edit) || !state.has(bot, Right::Pin) {
        return Err(Refusal::bad("CHAT_ADMIN_REQUIRED"));
    }
    editable(state, call.id)?;
    let is_pinned = state.pins.contains(&call.id);
    let is_as_wanted = if call.unpin {
        !is_pinned
    } else {
        state.pinned() == Some(call.id)
    };
    if is_as_wanted {
        return Err(Refusal::bad("CHAT_NOT_MODIFIED"));
    }
    let notice = state.last_id + 1;
    world.record(if call.unpin {
        Event::Unpinned {
            channel: number,
            id: call.id,
        }
    } else {
        Event::Pinned {
            channel: number,
            id: call.id,
            date: caller.shared.now(),
            author: Author::Bot(bot),
            notice,
        }
    })?;
    let state = world.channel(number)?;
    let mut all = vec![
        types::UpdatePinnedChannelMessages {
            pinned: !call.unpin,
            channel_id: ChannelState::id_of(number),
            messages: vec![call.id],
            pts: state.pts,
            pts_count: 1,
        }
        .into(),
    ];
    if let Some(post) = state.posts.get(&notice).filter(|_| !call.unpin) {
        let new = types::UpdateNewChannelMessage {
            message: message(&world, state, post, bot)?,
            pts: state.pts,
            pts_count: 1,
        };
        all.push(new.into());
    }
    updates(caller, all, vec![channel(caller, state, bot)?])
}

/// `channels.getMessages`
pub(super) fn get(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::channels::GetMessages,
) -> Outcome {
    let world = caller.shared.world();
    let state = reach_input(&world, bot, &call.channel)?;
    if call.id.is_empty() {
        return Err(Refusal::bad("MESSAGE_IDS_EMPTY"));
    }
    if call.id.len() > MAX_IDS {
        return Err(Refusal::bad("LIMIT_INVALID"));
    }
    let mut messages = Vec::with_capacity(call.id.len());
    for wanted in &call.id {
        let id = match wanted {
            enums::InputMessage::Id(wanted) => Some(wanted.id),
            enums::InputMessage::Pinned => state.pinned(),
            _ => None,
        };
        let post = id.and_then(|id| state.posts.get(&id));
        messages.push(match post {
            Some(post) => message(&world, state, post, bot)?,
            None => types::MessageEmpty {
                id: id.unwrap_or_default(),
                peer_id: None,
            }
            .into(),
        });
    }
    let chats = vec![channel(caller, state, bot)?];
    object(&match caller.shared.options.messages_shape {
        MessagesShape::ChannelMessages => {
            enums::messages::Messages::ChannelMessages(types::messages::ChannelMessages {
                inexact: false,
                pts: state.pts,
                count: i32::try_from(messages.len()).unwrap_or(i32::MAX),
                offset_id_offset: None,
                messages,
                topics: Vec::new(),
                chats,
                users: Vec::new(),
            })
        }
        MessagesShape::Messages => enums::messages::Messages::Messages(types::messages::Messages {
            messages,
            topics: Vec::new(),
            chats,
            users: Vec::new(),
        }),
    })
}

/// `channels.deleteMessages`
pub(super) fn delete(
    caller: Caller<'_>,
    bot: Bot,
    call: &functions::channels::DeleteMessages,
) -> Outcome {
    let mut world = caller.shared.world();
    let state = reach_input(&world, bot, &call.channel)?;
    if call.id.len() > MAX_IDS {
        return Err(Refusal::bad("LIMIT_INVALID"));
    }
    let number = state.number;
    let options = &caller.shared.options;
    let now = caller.shared.now();
    let mut going = Vec::new();
    for post in call.id.iter().filter_map(|id| state.posts.get(id)) {
        let is_own = post.author == Author::Bot(bot) && state.has(bot, Right::Post);
        if !is_own && !state.has(bot, Right::Delete) {
            return Err(Refusal::forbidden("MESSAGE_DELETE_FORBIDDEN"));
        }
        let age = Duration::from_secs(u64::try_from(now.saturating_sub(post.date)).unwrap_or(0));
        match options.old_posts {
            OldPosts::Keep if age >= options.delete_within => {}
            OldPosts::Refuse if age >= options.delete_within => {
                return Err(Refusal::forbidden("MESSAGE_DELETE_FORBIDDEN"));
            }
            _ if going.contains(&post.id) => {}
            _ => going.push(post.id),
        }
    }
    let count = i32::try_from(going.len()).unwrap_or(i32::MAX);
    if count > 0 {
        world.record(Event::Deleted {
            channel: number,
            ids: going,
        })?;
    }
    object(&enums::messages::AffectedMessages::Messages(
        types::messages::AffectedMessages {
            pts: world.channel(number)?.pts,
            pts_count: count,
        },
    ))
}
