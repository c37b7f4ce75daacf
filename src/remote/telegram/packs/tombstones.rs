//! Tombstones: a few bytes in place of a pack that is too old to be deleted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::parts::{FileUpload, UploadStop};
use crate::model::{ChannelId, MessageId, TombstonePolicy};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::bots::{Bots, messages};
use crate::remote::telegram::channel::binding::LibraryBinding;
use crate::remote::telegram::channel::caption::CaptionBody;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::{RemoteError, RemoteErrorKind, Removal};

/// Interval between two tombstones. Edits are limited much harder than posts.
const INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of a tombstone.
const TOMBSTONE: &[u8] = b"tgfs: deleted";

/// Writer of tombstones, if the settings ask for them.
#[derive(Debug)]
pub struct TombstoneWriter {
    bots: Arc<Bots>,
    binding: Arc<LibraryBinding>,
    policy: TombstonePolicy,
    /// Time at which the last tombstone was written.
    last: tokio::sync::Mutex<Option<Instant>>,
}

impl TombstoneWriter {
    /// Makes a writer that follows `policy`.
    pub fn new(bots: Arc<Bots>, binding: Arc<LibraryBinding>, policy: TombstonePolicy) -> Self {
        Self {
            bots,
            binding,
            policy,
            last: tokio::sync::Mutex::default(),
        }
    }

    /// Handles a message that is too old to be deleted, according to the settings.
    ///
    /// # Errors
    /// [`RemoteErrorKind::RateLimited`] within a minute of the last tombstone.
    pub async fn handle(
        &self,
        channel: ChannelId,
        message: MessageId,
    ) -> Result<Removal, RemoteError> {
        match self.policy {
            TombstonePolicy::Leave => Ok(Removal::Left),
            TombstonePolicy::Write => {
                self.take_turn().await?;
                self.write(channel, message).await?;
                Ok(Removal::Gone)
            }
        }
    }

    async fn take_turn(&self) -> Result<(), RemoteError> {
        let mut last = self.last.lock().await;
        if last.is_some_and(|at| at.elapsed() < INTERVAL) {
            return Err(RemoteError::new(
                RemoteErrorKind::RateLimited,
                "blank a post that is too old to be deleted",
                "one was blanked within the last minute",
            ));
        }
        *last = Some(Instant::now());
        Ok(())
    }

    async fn write(&self, channel: ChannelId, message: MessageId) -> Result<(), RemoteError> {
        let text = &self.binding.caption(CaptionBody::Tombstone)?;
        let bytes = &Bytes::from_static(TOMBSTONE);
        self.bots.wait_to_post(channel, PostPriority::Log).await;
        self.bots
            .with_any("blank an old post", channel, |member, peer| async move {
                let upload = FileUpload::new(bytes, "deleted.tgfs".into());
                let mut upload = upload.map_err(|error| disconnected(&error))?;
                match upload.send(&member.bot, bytes).await {
                    Ok(()) => {}
                    Err(UploadStop::Wait(wait)) => return Err(CallError::MustWait(wait)),
                    Err(UploadStop::Failed(error)) => return Err(disconnected(&error)),
                }
                let file = upload.finished(bytes);
                messages::edit(&member.bot, peer, message, text, Some(&file)).await
            })
            .await
    }
}

fn disconnected(error: &RemoteError) -> CallError {
    CallError::Disconnected(error.to_string())
}
