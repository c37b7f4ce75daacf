//! The library's log in its home channel: manifests and snapshots are documents among the packs.
//!
//! What stands where is learned by scanning through posts, from the newest place that is known to lie
//! before what is looked for: the post of a manifest that this state sent, or the one that a pinned
//! snapshot names. With nothing to begin from, the whole channel is scanned.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::caption::{Caption, CaptionBody, LogPiece};
use crate::model::{ByteRange, TelegramAddress};
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::messages::{self, ChannelMessage};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::packs::download::StoredDocument;
use crate::remote::telegram::packs::parts::{FileUpload, UploadStop, random_id};
use crate::remote::telegram::packs::upload::DocumentPost;
use crate::remote::{LogKind, LogObject, RemoteError, RemoteErrorKind, Urgency};

/// Most bytes of one piece: the service takes 2,000 MiB, and a piece is begun anew when it fails.
const PIECE_BYTES: usize = 512 * 1024 * 1024;
/// Own manifests whose posts are remembered for the next start.
const REMEMBERED: usize = 8;
const ROWS: &str = "log/";

/// What is known of the home channel's log.
#[derive(Debug, Default)]
pub struct LogMap {
    /// Posts with numbers in this range were looked at; `None`: nothing yet.
    scanned: Option<(i32, i32)>,
    objects: BTreeMap<LogObject, ObjectPieces>,
    /// The highest own post since the log was listed last: others' posts before it are below it.
    appended: i32,
}

#[derive(Debug, Clone, Default)]
struct ObjectPieces {
    count: u32,
    posts: BTreeMap<u32, StoredDocument>,
    manifest: i32,
    before: i32,
}

impl ObjectPieces {
    fn is_whole(&self) -> bool {
        self.count > 0 && self.posts.len() == self.count as usize
    }
    fn last_post(&self) -> i32 {
        self.posts
            .values()
            .map(|place| place.address.message)
            .max()
            .unwrap_or(0)
    }
}

impl LogMap {
    fn add(&mut self, channel: i64, post: &ChannelMessage, piece: &LogPiece) {
        let Some(document) = &post.document else {
            return;
        };
        let pieces = self.objects.entry(piece.object).or_default();
        pieces.count = piece.pieces;
        pieces.manifest = pieces.manifest.max(piece.manifest);
        pieces.before = pieces.before.max(piece.before);
        let place = StoredDocument {
            address: TelegramAddress {
                channel,
                message: post.id,
                document: document.id,
                dc: document.dc,
            },
            len: document.size,
        };
        // Sent twice after a lost answer: both are the same bytes.
        pieces.posts.entry(piece.piece).or_insert(place);
    }

    fn whole(&self, kind: LogKind, above: u64) -> Vec<LogObject> {
        let wanted = |object: &LogObject| object.kind == kind && object.number > above;
        let found = self
            .objects
            .iter()
            .filter(|(object, pieces)| wanted(object) && pieces.is_whole());
        found.map(|(object, _)| *object).collect()
    }

    fn newest_snapshot(&self) -> Option<&ObjectPieces> {
        let whole = self.whole(LogKind::Snapshot, 0);
        whole
            .iter()
            .filter_map(|object| self.objects.get(object))
            .max_by_key(|pieces| pieces.last_post())
    }
}

impl Shared {
    /// Adds an object to the log: its pieces as documents, one after the other.
    pub async fn append_log(&self, object: LogObject, bytes: &Bytes) -> Result<(), RemoteError> {
        let home = self.home()?;
        let mut map = self.log.lock().await;
        let (before, mark, manifest) = match object.kind {
            LogKind::Manifest => (0, 0, 0),
            LogKind::Snapshot => {
                let before = map.newest_snapshot().map_or(0, ObjectPieces::last_post);
                let covered = map
                    .objects
                    .iter()
                    .find(|(other, _)| {
                        other.kind == LogKind::Manifest && other.number == object.number
                    })
                    .map_or(0, |(_, pieces)| pieces.last_post());
                (before, self.mark_post(), covered)
            }
        };
        let chunks: Vec<Bytes> = match bytes.is_empty() {
            true => vec![bytes.clone()],
            false => (0..bytes.len())
                .step_by(PIECE_BYTES)
                .map(|at| bytes.slice(at..bytes.len().min(at + PIECE_BYTES)))
                .collect(),
        };
        let pieces = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let mut first = 0;
        for (number, chunk) in (1..).zip(&chunks) {
            let piece = LogPiece {
                object,
                piece: number,
                pieces,
                first,
                before,
                mark,
                manifest,
            };
            let post = self.post_piece(home, chunk, &piece).await?;
            map.add(home, &post, &piece);
            map.appended = map.appended.max(post.id);
            if first == 0 {
                first = post.id;
            }
        }
        if object.kind == LogKind::Manifest {
            self.remember_manifest(object.number, first);
        }
        Ok(())
    }

    async fn post_piece(
        &self,
        home: i64,
        bytes: &Bytes,
        piece: &LogPiece,
    ) -> Result<ChannelMessage, RemoteError> {
        let LogObject { kind, number, .. } = piece.object;
        let op = match kind {
            LogKind::Manifest => format!("post manifest {number}"),
            LogKind::Snapshot => format!("post snapshot {number}"),
        };
        let name = match kind {
            LogKind::Manifest => format!("{number:020}-{}.tgfslog", piece.piece),
            LogKind::Snapshot => format!("{number:020}-{}.tgfssnapshot", piece.piece),
        };
        self.post_ours(home, bytes, &name, CaptionBody::Log(*piece), &op)
            .await
    }

    /// Posts a small document, with any bot that can.
    pub async fn post_ours(
        &self,
        home: i64,
        bytes: &Bytes,
        name: &str,
        body: CaptionBody,
        op: &str,
    ) -> Result<ChannelMessage, RemoteError> {
        let caption = self.caption(body)?.to_string();
        let random_id = random_id()?;
        self.rate_limiter.turn(home, PostPriority::Log).await;
        let mut last = None;
        for member in self.posters() {
            let bot = &member.bot;
            let attempt = async {
                let peer = match self.bots.peer(bot, home).await {
                    Ok(peer) => peer,
                    Err(error) => return Err(UploadStop::Failed(error.into_remote(op))),
                };
                let mut upload = FileUpload::new(bytes, name.to_owned())?;
                self.send_parts(bot, bytes, &mut upload).await?;
                let poster = DocumentPost {
                    bot,
                    peer,
                    caption: &caption,
                    op,
                    above: self.newest(home),
                };
                self.post_once(&poster, bytes, &mut upload, random_id).await
            };
            match attempt.await {
                Ok(post) => {
                    self.see(home, post.id);
                    if let Some(document) = &post.document {
                        let document = Some(document.clone());
                        self.locations.keep(bot.id, home, post.id, document);
                        self.locations.written_by(home, post.id, bot.id);
                    }
                    return Ok(post);
                }
                Err(UploadStop::Wait(wait)) => {
                    let message = "Telegram asks to wait";
                    let mut error = RemoteError::new(RemoteErrorKind::RateLimited, op, message);
                    error.retry_after = Some(wait);
                    last = Some(error);
                }
                Err(UploadStop::Failed(error)) => {
                    if last
                        .as_ref()
                        .is_none_or(|last: &RemoteError| !last.is_retryable())
                    {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            RemoteError::new(RemoteErrorKind::Denied, op, "there is no bot that may post")
        }))
    }

    /// Objects of a kind above `after` that are whole.
    pub async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        let mut map = self.log.lock().await;
        if self.library().is_none() {
            return Ok(Vec::new());
        }
        let home = self.home()?;
        match kind {
            LogKind::Snapshot => {
                if map.newest_snapshot().is_none() && !self.follow_pins(home, &mut map).await? {
                    self.scan_log(home, &mut map, 1).await?;
                }
            }
            LogKind::Manifest => {
                let from = self.post_before(after, &map)?;
                self.scan_log(home, &mut map, from.max(1)).await?;
            }
        }
        Ok(map.whole(kind, after))
    }

    /// A post that every manifest above `number` lies behind: 0 if none is known.
    fn post_before(&self, number: u64, map: &LogMap) -> Result<i32, RemoteError> {
        let known = map.objects.iter().filter_map(|(object, pieces)| {
            let post = match object.kind {
                LogKind::Manifest => pieces.last_post(),
                LogKind::Snapshot => pieces.manifest,
            };
            (object.number <= number && post > 0).then_some(post)
        });
        let kept = self.remembered_manifests()?;
        let kept = kept.into_iter().filter(|(kept, _)| *kept <= number);
        Ok(known.chain(kept.map(|(_, post)| post)).max().unwrap_or(0))
    }

    /// Looks at all posts from `from` to the newest that were not looked at.
    async fn scan_log(&self, home: i64, map: &mut LogMap, from: i32) -> Result<(), RemoteError> {
        let library = self.library_or_none();
        // A post of our own that was made after the last look bounds what we have to know; without
        // one, others may have posted up to now.
        let end = match std::mem::take(&mut map.appended) {
            0 => self.upper_end(home).await?,
            appended => appended.saturating_add(1),
        };
        let mut ranges = Vec::new();
        match map.scanned {
            Some((first, last)) if from >= first => ranges.push(from.max(last)..end),
            Some((first, last)) => ranges.extend([from..first, last..end]),
            None => ranges.push(from..end),
        }
        for range in ranges {
            if range.start >= range.end {
                continue;
            }
            for (post, body) in self.scan_ours(home, range, library).await? {
                self.see(home, post.id);
                if let CaptionBody::Log(piece) = body {
                    map.add(home, &post, &piece);
                }
            }
        }
        let first = map.scanned.map_or(from, |(first, _)| first.min(from));
        let last = map.scanned.map_or(end, |(_, last)| last.max(end));
        map.scanned = Some((first, last));
        Ok(())
    }

    /// From the pinned snapshot to the one before it, and so on. Whether it could be done.
    async fn follow_pins(&self, home: i64, map: &mut LogMap) -> Result<bool, RemoteError> {
        let library = self.library();
        let pinned = self
            .bots
            .with_any("read the pinned post", home, |member, peer| async move {
                messages::pinned(&member.bot, peer).await
            })
            .await?;
        let mut next = pinned;
        let mut found = false;
        while let Some(post) = next.take() {
            let caption = Caption::read(&post.text);
            let Some(Caption {
                library: of,
                body: CaptionBody::Log(piece),
                ..
            }) = caption
            else {
                break;
            };
            if Some(of) != library || piece.object.kind != LogKind::Snapshot {
                break;
            }
            map.add(home, &post, &piece);
            if piece.pieces > 1 && piece.first > 0 {
                let of_it = self.scan(home, piece.first..post.id).await?;
                for post in of_it {
                    if let Some(Caption {
                        body: CaptionBody::Log(other),
                        ..
                    }) = Caption::read(&post.text)
                        && other.object == piece.object
                    {
                        map.add(home, &post, &other);
                    }
                }
            }
            found = true;
            if piece.before > 0 {
                next = self
                    .messages_at(home, &[piece.before])
                    .await?
                    .pop()
                    .flatten();
            }
        }
        Ok(found)
    }

    pub async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        let op = format!(
            "read the library's log ({:?} {})",
            object.kind, object.number
        );
        let known = {
            let map = self.log.lock().await;
            map.objects
                .get(&object)
                .filter(|pieces| pieces.is_whole())
                .cloned()
        };
        let pieces = match known {
            Some(pieces) => pieces,
            None => {
                self.list_log(object.kind, object.number.saturating_sub(1))
                    .await?;
                let map = self.log.lock().await;
                let found = map.objects.get(&object).filter(|pieces| pieces.is_whole());
                found.cloned().ok_or_else(|| {
                    RemoteError::new(RemoteErrorKind::NotFound, op.as_str(), "it is not there")
                })?
            }
        };
        let mut whole = BytesMut::new();
        for place in pieces.posts.values().copied() {
            if place.len > 0 {
                let range = ByteRange::new(0, place.len);
                let bytes = self.read(&op, place, range, Urgency::Waited).await?;
                if pieces.count == 1 {
                    return Ok(bytes);
                }
                whole.extend_from_slice(&bytes);
            }
        }
        Ok(whole.freeze())
    }

    /// Makes a snapshot the one that recovery finds first: it is pinned.
    pub async fn endorse(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        let home = self.home()?;
        let post = {
            let map = self.log.lock().await;
            map.objects
                .get(&snapshot)
                .map_or(0, ObjectPieces::last_post)
        };
        if post == 0 {
            return Ok(());
        }
        self.rate_limiter.turn(home, PostPriority::Log).await;
        self.bots
            .with_any("pin the snapshot", home, |member, peer| async move {
                messages::pin(&member.bot, peer, post).await
            })
            .await
    }

    pub async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        let home = self.home()?;
        let mut map = self.log.lock().await;
        let Some(pieces) = map.objects.get(&object) else {
            return Ok(());
        };
        let ids: Vec<i32> = pieces
            .posts
            .values()
            .map(|place| place.address.message)
            .collect();
        self.delete_messages(home, &ids).await?;
        map.objects.remove(&object);
        Ok(())
    }

    /// Keeps where the newest own manifests are, so that the next start need not scan far.
    fn remember_manifest(&self, number: u64, post: i32) {
        let kept = || -> Result<(), crate::model::KeyStoreError> {
            let row = |number: u64| format!("{ROWS}{number:020}").into_bytes();
            self.keys.put(&row(number), &post.to_le_bytes())?;
            let rows = self.keys.scan(ROWS.as_bytes())?;
            for (old, _) in rows.iter().take(rows.len().saturating_sub(REMEMBERED)) {
                self.keys.remove(old)?;
            }
            Ok(())
        };
        if let Err(error) = kept() {
            tracing::warn!(%error, "where the manifest is cannot be kept; the next start takes longer");
        }
    }

    fn remembered_manifests(&self) -> Result<Vec<(u64, i32)>, RemoteError> {
        let rows = self.keys.scan(ROWS.as_bytes()).map_err(|error| {
            RemoteError::new(
                RemoteErrorKind::Unavailable,
                "look for the newest manifest",
                error.to_string(),
            )
        })?;
        let parse = |(key, value): (Vec<u8>, Vec<u8>)| {
            let digits = std::str::from_utf8(key.get(ROWS.len()..)?).ok()?;
            Some((
                digits.parse().ok()?,
                i32::from_le_bytes(value.try_into().ok()?),
            ))
        };
        Ok(rows.into_iter().filter_map(parse).collect())
    }
}
