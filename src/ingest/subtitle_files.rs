//! Reading of a user's subtitle file. Its texts become a small derived blob, which the film beside the
//! file shows in its playlist.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::views::files::{ToolFiles, ToolInput};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::subtitles::{self, SubtitleFileContent};
use crate::model::{Blob, BlobId, Entry, Name, SubtitleTexts, ViewsState};

/// Returns the views of a subtitle file that is not read at all; `None` for all other files. Reasons are
/// stored, so their texts are frozen.
#[must_use]
pub fn refusal(name: &Name, size: u64) -> Option<ViewsState> {
    if !subtitles::is_subtitle_name(name) {
        return None;
    }
    match size {
        0 => Some(refused("the file is empty")),
        1..=subtitles::MAX_FILE => None,
        _ => Some(refused("the file is larger than subtitles ever are")),
    }
}

fn refused(reason: &str) -> ViewsState {
    ViewsState::Unsupported(format!("no subtitles: {reason}"))
}

/// Reads the texts of a subtitle file. A file that cannot be read is still stored, with the reason.
///
/// # Errors
/// When the file's bytes, or the spool, cannot be read or written.
pub async fn read_subtitle_file(
    files: &ToolFiles,
    entry: &Entry,
    source: &ToolInput,
) -> Result<ViewsState, MediaError> {
    match subtitles::read_file(entry.name.clone(), source.path.clone()).await? {
        Ok(read) => keep_texts(files, entry, read).await,
        Err(error) => Ok(refused(&error.to_string())),
    }
}

async fn keep_texts(
    files: &ToolFiles,
    entry: &Entry,
    read: SubtitleFileContent,
) -> Result<ViewsState, MediaError> {
    let io = |error: String| MediaError::new(MediaErrorKind::Io, error);
    let id = BlobId::random();
    let path = files.derived_path(entry);
    let state = ViewsState::Subtitles(Box::new(SubtitleTexts {
        derived: Blob {
            id,
            len: read.bytes.len() as u64,
            digest: None,
            slices: Vec::new(),
        },
        texts: read.texts,
        encoding: read.encoding.to_owned(),
        cues: read.cues,
        note: read.note,
    }));
    let made = path.clone();
    let writing = tokio::task::spawn_blocking(move || write(&made, &read.bytes));
    writing.await.map_err(|error| io(error.to_string()))??;
    let taken = files.take_derived(entry, &path, state);
    taken.map_err(|error| io(error.to_string()))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}
