//! A signed-in bot and its channel, with the calls that the tests make.

use std::io::Cursor;
use std::net::SocketAddr;
use std::time::Duration;

use grammers_client::tl::{self, enums, functions, types};
use grammers_client::{Client, InvocationError};
use grammers_session::types::{PeerId, PeerRef};
use telegram_sim::{Channel, Server};
use tokio::time::timeout;

use crate::client::{DC, client, make_key};

/// No call of a healthy server takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to reach a server, this crate's or another.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub dc: i32,
    pub pem: String,
    pub api_id: i32,
    pub api_hash: String,
    pub tokens: Vec<String>,
    /// `-100…` or `@name`
    pub chat: String,
}

impl Target {
    pub fn of(server: &Server) -> Self {
        let options = server.options();
        Self {
            address: server.address(),
            dc: DC,
            pem: server.key_pem().unwrap(),
            api_id: options.api_id,
            api_hash: options.api_hash.clone(),
            tokens: (1..=options.bots)
                .map(|number| server.token(telegram_sim::Bot(number)))
                .collect(),
            chat: server.chat_id(Channel(1)).to_string(),
        }
    }

    /// A client with a new key that is not signed in.
    pub async fn connect(&self) -> Client {
        let key = make_key(self.address, &self.pem).await;
        client(&[(self.dc, self.address, key)], self.api_id)
    }

    /// Bot n, counted from 1, signed in, with its channel resolved.
    pub async fn bot(&self, number: usize) -> TestBot {
        let client = self.connect().await;
        client
            .bot_sign_in(&self.tokens[number - 1], &self.api_hash)
            .await
            .unwrap();
        self.settle(client).await
    }

    pub async fn settle(&self, client: Client) -> TestBot {
        let peer = match self.chat.strip_prefix('@') {
            Some(name) => client.resolve_username(name).await.unwrap().unwrap(),
            None => {
                let chat = PeerId::from_bot_api_dialog_id(self.chat.parse().unwrap()).unwrap();
                client.resolve_peer(chat.to_ambient_ref()).await.unwrap()
            }
        };
        let channel = peer.to_ref().await.unwrap().unwrap();
        TestBot { client, channel }
    }
}

pub struct TestBot {
    pub client: Client,
    pub channel: PeerRef,
}

/// A document as one bot was shown it.
pub type Shown = types::Document;

/// Random bytes.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    getrandom::fill(&mut noise).unwrap();
    noise
}

/// The error's name, without its number.
pub fn name_of<T>(result: Result<T, InvocationError>) -> String {
    match result {
        Err(InvocationError::Rpc(error)) => error.name,
        Err(error) => error.to_string(),
        Ok(_) => "no error".to_owned(),
    }
}

/// The number in an error's name.
pub fn value_of<T>(result: Result<T, InvocationError>) -> u32 {
    match result {
        Err(InvocationError::Rpc(error)) => error.value.unwrap(),
        _ => panic!("no error with a number"),
    }
}

impl TestBot {
    /// One call, without the client's own second tries.
    pub async fn call<R: tl::RemoteCall>(&self, call: &R) -> Result<R::Return, InvocationError> {
        timeout(PATIENCE, self.client.invoke(call))
            .await
            .expect("no answer in time")
    }

    pub fn input_channel(&self) -> enums::InputChannel {
        self.channel.into()
    }

    pub fn input_peer(&self) -> enums::InputPeer {
        self.channel.into()
    }

    /// Saves `data` as parts of `part_bytes`.
    pub async fn save(
        &self,
        data: &[u8],
        part_bytes: usize,
        file_id: i64,
    ) -> Result<types::InputFileBig, InvocationError> {
        let parts = i32::try_from(data.len().div_ceil(part_bytes)).unwrap();
        for (part, number) in data.chunks(part_bytes).zip(0..) {
            self.call(&functions::upload::SaveBigFilePart {
                file_id,
                file_part: number,
                file_total_parts: parts,
                bytes: part.to_vec(),
            })
            .await?;
        }
        Ok(types::InputFileBig {
            id: file_id,
            parts,
            name: "film.bin".into(),
        })
    }

    /// Posts a saved file; the id of the message.
    pub async fn post(
        &self,
        file: impl Into<enums::InputFile>,
        caption: &str,
        random_id: i64,
    ) -> Result<i32, InvocationError> {
        let call = functions::messages::SendMedia {
            silent: false,
            background: false,
            clear_draft: false,
            noforwards: false,
            update_stickersets_order: false,
            invert_media: false,
            allow_paid_floodskip: false,
            peer: self.input_peer(),
            reply_to: None,
            media: document_media(file.into()),
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
        Ok(posted_id(self.call(&call).await?))
    }

    /// Saves and posts.
    pub async fn put(&self, data: &[u8], caption: &str) -> i32 {
        let file = self.save(data, 512 * 1024, random_id()).await.unwrap();
        self.post(file, caption, random_id()).await.unwrap()
    }

    /// Uploads as stock grammers does, and posts.
    pub async fn put_stock(&self, data: &[u8], caption: &str) -> i32 {
        let uploaded = self
            .client
            .upload_stream(&mut Cursor::new(data), data.len(), "film.bin".into())
            .await
            .unwrap();
        let message = grammers_client::message::InputMessage::new()
            .text(caption)
            .document(uploaded);
        let sent = self.client.send_message(self.channel, message).await;
        sent.unwrap().id()
    }

    /// Reads posts by id, in whichever of the two shapes the server answers.
    pub async fn messages(
        &self,
        ids: Vec<enums::InputMessage>,
    ) -> Result<Vec<enums::Message>, InvocationError> {
        let call = functions::channels::GetMessages {
            channel: self.input_channel(),
            id: ids,
        };
        Ok(match self.call(&call).await? {
            enums::messages::Messages::Messages(found) => found.messages,
            enums::messages::Messages::ChannelMessages(found) => found.messages,
            _ => panic!("a slice of messages that were asked for by id"),
        })
    }

    pub async fn message(&self, id: i32) -> Option<types::Message> {
        let id = types::InputMessageId { id }.into();
        match self.messages(vec![id]).await.unwrap().remove(0) {
            enums::Message::Message(message) => Some(message),
            _ => None,
        }
    }

    /// The document of a post, with hash and reference for this bot.
    pub async fn document(&self, id: i32) -> Shown {
        let media = self.message(id).await.unwrap().media.unwrap();
        let enums::MessageMedia::Document(media) = media else {
            panic!("no document");
        };
        let Some(enums::Document::Document(document)) = media.document else {
            panic!("no document");
        };
        document
    }

    pub async fn range(
        &self,
        document: &Shown,
        offset: i64,
        limit: i32,
    ) -> Result<Vec<u8>, InvocationError> {
        match self.call(&get_file(document, offset, limit)).await? {
            enums::upload::File::File(file) => Ok(file.bytes),
            enums::upload::File::CdnRedirect(_) => panic!("sent to a CDN"),
        }
    }

    /// All bytes, in ranges of 512 KiB.
    pub async fn read(&self, document: &Shown) -> Vec<u8> {
        let mut read = Vec::new();
        while (read.len() as i64) < document.size {
            let offset = read.len() as i64;
            read.extend(self.range(document, offset, 512 * 1024).await.unwrap());
        }
        read
    }

    /// How many of the posts went.
    pub async fn delete(&self, ids: &[i32]) -> Result<i32, InvocationError> {
        let call = functions::channels::DeleteMessages {
            channel: self.input_channel(),
            id: ids.to_vec(),
        };
        let enums::messages::AffectedMessages::Messages(affected) = self.call(&call).await?;
        Ok(affected.pts_count)
    }

    pub async fn text(&self, text: &str, random_id: i64) -> Result<i32, InvocationError> {
        let call = functions::messages::SendMessage {
            no_webpage: false,
            silent: false,
            background: false,
            clear_draft: false,
            noforwards: false,
            update_stickersets_order: false,
            invert_media: false,
            allow_paid_floodskip: false,
            peer: self.input_peer(),
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
        Ok(posted_id(self.call(&call).await?))
    }

    pub async fn edit(
        &self,
        id: i32,
        text: Option<&str>,
        media: Option<enums::InputMedia>,
    ) -> Result<(), InvocationError> {
        let call = functions::messages::EditMessage {
            no_webpage: false,
            invert_media: false,
            peer: self.input_peer(),
            id,
            message: text.map(str::to_owned),
            media,
            reply_markup: None,
            entities: None,
            schedule_date: None,
            schedule_repeat_period: None,
            quick_reply_shortcut_id: None,
            rich_message: None,
        };
        self.call(&call).await.map(drop)
    }

    pub async fn pin(&self, id: i32) -> Result<(), InvocationError> {
        let call = functions::messages::UpdatePinnedMessage {
            silent: true,
            unpin: false,
            pm_oneside: false,
            peer: self.input_peer(),
            id,
        };
        self.call(&call).await.map(drop)
    }
}

pub fn random_id() -> i64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    i64::from_le_bytes(bytes)
}

pub fn get_file(document: &Shown, offset: i64, limit: i32) -> functions::upload::GetFile {
    functions::upload::GetFile {
        precise: false,
        cdn_supported: false,
        location: types::InputDocumentFileLocation {
            id: document.id,
            access_hash: document.access_hash,
            file_reference: document.file_reference.clone(),
            thumb_size: String::new(),
        }
        .into(),
        offset,
        limit,
    }
}

pub fn document_media(file: enums::InputFile) -> enums::InputMedia {
    types::InputMediaUploadedDocument {
        nosound_video: false,
        force_file: true,
        spoiler: false,
        file,
        thumb: None,
        mime_type: "application/octet-stream".into(),
        attributes: Vec::new(),
        stickers: None,
        video_cover: None,
        video_timestamp: None,
        ttl_seconds: None,
    }
    .into()
}

fn posted_id(updates: enums::Updates) -> i32 {
    let enums::Updates::Updates(updates) = updates else {
        panic!("a post is answered with updates");
    };
    updates
        .updates
        .iter()
        .find_map(|update| match update {
            enums::Update::MessageId(update) => Some(update.id),
            _ => None,
        })
        .unwrap()
}
