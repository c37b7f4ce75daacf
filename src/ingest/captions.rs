//! The texts of a user's subtitle file, beside its bytes: a small derived blob, for the playlist of
//! the film that it lies beside.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Shared;
use crate::media::subtitles::{self, Read};
use crate::model::{
    Blob, BlobId, Captions, Entry, ErrorKind, FileContent, FsError, FsResult, ViewsState,
};

impl Shared {
    /// A file that is no subtitles, or has none that can be read, is stored all the same, with the
    /// reason.
    pub(super) async fn find_captions(
        &self,
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
        let source = match self.plain_file(entry, content).await {
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
            // A reader that trips over a file must not do so again and again.
            Err(_) => return refused("tgfs failed to read them"),
        };
        match read {
            Ok(read) => self.keep_captions(entry, read).await,
            Err(reason) => refused(&reason),
        }
    }

    async fn keep_captions(&self, entry: &Entry, read: Read) -> FsResult<ViewsState> {
        let id = BlobId::random();
        // One job makes them, so what a crash left under this name is written over.
        let path = self.spool.directory().join(format!("{}.derived", entry.id));
        let state = ViewsState::Captions(Box::new(Captions {
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
            Err(error) => return Err(FsError::new(ErrorKind::Io, error.to_string())),
        }
        self.take_derived(entry, &path, state)
    }
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
