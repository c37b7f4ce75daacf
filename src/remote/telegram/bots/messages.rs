//! Messages of a channel. Each function sends, reads, changes or deletes them with calls of one bot.

use grammers_tl_types::{Serializable, enums, functions, types};

use super::bot::BotClient;
use crate::model::{ChannelId, MessageId};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;

/// Most ids in one call (`channels.getMessages`, `channels.deleteMessages`).
pub const IDS_AT_ONCE: usize = 100;
/// Most characters of a caption (<https://core.telegram.org/api/config>, `caption_length_limit_default`).
pub const CAPTION_LIMIT: usize = 1024;

/// Channel as one bot addresses it. The access hash is the bot's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelPeer {
    /// The channel.
    pub channel: ChannelId,
    /// Access hash of the bot for it.
    pub hash: i64,
}

impl ChannelPeer {
    fn input_peer(self) -> enums::InputPeer {
        types::InputPeerChannel {
            channel_id: self.channel.get(),
            access_hash: self.hash,
        }
        .into()
    }
    /// Returns the channel as calls name it.
    pub fn input_channel(self) -> enums::InputChannel {
        types::InputChannel {
            channel_id: self.channel.get(),
            access_hash: self.hash,
        }
        .into()
    }
}

/// Message in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMessage {
    /// Number within the channel.
    pub id: MessageId,
    /// Seconds since 1970.
    pub date: i32,
    /// Text, or caption of the document.
    pub text: String,
    /// Its document, if it has one.
    pub document: Option<Document>,
}

/// Document of a message as one bot may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Id of the document, the same for every bot.
    pub id: i64,
    /// Access hash for this bot, valid for a while.
    pub access_hash: i64,
    /// File reference for this bot, valid for a while.
    pub reference: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Data centre that holds the bytes.
    pub dc: i32,
    /// File name.
    pub name: String,
    /// Media type as its sender gave it.
    pub mime: String,
}

/// File whose parts are uploaded, to be sent or to replace another one.
#[derive(Debug, Clone)]
pub struct UploadedFile {
    /// The file as calls name it.
    pub file: enums::InputFile,
    /// File name.
    pub name: String,
}

impl UploadedFile {
    fn media(&self) -> enums::InputMedia {
        types::InputMediaUploadedDocument {
            nosound_video: false,
            // Otherwise the service may make a video of it, with other bytes.
            force_file: true,
            spoiler: false,
            file: self.file.clone(),
            thumb: None,
            mime_type: "application/octet-stream".into(),
            attributes: vec![
                types::DocumentAttributeFilename {
                    file_name: self.name.clone(),
                }
                .into(),
            ],
            stickers: None,
            video_cover: None,
            video_timestamp: None,
            ttl_seconds: None,
        }
        .into()
    }
}

/// Posts a document (`messages.sendMedia`). When the same bot repeats a `random_id`, the service makes no
/// second message.
///
/// # Errors
/// See [`BotClient::call`].
pub async fn send_document(
    bot: &BotClient,
    peer: ChannelPeer,
    uploaded: &UploadedFile,
    caption: &str,
    random_id: i64,
) -> Result<ChannelMessage, CallError> {
    let request = functions::messages::SendMedia {
        silent: true,
        background: false,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer: peer.input_peer(),
        reply_to: None,
        media: uploaded.media(),
        message: caption.to_owned(),
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
    };
    let updates = bot.post(&request).await?;
    sent(bot, peer, updates, random_id).await
}

/// Posts a text (`messages.sendMessage`).
///
/// # Errors
/// See [`BotClient::call`].
pub async fn send_text(
    bot: &BotClient,
    peer: ChannelPeer,
    text: &str,
    random_id: i64,
) -> Result<ChannelMessage, CallError> {
    let request = functions::messages::SendMessage {
        no_webpage: true,
        silent: true,
        background: false,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer: peer.input_peer(),
        reply_to: None,
        message: text.to_owned(),
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
        rich_message: None,
    };
    let updates = bot.post(&request).await?;
    sent(bot, peer, updates, random_id).await
}

/// Returns the new message of an answer. Reads it by its number when the answer holds only that.
async fn sent(
    bot: &BotClient,
    peer: ChannelPeer,
    updates: enums::Updates,
    random_id: i64,
) -> Result<ChannelMessage, CallError> {
    let id = match posted(updates, random_id) {
        Some(Posted::Message(post)) => return Ok(post),
        Some(Posted::Number(id)) => id,
        None => {
            return Err(CallError::Unexpected(
                "the answer does not name the new message".into(),
            ));
        }
    };
    get(bot, peer, &[id])
        .await?
        .pop()
        .flatten()
        .ok_or_else(|| CallError::Unexpected("the new message is not there".into()))
}

/// New message as the answer names it.
pub enum Posted {
    /// The message itself.
    Message(ChannelMessage),
    /// Its number alone.
    Number(MessageId),
}

/// Returns the new message in the answer to a post with this `random_id`.
pub fn posted(updates: enums::Updates, random_id: i64) -> Option<Posted> {
    let list = match updates {
        enums::Updates::Updates(updates) => updates.updates,
        enums::Updates::Combined(updates) => updates.updates,
        enums::Updates::UpdateShort(update) => vec![update.update],
        _ => Vec::new(),
    };
    let mut number = None;
    for update in list {
        match update {
            enums::Update::NewChannelMessage(update) => {
                if let Some(post) = ChannelMessage::from_message(update.message) {
                    return Some(Posted::Message(post));
                }
            }
            enums::Update::MessageId(update) if update.random_id == random_id && update.id > 0 => {
                number = Some(Posted::Number(MessageId::new(update.id)));
            }
            _ => {}
        }
    }
    number
}

/// Changes a message (`messages.editMessage`): its text, or its document and caption.
///
/// # Errors
/// See [`BotClient::call`].
pub async fn edit(
    bot: &BotClient,
    peer: ChannelPeer,
    id: MessageId,
    text: &str,
    document: Option<&UploadedFile>,
) -> Result<(), CallError> {
    let request = functions::messages::EditMessage {
        no_webpage: true,
        invert_media: false,
        peer: peer.input_peer(),
        id: id.get(),
        message: Some(text.to_owned()),
        media: document.map(UploadedFile::media),
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        quick_reply_shortcut_id: None,
        rich_message: None,
    };
    match bot.post(&request).await {
        Err(error) if error.is(&RpcErrorName::MessageNotModified) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Pins a message (`messages.updatePinnedMessage`).
///
/// # Errors
/// See [`BotClient::call`].
pub async fn pin(bot: &BotClient, peer: ChannelPeer, id: MessageId) -> Result<(), CallError> {
    let request = functions::messages::UpdatePinnedMessage {
        silent: true,
        unpin: false,
        pm_oneside: false,
        peer: peer.input_peer(),
        id: id.get(),
    };
    bot.post(&request).await.map(drop)
}

/// Reads messages (`channels.getMessages`), in the order of `ids` (at most [`IDS_AT_ONCE`]); `None` for a
/// message that does not exist.
///
/// # Errors
/// See [`BotClient::call`].
pub async fn get(
    bot: &BotClient,
    peer: ChannelPeer,
    ids: &[MessageId],
) -> Result<Vec<Option<ChannelMessage>>, CallError> {
    let asked = ids
        .iter()
        .map(|id| types::InputMessageId { id: id.get() }.into());
    let posts = fetch(bot, peer, asked.collect()).await?;
    Ok(ids
        .iter()
        .map(|id| posts.iter().find(|post| post.id == *id).cloned())
        .collect())
}

/// Reads the pinned message (`inputMessagePinned`).
///
/// # Errors
/// See [`BotClient::call`].
pub async fn pinned(
    bot: &BotClient,
    peer: ChannelPeer,
) -> Result<Option<ChannelMessage>, CallError> {
    let posts = fetch(bot, peer, vec![enums::InputMessage::Pinned]).await?;
    Ok(posts.into_iter().next())
}

async fn fetch(
    bot: &BotClient,
    peer: ChannelPeer,
    id: Vec<enums::InputMessage>,
) -> Result<Vec<ChannelMessage>, CallError> {
    let request = functions::channels::GetMessages {
        channel: peer.input_channel(),
        id,
    };
    bot.call_with(&request, found).await?
}

/// Returns the messages in an answer.
///
/// # Errors
/// [`CallError::Unexpected`] for an answer without messages.
pub fn found(answer: enums::messages::Messages) -> Result<Vec<ChannelMessage>, CallError> {
    // Servers differ in which of the shapes they use.
    let messages = match answer {
        enums::messages::Messages::Messages(found) => found.messages,
        enums::messages::Messages::Slice(found) => found.messages,
        enums::messages::Messages::ChannelMessages(found) => found.messages,
        enums::messages::Messages::NotModified(_) => {
            return Err(CallError::Unexpected("messages not modified".into()));
        }
    };
    Ok(messages
        .into_iter()
        .filter_map(ChannelMessage::from_message)
        .collect())
}

/// Deletes messages (`channels.deleteMessages`, at most [`IDS_AT_ONCE`]). The service leaves those that
/// are too old without an error, so only [`get`] tells which are gone.
///
/// # Errors
/// See [`BotClient::call`].
pub async fn delete(
    bot: &BotClient,
    peer: ChannelPeer,
    ids: &[MessageId],
) -> Result<(), CallError> {
    let request = functions::channels::DeleteMessages {
        channel: peer.input_channel(),
        id: ids.iter().map(|id| id.get()).collect(),
    };
    bot.post(&request).await.map(drop)
}

impl ChannelMessage {
    /// Returns `None` for an empty message, for a note of the service, and for a number that no message has.
    fn from_message(message: enums::Message) -> Option<Self> {
        let enums::Message::Message(message) = message else {
            return None;
        };
        if message.id <= 0 {
            return None;
        }
        let document = match message.media {
            Some(enums::MessageMedia::Document(media)) => {
                media.document.and_then(Document::from_tl)
            }
            _ => None,
        };
        Some(Self {
            id: MessageId::new(message.id),
            date: message.date,
            text: message.message,
            document,
        })
    }
}

impl Document {
    fn from_tl(document: enums::Document) -> Option<Self> {
        let enums::Document::Document(document) = document else {
            return None;
        };
        let name = document
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                enums::DocumentAttribute::Filename(named) => Some(named.file_name.clone()),
                _ => None,
            });
        Some(Self {
            id: document.id,
            access_hash: document.access_hash,
            reference: document.file_reference,
            size: u64::try_from(document.size).ok()?,
            dc: document.dc_id,
            name: name.unwrap_or_default(),
            mime: document.mime_type,
        })
    }
    /// Returns the request that reads a range of it (`upload.getFile`).
    pub fn request(&self, offset: u64, limit: u64) -> Vec<u8> {
        functions::upload::GetFile {
            precise: false,
            cdn_supported: false,
            location: self.location(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
        }
        .to_bytes()
    }
    fn location(&self) -> enums::InputFileLocation {
        types::InputDocumentFileLocation {
            id: self.id,
            access_hash: self.access_hash,
            file_reference: self.reference.clone(),
            thumb_size: String::new(),
        }
        .into()
    }
}
