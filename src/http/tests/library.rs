//! A library in memory whose remote can be made to fail.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::http::library::Library;
use crate::model::{
    AttachState, CacheStats, ChapterInfo, Digest, EntryId, ErrorKind, FileInfo, FsError, FsResult,
    Ino, JobInfo, PendingInfo, Pieces, PublicState, StoreStatus, SubtitleInfo, Timestamp,
    TreeKnowledge, TreePath,
};
use crate::vfs::{Attr, DirEntry, FileKind, HandleId, Resource};

/// Returns the id of the video.
pub fn film_id() -> EntryId {
    EntryId::from_bytes([7; 16])
}

/// Returns the id of a file that no player can play.
pub fn plain_id() -> EntryId {
    EntryId::from_bytes([8; 16])
}

/// Returns the id of the directory of both.
pub fn folder_id() -> EntryId {
    EntryId::from_bytes([9; 16])
}

pub const FILM: &str = "/Films/Heat (1995).mkv";
pub const PLAIN: &str = "/Films/torn.mkv";
pub const MODIFIED: i64 = 1_000_000_000;

/// Bytes that depend on their position.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[derive(Default)]
pub struct Scripted {
    files: BTreeMap<Vec<u8>, Bytes>,
    handles: Mutex<BTreeMap<u64, Bytes>>,
    next: AtomicU64,
    /// Position from which reads fail; 0 means that the remote is down.
    pub fails_from: Mutex<Option<u64>>,
    pub cleared: Mutex<Vec<Option<EntryId>>>,
    /// Modes that differ from 0644 and 0755, by path.
    pub modes: Mutex<BTreeMap<Vec<u8>, u32>>,
    /// `None` means that the store is reachable.
    pub store: Mutex<Option<StoreStatus>>,
}

impl Scripted {
    pub fn new(files: &[(&[u8], Vec<u8>)]) -> Self {
        let files = files
            .iter()
            .map(|(path, bytes)| (path.to_vec(), Bytes::from(bytes.clone())))
            .collect();
        Self {
            files,
            ..Self::default()
        }
    }
    pub fn open_handles(&self) -> usize {
        self.handles.lock().unwrap().len()
    }
    fn children(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let prefix = if directory == b"/" {
            b"/".to_vec()
        } else {
            [directory, b"/"].concat()
        };
        let mut names: Vec<Vec<u8>> = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(prefix.as_slice()))
            .filter_map(|rest| rest.split(|&byte| byte == b'/').next())
            .map(<[u8]>::to_vec)
            .collect();
        names.dedup();
        names
    }
    fn attr(kind: FileKind, size: u64) -> Attr {
        let time = Timestamp {
            seconds: MODIFIED,
            nanos: 5,
        };
        Attr {
            ino: Ino(5),
            id: None,
            kind,
            size,
            blocks: 0,
            mode: match kind {
                FileKind::File => 0o644,
                FileKind::Directory => 0o755,
            },
            nlink: 1,
            uid: 0,
            gid: 0,
            atime: time,
            mtime: time,
            ctime: time,
            created: time,
        }
    }
    fn opened(&self, path: &TreePath) -> FsResult<Resource> {
        let bytes = self
            .files
            .get(&path.to_bytes())
            .ok_or(ErrorKind::NotFound)?;
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles.lock().unwrap().insert(handle, bytes.clone());
        Ok(Resource {
            attr: Self::attr(FileKind::File, bytes.len() as u64),
            etag: Digest::of(bytes).to_string()[..16].to_owned(),
            lasting: if path.to_bytes().ends_with(b"master.m3u8") {
                crate::vfs::Lasting::Changes
            } else {
                crate::vfs::Lasting::AsLongAsTheMap
            },
            handle: HandleId(handle),
            view: path
                .display()
                .strip_prefix(&format!("/.hls{FILM}/"))
                .map(str::to_owned),
        })
    }
    fn film() -> FileInfo {
        FileInfo {
            id: film_id().to_string(),
            path: FILM.to_owned(),
            path_bytes: None,
            size: 1000,
            state: PublicState::Stored,
            progress: 100,
            upload: None,
            error: None,
            duration: Some(10_200.0),
            resolution: Some((1920, 800)),
            bitrate: Some(8_000_000),
            codecs: vec!["avc1.640028".to_owned(), "mp4a.40.2".to_owned()],
            segments: 2,
            derived: None,
            subtitles: vec![SubtitleInfo {
                key: "eng".to_owned(),
                language: "en".to_owned(),
                title: "English".to_owned(),
                forced: false,
                default: true,
                hearing_impaired: false,
                file: None,
                formats: vec!["srt".to_owned(), "vtt".to_owned()],
            }],
            chapters: vec![ChapterInfo {
                start: 0.0,
                end: 5.0,
                title: "Opening".to_owned(),
            }],
            created: MODIFIED,
            modified: MODIFIED,
            slug: Some("heat-1995".to_owned()),
            has_views: true,
            has_thumbnails: false,
            is_private: false,
        }
    }
    fn known(id: EntryId) -> FsResult<()> {
        if id == film_id() {
            Ok(())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }
}

#[async_trait]
impl Library for Scripted {
    fn resolve(&self, path: &TreePath) -> FsResult<Attr> {
        let path = path.to_bytes();
        let mut attr = if let Some(bytes) = self.files.get(&path) {
            Self::attr(FileKind::File, bytes.len() as u64)
        } else if path == FILM.as_bytes() || path == PLAIN.as_bytes() {
            Self::attr(FileKind::File, 1000)
        } else if path == b"/" || path == b"/Films" || !self.children(&path).is_empty() {
            Self::attr(FileKind::Directory, 0)
        } else {
            return Err(ErrorKind::NotFound.into());
        };
        if let Some(mode) = self.modes.lock().unwrap().get(&path) {
            attr.mode = *mode;
        }
        Ok(attr)
    }
    fn read_directory(
        &self,
        directory: &TreePath,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        for (cookie, name) in (1..).zip(self.children(&directory.to_bytes())) {
            let entry = DirEntry {
                cookie,
                name,
                ino: Ino(5),
                kind: FileKind::File,
            };
            if cookie > after && visit(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }
    fn open_view(&self, film: EntryId, digits: &str, path: &str) -> FsResult<Resource> {
        if digits != &self.map_digest(film)?.to_string()[..16] {
            return Err(ErrorKind::NotFound.into());
        }
        let path = format!("/.hls{FILM}/{path}");
        self.opened(&TreePath::parse(path.as_bytes())?)
    }
    async fn open(&self, path: &TreePath) -> FsResult<Resource> {
        self.opened(path)
    }
    async fn read_pieces(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces> {
        if self
            .fails_from
            .lock()
            .unwrap()
            .is_some_and(|from| offset + len > from)
        {
            return Err(FsError::new(
                ErrorKind::RemoteUnavailable,
                "the remote does not answer",
            ));
        }
        let bytes = self.handles.lock().unwrap()[&handle.0].clone();
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = usize::try_from(offset + len).unwrap().min(bytes.len());
        // The bytes come in two pieces, as if from two blocks.
        let middle = start.midpoint(end);
        let mut pieces = Pieces::from(bytes.slice(start..middle));
        pieces.push(bytes.slice(middle..end));
        Ok(pieces)
    }
    fn release(&self, handle: HandleId) {
        assert!(self.handles.lock().unwrap().remove(&handle.0).is_some());
    }
    fn path_of(&self, id: EntryId) -> FsResult<TreePath> {
        let path = match id {
            id if id == film_id() => FILM,
            id if id == plain_id() => PLAIN,
            id if id == EntryId::ROOT => "/",
            id if id == folder_id() => "/Films",
            _ => return Err(ErrorKind::NotFound.into()),
        };
        Ok(TreePath::parse(path.as_bytes())?)
    }
    fn by_slug(&self, slug: &str) -> FsResult<EntryId> {
        if slug == "heat-1995" {
            Ok(film_id())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }
    fn info(&self, id: EntryId) -> FsResult<FileInfo> {
        if id == plain_id() {
            return Ok(FileInfo {
                state: PublicState::Plain,
                error: Some("no frame in it".to_owned()),
                has_views: false,
                has_thumbnails: false,
                is_private: false,
                ..Self::film()
            });
        }
        Self::known(id)?;
        Ok(Self::film())
    }
    fn list(&self) -> FsResult<Vec<FileInfo>> {
        Ok(vec![Self::film()])
    }
    fn map_digest(&self, id: EntryId) -> FsResult<Digest> {
        Self::known(id)?;
        Ok(Digest([0xab; 32]))
    }
    fn jobs(&self) -> FsResult<Vec<JobInfo>> {
        Ok(Vec::new())
    }
    fn pending(&self) -> FsResult<PendingInfo> {
        Ok(PendingInfo::default())
    }
    fn store_status(&self) -> StoreStatus {
        self.store.lock().unwrap().clone().unwrap_or(StoreStatus {
            state: AttachState::Attached,
            problem: None,
            troubles: Vec::new(),
            tree: TreeKnowledge::Complete,
        })
    }
    fn is_loading(&self) -> bool {
        self.store_status().state == AttachState::Filling
    }
    async fn until_loaded(&self) {}
    fn revision(&self) -> u64 {
        1
    }
    fn cache_stats(&self) -> CacheStats {
        CacheStats {
            hits: 3,
            ..CacheStats::default()
        }
    }
    fn cache_clear(&self, id: Option<EntryId>) -> FsResult<u64> {
        self.cleared.lock().unwrap().push(id);
        Ok(42)
    }
}
