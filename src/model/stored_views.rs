//! How [`ViewsState`] stands in records. What the first release wrote is variant 2; views that know
//! more are variants behind all others, and make the record that holds them one of a newer schema.
//! So do the texts of a subtitle file.

use serde::{Deserialize, Serialize};

use super::entry::ViewsState;
use super::in_place::InPlace;
use super::views::{AddedFile, AddedTrack, Subtitle, Track, Views};
use super::{Blob, ByteRange, Change, Digest, Entry, EntryKind, FileContent, SubtitleTexts};

/// Newest schema of records that hold a [`ViewsState`], and the oldest that is read.
pub const VIEWS_SCHEMA: u16 = 3;
pub const OLDEST_VIEWS_SCHEMA: u16 = 1;
/// Of records with added tracks and files.
const ADDED_SCHEMA: u16 = 2;
/// Of records with the texts of a subtitle file.
const SUBTITLES_SCHEMA: u16 = 3;

#[derive(Serialize, Deserialize)]
pub(super) enum StoredViewsState {
    Pending,
    NotMedia,
    Ready(Box<ViewsV1>),
    Unsupported(String),
    Unreadable(String),
    ReadyV2(Box<ViewsV2>),
    Subtitles(Box<SubtitleTexts>),
    InPlace(Box<ViewsV3>),
}

/// Frozen.
#[derive(Serialize, Deserialize)]
pub(super) struct ViewsV1 {
    derived: Blob,
    map: ByteRange,
    map_digest: Digest,
    layout: u16,
    origin_seconds: u32,
    duration_ms: u64,
    independent_segments: bool,
    tracks: Vec<Track>,
    subtitles: Vec<Subtitle>,
    note: Option<String>,
}

/// Frozen.
#[derive(Serialize, Deserialize)]
pub(super) struct ViewsV2 {
    first: ViewsV1,
    added: Vec<AddedTrack>,
    files: Vec<AddedFile>,
}

/// Frozen.
#[derive(Serialize, Deserialize)]
pub(super) struct ViewsV3 {
    second: ViewsV2,
    in_place: InPlace,
}

impl ViewsV1 {
    fn with(self, added: Vec<AddedTrack>, files: Vec<AddedFile>) -> Views {
        Views {
            derived: self.derived,
            map: self.map,
            map_digest: self.map_digest,
            layout: self.layout,
            origin_seconds: self.origin_seconds,
            duration_ms: self.duration_ms,
            independent_segments: self.independent_segments,
            tracks: self.tracks,
            subtitles: self.subtitles,
            note: self.note,
            added,
            files,
            in_place: None,
        }
    }
}

fn ready(views: Views) -> ViewsState {
    ViewsState::Ready(Box::new(views))
}

impl From<StoredViewsState> for ViewsState {
    fn from(stored: StoredViewsState) -> Self {
        match stored {
            StoredViewsState::Pending => Self::Pending,
            StoredViewsState::NotMedia => Self::NotMedia,
            StoredViewsState::Ready(views) => ready(views.with(Vec::new(), Vec::new())),
            StoredViewsState::Unsupported(reason) => Self::Unsupported(reason),
            StoredViewsState::Unreadable(reason) => Self::Unreadable(reason),
            StoredViewsState::ReadyV2(views) => ready(views.first.with(views.added, views.files)),
            StoredViewsState::Subtitles(texts) => Self::Subtitles(texts),
            StoredViewsState::InPlace(views) => {
                let second = views.second;
                ready(Views {
                    in_place: Some(views.in_place),
                    ..second.first.with(second.added, second.files)
                })
            }
        }
    }
}

impl From<ViewsState> for StoredViewsState {
    fn from(state: ViewsState) -> Self {
        match state {
            ViewsState::Pending => Self::Pending,
            ViewsState::NotMedia => Self::NotMedia,
            ViewsState::Unsupported(reason) => Self::Unsupported(reason),
            ViewsState::Unreadable(reason) => Self::Unreadable(reason),
            ViewsState::Subtitles(texts) => Self::Subtitles(texts),
            ViewsState::Ready(views) => {
                let (added, files, in_place) = (views.added, views.files, views.in_place);
                let first = ViewsV1 {
                    derived: views.derived,
                    map: views.map,
                    map_digest: views.map_digest,
                    layout: views.layout,
                    origin_seconds: views.origin_seconds,
                    duration_ms: views.duration_ms,
                    independent_segments: views.independent_segments,
                    tracks: views.tracks,
                    subtitles: views.subtitles,
                    note: views.note,
                };
                if in_place.is_none() && added.is_empty() && files.is_empty() {
                    return Self::Ready(Box::new(first));
                }
                let second = ViewsV2 {
                    first,
                    added,
                    files,
                };
                match in_place {
                    None => Self::ReadyV2(Box::new(second)),
                    Some(in_place) => Self::InPlace(Box::new(ViewsV3 { second, in_place })),
                }
            }
        }
    }
}

impl ViewsState {
    /// The schema of a record that holds it: the oldest that can, so that what an older release
    /// made stays readable to it.
    #[must_use]
    pub fn schema(&self) -> u16 {
        match self {
            Self::Ready(views) if views.in_place.is_some() => VIEWS_SCHEMA,
            Self::Ready(views) if !(views.added.is_empty() && views.files.is_empty()) => {
                ADDED_SCHEMA
            }
            Self::Subtitles(_) => SUBTITLES_SCHEMA,
            _ => OLDEST_VIEWS_SCHEMA,
        }
    }
}

impl FileContent {
    #[must_use]
    pub fn schema(&self) -> u16 {
        self.views.schema()
    }
}

impl Entry {
    #[must_use]
    pub fn schema(&self) -> u16 {
        match &self.kind {
            EntryKind::Directory => OLDEST_VIEWS_SCHEMA,
            EntryKind::File(content) => content.schema(),
        }
    }
}

impl Change {
    #[must_use]
    pub fn schema(&self) -> u16 {
        match self {
            Self::Put(entry) => entry.schema(),
            Self::Remove { .. } => OLDEST_VIEWS_SCHEMA,
        }
    }
}
