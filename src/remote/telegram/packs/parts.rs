//! Upload of one file in parts of 512 KiB, several in flight
//! (<https://core.telegram.org/api/files#uploading-files>).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grammers_tl_types::{Identifiable, Serializable, functions, types};

use crate::model::ByteRange;
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::messages::UploadedFile;
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::{CallPurpose, WINDOW};
use crate::remote::{RemoteError, RemoteErrorKind};

/// Largest part that the service takes.
pub const PART_BYTES: u64 = 512 * 1024;
/// Size in bytes above which files go by `upload.saveBigFilePart`.
const BIG_BYTES: u64 = 10 * 1024 * 1024;
/// Time limit of one part, from the moment at which it has room on a connection. At 100 KB/s a part takes
/// five seconds.
pub const PART_LIMIT: Duration = Duration::from_secs(60);
/// Factor by which a late part takes longer than most. It is sent again, because the service forgets some.
const LATE_FACTOR: u32 = 8;
/// Earliest time for that. Each further try waits longer, since a service that is slow because much is
/// under way does not become faster with more.
const LEAST_LATE: Duration = Duration::from_secs(8);
/// The same while nothing is known about the usual time of parts.
const UNKNOWN_LATE: Duration = Duration::from_secs(20);
/// Time limit of retries of one part with one bot.
const PART_PATIENCE: Duration = Duration::from_secs(180);
/// Longest wait that the bot itself waits out. After a longer one the pack may go elsewhere.
pub const SHORT_WAIT: Duration = Duration::from_secs(3);
/// Parts in flight beyond the room of the connections. Without them, the pool never learns that more
/// connections would help.
const SPARE_PARTS: usize = 2;

/// Bytes to upload.
#[async_trait::async_trait]
pub trait PartSource: Send + Sync {
    /// Returns the number of all bytes.
    fn len(&self) -> u64;
    /// Reads exactly `range`.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    async fn read(&self, range: ByteRange) -> Result<Bytes, RemoteError>;
    /// Hears how many of the bytes the service has acknowledged.
    fn acknowledged(&self, _bytes: u64) {}
}

#[async_trait::async_trait]
impl PartSource for Bytes {
    fn len(&self) -> u64 {
        Self::len(self) as u64
    }
    async fn read(&self, range: ByteRange) -> Result<Bytes, RemoteError> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let whole = range.end() <= PartSource::len(self);
        if whole {
            Ok(self.slice(at(range.offset)..at(range.end())))
        } else {
            Err(RemoteError::new(
                RemoteErrorKind::Invalid,
                "read what is to be sent",
                "the range passes its end",
            ))
        }
    }
}

/// Upload of one file by one bot, since parts belong to the bot that sent them.
#[derive(Debug)]
pub struct FileUpload {
    file_id: i64,
    name: String,
    missing: BTreeSet<u32>,
    parts: u32,
}

/// Reason why an upload stopped.
#[derive(Debug)]
pub enum UploadStop {
    /// The bot has to wait this long.
    Wait(Duration),
    /// It failed.
    Failed(RemoteError),
}

impl From<RemoteError> for UploadStop {
    fn from(error: RemoteError) -> Self {
        Self::Failed(error)
    }
}

impl FileUpload {
    /// Makes an upload of which no part was sent.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Invalid`] when the file is too large.
    pub fn new(source: &dyn PartSource, name: String) -> Result<Self, RemoteError> {
        let parts = u32::try_from(source.len().div_ceil(PART_BYTES).max(1)).map_err(|_| {
            RemoteError::new(RemoteErrorKind::Invalid, "send a file", "it is too large")
        })?;
        Ok(Self {
            file_id: random_id()?,
            name,
            missing: (0..parts).collect(),
            parts,
        })
    }

    /// Returns the file as calls name it, once all parts are there.
    pub fn finished(&self, source: &dyn PartSource) -> UploadedFile {
        let parts = i32::try_from(self.parts).unwrap_or(i32::MAX);
        let file = if source.len() > BIG_BYTES {
            types::InputFileBig {
                id: self.file_id,
                parts,
                name: self.name.clone(),
            }
            .into()
        } else {
            types::InputFile {
                id: self.file_id,
                parts,
                name: self.name.clone(),
                // The service checks it only when it is given. The stored bytes are read back anyway.
                md5_checksum: String::new(),
            }
            .into()
        };
        UploadedFile {
            file,
            name: self.name.clone(),
        }
    }

    /// Notes that the service lost a part (`FILE_PART_X_MISSING`).
    pub fn lost(&mut self, part: u32) {
        if part < self.parts {
            self.missing.insert(part);
        } else {
            self.missing = (0..self.parts).collect();
        }
    }

    /// Sends the missing parts. Parts that were sent stay sent, so a second call continues.
    ///
    /// # Errors
    /// [`UploadStop`] when the bot has to wait, or a part failed.
    pub async fn send(
        &mut self,
        bot: &BotClient,
        source: &dyn PartSource,
    ) -> Result<(), UploadStop> {
        let home = bot.home().await.map_err(|error| failed(bot, error))?;
        let connections = bot.known_pool(home, CallPurpose::Write);
        let side_by_side =
            connections.map_or(WINDOW, |connections| connections.count() * WINDOW) + SPARE_PARTS;
        let parts: Vec<u32> = self.missing.iter().copied().collect();
        let this = &*self;
        let mut sending = stream::iter(parts)
            .map(|part| async move { (part, this.send_part(bot, source, part).await) })
            .buffer_unordered(side_by_side);
        let mut done = Vec::new();
        let mut stopped = None;
        while let Some((part, outcome)) = sending.next().await {
            match outcome {
                Ok(()) => {
                    done.push(part);
                    let there = self.parts as usize - self.missing.len() + done.len();
                    source.acknowledged((there as u64 * PART_BYTES).min(source.len()));
                }
                Err(reason) => {
                    stopped = Some(reason);
                    break;
                }
            }
        }
        drop(sending);
        for part in done {
            self.missing.remove(&part);
        }
        stopped.map_or(Ok(()), Err)
    }

    async fn send_part(
        &self,
        bot: &BotClient,
        source: &dyn PartSource,
        part: u32,
    ) -> Result<(), UploadStop> {
        let offset = u64::from(part) * PART_BYTES;
        let range = ByteRange::new(offset, PART_BYTES.min(source.len() - offset));
        let bytes = source.read(range).await?;
        let request = self.request(source, part, &bytes);
        let tries = AtomicU32::new(0);
        let attempt = || async {
            let later = 2_u32.saturating_pow(tries.fetch_add(1, Ordering::Relaxed));
            let limit = first_limit(bot).await.saturating_mul(later).min(PART_LIMIT);
            let sent = bot.send(None, CallPurpose::Write, request.clone(), range.len, limit);
            match sent.await {
                Ok(_) => Ok(None),
                Err(error) => match error.wait() {
                    Some(wait) if wait > SHORT_WAIT => Ok(Some(wait)),
                    _ => Err(failed(bot, error)),
                },
            }
        };
        match retry(Deadline::after(PART_PATIENCE), attempt).await? {
            Some(wait) => Err(UploadStop::Wait(wait)),
            None => Ok(()),
        }
    }

    /// Returns the request for a part. The bytes are written straight behind its other fields, because
    /// whole packs pass here and each copy costs time.
    pub fn request(&self, source: &dyn PartSource, part: u32, bytes: &Bytes) -> Bytes {
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let mut body = Vec::with_capacity(bytes.len() + 32);
        if source.len() > BIG_BYTES {
            functions::upload::SaveBigFilePart::CONSTRUCTOR_ID.serialize(&mut body);
            self.file_id.serialize(&mut body);
            number(part).serialize(&mut body);
            number(self.parts).serialize(&mut body);
        } else {
            functions::upload::SaveFilePart::CONSTRUCTOR_ID.serialize(&mut body);
            self.file_id.serialize(&mut body);
            number(part).serialize(&mut body);
        }
        (&bytes[..]).serialize(&mut body);
        body.into()
    }
}

/// Returns the time limit of the first try of a part.
async fn first_limit(bot: &BotClient) -> Duration {
    let connections = match bot.home().await {
        Ok(home) => bot.known_pool(home, CallPurpose::Write),
        Err(_) => None,
    };
    let usual = connections.and_then(|connections| connections.usual(0.8));
    usual.map_or(UNKNOWN_LATE, |usual| {
        (usual * LATE_FACTOR).clamp(LEAST_LATE, PART_LIMIT)
    })
}

fn failed(bot: &BotClient, error: CallError) -> RemoteError {
    error.into_remote(format!("send bytes with bot {}", bot.number))
}
