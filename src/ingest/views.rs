//! A file's views: one pass of the media tool over the sealed bytes, then the derived blob into
//! packs. The file is stored whether or not this succeeds.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::content::{Part, percent, slices_digest};
use super::extents::ExtentList;
use super::jobs::Lane;
use crate::media::build::{BuildOutcome, BuildReport, build_views};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{
    BlobId, ByteRange, Entry, EntryId, EntryKind, ErrorKind, Extent, ExtentSource, FileContent,
    FileState, FsError, FsResult, Views, ViewsState,
};

/// This start of the mapping step of one version leaves the file without views instead: a file
/// that takes the daemon down must not do so for ever.
const LAST_ATTEMPT: u32 = 3;
/// Bytes copied at a time where the tool needs one plain file.
const COPY_BYTES: u64 = 4 << 20;

/// The file that the media tool reads.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Removed when the step ends.
    temporary: bool,
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Shared {
    /// The permit bounds how many films are mapped side by side; sending needs none.
    pub(super) async fn make_views(
        self: &Arc<Self>,
        id: EntryId,
        permit: OwnedSemaphorePermit,
    ) -> FsResult<()> {
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        if self.jobs.is_held(id) || matches!(content.state, FileState::Failed(_)) {
            return Ok(());
        }
        // What was wanted for older bytes of it.
        self.forget_remake(id, |version| version != content.version);
        match &content.views {
            ViewsState::Pending => {
                let state = self.find_views(&entry, content).await?;
                self.set_views(id, content.version, state)?;
                self.wish_for_rendition(id);
                drop(permit);
                self.send_derived(id).await
            }
            views if !views.is_durable() => {
                drop(permit);
                self.send_derived(id).await
            }
            ViewsState::Ready(_) | ViewsState::Unsupported(_) => {
                drop(permit);
                match self.remakes.made(id, content.version) {
                    Some(new) => self.send_remade(id, new).await,
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    async fn find_views(&self, entry: &Entry, content: &FileContent) -> FsResult<ViewsState> {
        if is_subtitle_name(&entry.name) {
            return self.read_subtitle_file(entry, content).await;
        }
        if !media_kind(&entry.name).is_media() {
            return Ok(ViewsState::NotMedia);
        }
        if content.size == 0 {
            return Ok(ViewsState::Unreadable("the file is empty".to_owned()));
        }
        self.jobs.set_progress(Lane::Views, entry.id, "map", 0);
        let source = match self.plain_file(entry, content).await {
            // Its packs hold it whole; only the views have to go without.
            Err(error) if error.kind == ErrorKind::TooLarge => {
                return Ok(ViewsState::Unsupported(error.message));
            }
            source => source?,
        };
        let attempt = self.notes.begin_attempt(entry.id, content.version)?;
        if attempt >= LAST_ATTEMPT {
            return Ok(ViewsState::Unreadable(
                "tgfs ended twice while it made the views; `tgfs retry` tries again".to_owned(),
            ));
        }
        let derived = self.spool.directory().join(format!("{}.derived", entry.id));
        let size = content.size;
        let progress = |done| {
            self.jobs
                .set_progress(Lane::Views, entry.id, "map", percent(done, size));
            self.changed();
        };
        let cuts = self.settings.load().cuts;
        match build_views(&self.tool, &source.path, &derived, &cuts, &progress).await {
            Ok(BuildOutcome::Ready(views, account)) => {
                tell_cuts(entry, &views, &account);
                self.take_derived(entry, &derived, ViewsState::Ready(views))
            }
            Ok(BuildOutcome::Unsupported(reason)) => Ok(ViewsState::Unsupported(reason)),
            Ok(BuildOutcome::Unreadable(reason)) => Ok(ViewsState::Unreadable(reason)),
            Ok(BuildOutcome::NotMedia) => Ok(ViewsState::Unreadable(
                "its name says media, but its bytes are no container that we know".to_owned(),
            )),
            Err(error) if error.is_retryable() => self.failed_attempt(entry.id, attempt, &error),
            Err(error) => Ok(ViewsState::Unreadable(error.to_string())),
        }
    }

    /// A tool that is missing or was stopped leaves the file without views in the end; what has
    /// nothing to do with the file does not count.
    fn failed_attempt(
        &self,
        id: EntryId,
        attempt: u32,
        error: &MediaError,
    ) -> FsResult<ViewsState> {
        let is_the_tools = matches!(
            error.kind,
            MediaErrorKind::ToolMissing | MediaErrorKind::ToolStopped
        );
        if is_the_tools && attempt + 1 >= LAST_ATTEMPT {
            let reason = format!("{error}; `tgfs retry` tries again");
            return Ok(ViewsState::Unreadable(reason));
        }
        if !is_the_tools {
            self.notes.forget_attempts(id);
        }
        Err(FsError::new(ErrorKind::Io, error.to_string()))
    }

    /// The derived file joins the spool; the record beside it says whose it is.
    pub(super) fn take_derived(
        &self,
        entry: &Entry,
        path: &Path,
        state: ViewsState,
    ) -> FsResult<ViewsState> {
        let Some(id) = state.derived().map(|derived| derived.id) else {
            return Ok(state);
        };
        let mut record = entry.clone();
        if let EntryKind::File(content) = &mut record.kind {
            content.views = state.clone();
        }
        self.spool
            .write_record(id, &super::spool_record(&record)?)?;
        self.spool.adopt(id, path)?;
        self.spool.sync_directory()?;
        Ok(state)
    }

    /// Publishes the views, unless the file changed while they were made.
    fn set_views(&self, id: EntryId, version: u64, state: ViewsState) -> FsResult<()> {
        let made = state.derived().map(|derived| derived.id);
        let updated = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(false);
            };
            if content.version != version {
                return Ok(false);
            }
            content.views = state;
            // Here, so that a removal comes before or after both.
            self.set_owned(
                super::owners::Owner::Entry(id),
                super::needed_blobs(content),
            );
            Ok(true)
        });
        // The file changed or went while its views were made: nobody needs them.
        if !matches!(updated, Ok((_, true))) {
            made.into_iter().for_each(|blob| self.orphan(vec![blob]));
        }
        updated?;
        self.changed();
        Ok(())
    }

    async fn send_derived(self: &Arc<Self>, id: EntryId) -> FsResult<()> {
        let content = self.tree.content(id)?;
        let Some(derived) = content.views.derived() else {
            self.publisher.urge();
            return Ok(());
        };
        if self.spool.get(derived.id).is_none() && !content.views.is_durable() {
            // Lost with a part of the spool: made again from the bytes, which are not.
            return self.set_views(id, content.version, ViewsState::Pending);
        }
        let all = vec![ByteRange::new(0, derived.len)];
        let of = Part {
            lane: Lane::Views,
            id,
        };
        self.store_blob(of, derived, all, &mut None).await?;
        self.tree.update(id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind
                && let Some(known) = content.views.derived_mut()
                && known.id == derived.id
            {
                known.slices = self.notes.slices(derived.id)?;
                known.digest = Some(slices_digest(&known.slices));
            }
            Ok(())
        })?;
        self.publisher.urge();
        Ok(())
    }

    /// The file as one plain file: the spool's own where it is that, else a copy.
    pub(super) async fn plain_file(
        &self,
        entry: &Entry,
        content: &FileContent,
    ) -> FsResult<Source> {
        if let [extent] = content.extents.as_slice()
            && let ExtentSource::Blob(blob) = extent.source
            && extent.offset == 0
            && let Some(file) = self.spool.get(blob)
            && std::fs::metadata(&file.path)?.len() == content.size
        {
            return Ok(Source {
                path: file.path.clone(),
                temporary: false,
            });
        }
        // Holes stay holes in the copy, and take no room.
        let is_hole = |extent: &&Extent| extent.source == ExtentSource::Zeros;
        let holes = content.extents.iter().filter(is_hole);
        let taken = content.size - holes.map(|extent| extent.len).sum::<u64>();
        if taken > self.spool.capacity() {
            return Err(FsError::new(
                ErrorKind::TooLarge,
                "the media tool needs a whole copy, and that is larger than the spool can ever take; raise TGFS_SPOOL_SIZE and run `tgfs retry`",
            ));
        }
        if self.spool.free() < taken {
            return Err(FsError::new(
                ErrorKind::NoSpace,
                "the spool has no room for the copy that the media tool needs",
            ));
        }
        let name = format!("{}.whole-{}", entry.id, BlobId::random());
        let source = Source {
            path: self.spool.directory().join(name),
            temporary: true,
        };
        let mut file = tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&source.path)
            .await?;
        let extents = ExtentList::new(content.extents.clone());
        let mut at = 0;
        for extent in &content.extents {
            let end = at + extent.len;
            if extent.source == ExtentSource::Zeros {
                tokio::io::AsyncSeekExt::seek(&mut file, SeekFrom::Start(end)).await?;
                at = end;
            }
            while at < end {
                let part = extents.range(at, COPY_BYTES.min(end - at));
                let bytes = self.reader.read(&part, &content.blobs).await?;
                tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await?;
                at += bytes.len() as u64;
            }
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await?;
        file.set_len(content.size).await?;
        Ok(source)
    }
}

/// The figures that users of the older system look for.
pub(super) fn tell_cuts(entry: &Entry, views: &Views, account: &BuildReport) {
    let Some(track) = views.tracks.first() else {
        return;
    };
    let sizes = || track.segments.iter().map(|segment| segment.size);
    let (segments, total) = (track.segments.len() as u64, sizes().sum::<u64>());
    let encoded = account.reencoded_segments.len() as u64;
    for group in &account.reencoded {
        tracing::info!(
            file = %entry.name.display(),
            start = group.start,
            seconds = group.seconds,
            before = group.before,
            after = group.after,
            ssim = group.likeness,
            "encoded again: it was above MAX_CHUNK_SIZE"
        );
    }
    tracing::info!(
        file = %entry.name.display(),
        segments,
        copied = segments - encoded.min(segments),
        encoded,
        total,
        average = total / segments.max(1),
        largest = sizes().max().unwrap_or_default(),
        older_rule_segments = account.ten_passes.map(|rule| rule.segments),
        older_rule_encoded = account.ten_passes.map(|rule| rule.oversize),
        "{}",
        match encoded {
            0 => "cut; every segment is copied",
            _ => "cut; what was above MAX_CHUNK_SIZE is encoded again",
        }
    );
}
