//! The files that a request names, and the reasons why it ends early.

use tokio::sync::mpsc::Sender;

use super::wire::{Response, WirePath};
use crate::model::{EntryId, ErrorKind, FsError, TreePath};
use crate::vfs::{FileKind, Vfs};

/// Reason why an execution ended early.
pub(super) enum Stop {
    /// An error for the client.
    Failed(String),
    /// The client has gone.
    Gone,
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// Finds a file by its path, or else by its id or slug.
pub(super) fn find(vfs: &Vfs, target: &WirePath) -> Result<TreePath, FsError> {
    let missing = match target.to_tree_path() {
        Ok(path) => match vfs.resolve(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind == ErrorKind::NotFound => FsError::new(
                ErrorKind::NotFound,
                format!("{}: no such file", path.display()),
            ),
            Err(error) => return Err(error),
        },
        Err(error) => error,
    };
    let Ok(text) = std::str::from_utf8(target.as_bytes()) else {
        return Err(missing);
    };
    let by_id = text
        .parse::<EntryId>()
        .ok()
        .and_then(|id| vfs.path_of(id).ok());
    by_id
        .or_else(|| vfs.path_of(vfs.by_slug(text).ok()?).ok())
        .ok_or(missing)
}

/// Does the same as [`find`], for a file alone.
pub(super) fn find_file(vfs: &Vfs, target: &WirePath) -> Result<EntryId, FsError> {
    let path = find(vfs, target)?;
    file_id(vfs, &path)
}

/// Adds the path to an error of one word. Other errors name it themselves.
pub(super) fn named(error: FsError, path: &str) -> FsError {
    if !error.message.is_empty() {
        return error;
    }
    let text = match error.kind {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::IsDirectory => "is a directory; name a file in it".to_owned(),
        ErrorKind::ReadOnly => {
            "cannot be changed: views and a read-only library are fixed".to_owned()
        }
        ErrorKind::NoSpace => "the spool is full; wait for uploads, or free disk space".to_owned(),
        kind => kind.describe().to_owned(),
    };
    FsError::new(error.kind, format!("{path}: {text}"))
}

/// Returns the file at a path. Views belong to a file, but are none.
pub(super) fn file_id(vfs: &Vfs, path: &TreePath) -> Result<EntryId, FsError> {
    let attr = vfs.resolve(path)?;
    let shown = path.display();
    match (attr.kind, attr.id) {
        (FileKind::Directory, _) => Err(FsError::new(
            ErrorKind::IsDirectory,
            format!("{shown}: is a directory; name a file in it"),
        )),
        (FileKind::File, Some(id)) => Ok(id),
        (FileKind::File, None) => Err(FsError::new(
            ErrorKind::NotFound,
            format!("{shown}: belongs to no stored file"),
        )),
    }
}

/// Sends one answer.
pub(super) async fn tell(out: &Sender<Response>, response: Response) -> Result<(), Stop> {
    out.send(response).await.map_err(|_| Stop::Gone)
}

/// Runs index work that may take long away from the tasks of other connections.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Stop>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, FsError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Stop::Failed(format!("the work ended early: {error}"))),
    }
}
