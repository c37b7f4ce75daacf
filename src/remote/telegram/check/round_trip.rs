//! Round trip of a small document: posted, read back by its bot and by another one, deleted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::patience::PatientBots;
use crate::model::MessageId;
use crate::remote::RemoteError;
use crate::remote::telegram::bots::Member;
use crate::remote::telegram::bots::bot::{BotClient, CALL_LIMIT};
use crate::remote::telegram::bots::messages::{self, ChannelMessage, ChannelPeer};
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::channel::binding::probe_without_library;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;
use crate::remote::telegram::packs::get_file::file_bytes;
use crate::remote::telegram::packs::parts::{FileUpload, PartSource, UploadStop};

/// Bytes of the document: the smallest range that can be asked for.
const PROBE_BYTES: usize = 4096;
/// Time limit of retries of each step.
const STEP_PATIENCE: Duration = Duration::from_secs(30);

/// Outcome of a round trip.
#[derive(Debug)]
pub enum RoundTrip {
    /// Every step succeeded.
    Passed {
        /// Numbers of the bots that read the document.
        read_by: Vec<u32>,
    },
    /// A step failed; the error's `op` names it.
    Failed(RemoteError),
}

/// Bot in a channel.
#[derive(Debug, Clone)]
pub struct MemberInChannel {
    /// The bot.
    pub member: Arc<Member>,
    /// The channel as it addresses it.
    pub peer: ChannelPeer,
}

/// Sends a document on its round trip. `own` posts and deletes it, and both bots read it.
pub async fn round_trip(
    bots: &PatientBots,
    own: MemberInChannel,
    other: Option<MemberInChannel>,
) -> RoundTrip {
    let mut bytes = vec![0; PROBE_BYTES];
    if let Err(error) = getrandom::fill(&mut bytes) {
        let error = CallError::Unexpected(error.to_string());
        return RoundTrip::Failed(error.into_remote("make a probe"));
    }
    let bytes = Bytes::from(bytes);
    let probe = match post_probe(bots, &own, &bytes).await {
        Ok(message) => message.id,
        Err(error) => return RoundTrip::Failed(error),
    };
    let mut read_by = Vec::new();
    let mut failed = None;
    for reader in std::iter::once(own.clone()).chain(other) {
        let number = reader.member.bot.number;
        let step = format!("read the probe back with bot {number}");
        let read = bots
            .patiently(&reader.member, &step, STEP_PATIENCE, || {
                read_document(&reader.member.bot, reader.peer, probe)
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
    if let Err(error) = delete(bots, &own, probe).await {
        failed.get_or_insert(error);
    }
    match failed {
        Some(error) => RoundTrip::Failed(error),
        None => RoundTrip::Passed { read_by },
    }
}

async fn post_probe(
    bots: &PatientBots,
    own: &MemberInChannel,
    bytes: &Bytes,
) -> Result<ChannelMessage, RemoteError> {
    let step = "post a probe";
    let mut upload = FileUpload::new(bytes, "probe.tgfs".into())?;
    match upload.send(&own.member.bot, bytes).await {
        Ok(()) => {}
        Err(UploadStop::Failed(mut error)) => {
            error.op = step.to_owned();
            return Err(error);
        }
        Err(UploadStop::Wait(wait)) => return Err(CallError::MustWait(wait).into_remote(step)),
    }
    post(bots, own, &upload, bytes).await
}

/// Posts an uploaded document whose caption says that it is a probe.
///
/// # Errors
/// When the bot may not post.
pub async fn post(
    bots: &PatientBots,
    own: &MemberInChannel,
    upload: &FileUpload,
    source: &dyn PartSource,
) -> Result<ChannelMessage, RemoteError> {
    let MemberInChannel { member, peer } = own;
    let file = &upload.finished(source);
    let text = &probe_without_library();
    let random_id = random_id()?;
    bots.bots()
        .wait_to_post(peer.channel, PostPriority::Log)
        .await;
    bots.patiently(member, "post a probe", STEP_PATIENCE, || {
        messages::send_document(&member.bot, *peer, file, text, random_id)
    })
    .await
}

/// Deletes a probe and makes sure that it is gone.
///
/// # Errors
/// When the probe stays.
pub async fn delete(
    bots: &PatientBots,
    own: &MemberInChannel,
    probe: MessageId,
) -> Result<(), RemoteError> {
    let MemberInChannel { member, peer } = own;
    let gone = || async {
        messages::delete(&member.bot, *peer, &[probe]).await?;
        let after = messages::get(&member.bot, *peer, &[probe]).await?;
        match after.into_iter().flatten().next() {
            None => Ok(()),
            Some(_) => Err(CallError::Unexpected("it is still there".into())),
        }
    };
    bots.patiently(member, "delete the probe", STEP_PATIENCE, gone)
        .await
}

async fn read_document(
    bot: &BotClient,
    peer: ChannelPeer,
    message: MessageId,
) -> Result<Bytes, CallError> {
    let found = messages::get(bot, peer, &[message]).await?;
    let mut found = found.into_iter().flatten();
    let document = found.find_map(|message| message.document);
    let document = document.ok_or_else(|| CallError::refused(RpcErrorName::MessageIdInvalid))?;
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
