//! One small document posted, read back by its bot and by another one, and deleted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::probe::BotCheck;
use crate::model::LibraryId;
use crate::remote::RemoteError;
use crate::remote::telegram::bots::Member;
use crate::remote::telegram::bots::bot::{BotClient, CALL_LIMIT};
use crate::remote::telegram::bots::messages::{self, ChannelMessage, ChannelPeer};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::remote::telegram::packs::get_file::file_bytes;
use crate::remote::telegram::packs::parts::{FileUpload, PartSource, UploadStop, random_id};

/// Bytes of a probe: the smallest range that can be asked for.
const PROBE_BYTES: usize = 4096;
const STEP_PATIENCE: Duration = Duration::from_secs(30);

/// What became of a probe.
#[derive(Debug)]
pub enum RoundTrip {
    /// Numbers of the bots that read it; afterwards it was deleted.
    Passed { read_by: Vec<u32> },
    /// The error's `op` is the step that failed.
    Failed(RemoteError),
}

/// The text of a probe: it belongs to no library.
pub fn probe_text() -> String {
    Caption {
        library: LibraryId::from_bytes([0; 16]),
        home: 0,
        body: CaptionBody::Probe,
    }
    .to_string()
}

impl BotCheck {
    pub async fn round_trip(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
        other: Option<(Arc<Member>, ChannelPeer)>,
    ) -> RoundTrip {
        let mut bytes = vec![0; PROBE_BYTES];
        if let Err(error) = getrandom::fill(&mut bytes) {
            let error = CallError::Unexpected(error.to_string());
            return RoundTrip::Failed(error.into_remote("make a probe"));
        }
        let bytes = Bytes::from(bytes);
        let post = match self.post_probe(member, peer, &bytes).await {
            Ok(post) => post.id,
            Err(error) => return RoundTrip::Failed(error),
        };
        let mut read_by = Vec::new();
        let mut failed = None;
        for (reader, peer) in std::iter::once((Arc::clone(member), peer)).chain(other) {
            let number = reader.bot.number;
            let step = format!("read the probe back with bot {number}");
            let read = self
                .patiently(&reader, &step, STEP_PATIENCE, || {
                    read_post(&reader.bot, peer, post)
                })
                .await;
            match read {
                Ok(read) if read == bytes => read_by.push(number),
                Ok(_) => {
                    let error = CallError::Unexpected("other bytes came back".into());
                    failed.get_or_insert(error.into_remote(step));
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        if let Err(error) = self.delete(member, peer, post).await {
            failed.get_or_insert(error);
        }
        match failed {
            Some(error) => RoundTrip::Failed(error),
            None => RoundTrip::Passed { read_by },
        }
    }

    async fn post_probe(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
        bytes: &Bytes,
    ) -> Result<ChannelMessage, RemoteError> {
        let step = "post a probe";
        let mut upload = FileUpload::new(bytes, "probe.tgfs".into())?;
        match upload.send(&member.bot, bytes).await {
            Ok(()) => {}
            Err(UploadStop::Failed(mut error)) => {
                error.op = step.to_owned();
                return Err(error);
            }
            Err(UploadStop::Wait(wait)) => {
                let flood = format!("FLOOD_WAIT_{}", wait.as_secs());
                return Err(CallError::rpc(420, &flood).into_remote(step));
            }
        }
        self.post(member, peer, &upload, bytes).await
    }

    /// Posts a document that calls itself a probe.
    pub async fn post(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
        upload: &FileUpload,
        source: &dyn PartSource,
    ) -> Result<ChannelMessage, RemoteError> {
        let file = &upload.finished(source);
        let text = &probe_text();
        let random_id = random_id()?;
        self.rate_limiter
            .turn(peer.channel, PostPriority::Log)
            .await;
        self.patiently(member, "post a probe", STEP_PATIENCE, || {
            messages::send_document(&member.bot, peer, file, text, random_id)
        })
        .await
    }

    pub async fn delete(
        &self,
        member: &Arc<Member>,
        peer: ChannelPeer,
        post: i32,
    ) -> Result<(), RemoteError> {
        let gone = || async {
            messages::delete(&member.bot, peer, &[post]).await?;
            let after = messages::get(&member.bot, peer, &[post]).await?;
            match after.into_iter().flatten().next() {
                None => Ok(()),
                Some(_) => Err(CallError::Unexpected("it is still there".into())),
            }
        };
        self.patiently(member, "delete the probe", STEP_PATIENCE, gone)
            .await
    }
}

async fn read_post(bot: &BotClient, peer: ChannelPeer, post: i32) -> Result<Bytes, CallError> {
    let found = messages::get(bot, peer, &[post]).await?;
    let document = found.into_iter().flatten().find_map(|post| post.document);
    let document = document.ok_or_else(|| CallError::rpc(400, "MESSAGE_ID_INVALID"))?;
    let request = Bytes::from(document.request(0, PROBE_BYTES as u64));
    let sent = bot.send(
        Some(document.dc),
        CallPurpose::Read,
        request,
        document.size,
        CALL_LIMIT,
    );
    file_bytes(sent.await?)
}
