//! Reading of a user's subtitle file. Its texts become a small derived blob, which the film beside the
//! file shows in its playlist.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::views::files::ToolFiles;
use crate::media::subtitles::{self, SubtitleFileContent};
use crate::model::{
    Blob, BlobId, Entry, ErrorKind, FileContent, FsError, FsResult, SubtitleTexts, ViewsState,
};

/// Reads the texts of a subtitle file. A file that cannot be read is still stored, with the reason.
/// Reasons are stored, so their texts are frozen.
///
/// # Errors
/// When the file's bytes, or the spool, cannot be read or written.
pub async fn read_subtitle_file(
    files: &ToolFiles,
    entry: &Entry,
    content: &FileContent,
) -> FsResult<ViewsState> {
    let refused = |reason: &str| Ok(ViewsState::Unsupported(format!("no subtitles: {reason}")));
    if content.size == 0 {
        return refused("the file is empty");
    }
    if content.size > subtitles::MAX_FILE {
        return refused("the file is larger than subtitles ever are");
    }
    let source = match files.input(entry, content).await {
        Err(error) if error.kind == ErrorKind::TooLarge => return refused(&error.message),
        source => source?,
    };
    let path = source.path.clone();
    let name = entry.name.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(path)?;
        Ok::<_, std::io::Error>(subtitles::read(&name, &bytes))
    });
    let read = match reading.await {
        Ok(read) => read?,
        // The reader panicked, and would panic again in a retry.
        Err(_) => return refused("tgfs failed to read them"),
    };
    match read {
        Ok(read) => keep_texts(files, entry, read).await,
        Err(error) => refused(&error.to_string()),
    }
}

async fn keep_texts(
    files: &ToolFiles,
    entry: &Entry,
    read: SubtitleFileContent,
) -> FsResult<ViewsState> {
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
    match writing.await {
        Ok(written) => written?,
        Err(error) => return Err(FsError::caused_by(ErrorKind::Io, error)),
    }
    files.take_derived(entry, &path, state)
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
