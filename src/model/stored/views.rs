//! Stored forms of views. Release 0.1.0 wrote variant 2 of their state. Views that know more are
//! later variants, and the record that holds them has a newer schema number.

use serde::{Deserialize, Serialize};

use super::super::{
    Blob, ByteRange, CaptionChannel, Chapter, DerivedFile, Digest, FilePurpose, InPlace,
    MAX_CHAPTERS, Subtitle, SubtitleFormat, SubtitleTexts, Views, ViewsState,
};
use super::blob::BlobV1;
use super::form::{StoredForm, stored_enum, stored_struct};
use super::text::{self, ComponentText, LineText, PathText, QuotedText, TokenText};
use super::track::{AddedTrackV2, AddedTrackV4, TrackV1};
use super::{ENTRY_SCHEMA, OLDEST_ENTRY_SCHEMA};

/// Reason of views whose numbers no tgfs can have written.
const UNSOUND: &str = "what is stored of its views is damaged; `tgfs retry` makes them again";
/// Schema number of records with [`ViewsV2`].
const DERIVED_FILES_SCHEMA: u16 = 2;
/// Schema number of records with [`ViewsV3`].
const IN_PLACE_SCHEMA: u16 = 3;
/// Schema number of records with [`ViewsV4`].
const PURPOSES_SCHEMA: u16 = 4;

/// A [`ViewsState`]. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewsStateV1 {
    /// Number 0.
    Pending,
    /// Number 1.
    NotMedia,
    /// Number 2.
    Ready(Box<ViewsV1>),
    /// Number 3.
    Unsupported(String),
    /// Number 4.
    Unreadable(String),
    /// Number 5, since schema 2.
    ReadyV2(Box<ViewsV2>),
    /// Number 6, since schema 3.
    Subtitles(Box<SubtitleTextsV3>),
    /// Number 7, since schema 3.
    InPlace(Box<ViewsV3>),
    /// Number 8, since schema 4.
    ReadyV4(Box<ViewsV4>),
    /// Number 9, since schema 5.
    ReadyV5(Box<ViewsV5>),
}

impl ViewsStateV1 {
    /// Returns the schema number of a record that holds this state. It is the oldest one that can, so
    /// older releases can read the record.
    #[must_use]
    pub const fn schema(&self) -> u16 {
        match self {
            Self::Pending
            | Self::NotMedia
            | Self::Ready(_)
            | Self::Unsupported(_)
            | Self::Unreadable(_) => OLDEST_ENTRY_SCHEMA,
            Self::ReadyV2(_) => DERIVED_FILES_SCHEMA,
            Self::Subtitles(_) | Self::InPlace(_) => IN_PLACE_SCHEMA,
            Self::ReadyV4(_) => PURPOSES_SCHEMA,
            Self::ReadyV5(_) => ENTRY_SCHEMA,
        }
    }
}

impl StoredForm<ViewsState> for ViewsStateV1 {
    fn of(state: &ViewsState) -> Self {
        match state {
            ViewsState::Pending => Self::Pending,
            ViewsState::NotMedia => Self::NotMedia,
            ViewsState::Unsupported(reason) => Self::Unsupported(reason.clone()),
            ViewsState::Unreadable(reason) => Self::Unreadable(reason.clone()),
            ViewsState::Subtitles(texts) => Self::Subtitles(StoredForm::of(texts)),
            ViewsState::Ready(views) => Self::of_views(views),
        }
    }

    fn restore(self) -> ViewsState {
        let ready = |views: Views| match views.is_sound() {
            true => ViewsState::Ready(Box::new(views)),
            false => ViewsState::Unreadable(UNSOUND.to_owned()),
        };
        match self {
            Self::Pending => ViewsState::Pending,
            Self::NotMedia => ViewsState::NotMedia,
            Self::Ready(views) => ready(views.restore()),
            Self::Unsupported(reason) => ViewsState::Unsupported(text::line(reason)),
            Self::Unreadable(reason) => ViewsState::Unreadable(text::line(reason)),
            Self::ReadyV2(views) => ready(views.restore()),
            Self::Subtitles(texts) => {
                let texts: Box<SubtitleTexts> = texts.restore();
                match texts.is_sound() {
                    true => ViewsState::Subtitles(texts),
                    false => ViewsState::Unreadable(UNSOUND.to_owned()),
                }
            }
            Self::InPlace(views) => ready(views.restore()),
            Self::ReadyV4(views) => ready(views.restore()),
            Self::ReadyV5(views) => ready(views.restore()),
        }
    }
}

impl ViewsStateV1 {
    /// Returns the oldest form that holds all that `views` say.
    fn of_views(views: &Views) -> Self {
        let first = ViewsV1::of(views);
        let added = AddedTrackV2::of_all(&views.tracks);
        let purposes = AddedTrackV4::of_all(&views.tracks);
        let is_first_release = purposes.is_empty()
            && views.chapters.is_empty()
            && views.in_place.is_none()
            && added.is_empty()
            && views.files.is_empty();
        if is_first_release {
            return Self::Ready(Box::new(first));
        }
        let second = ViewsV2 {
            first,
            added,
            files: StoredForm::of(&views.files),
        };
        if !purposes.is_empty() || !views.chapters.is_empty() {
            let fourth = ViewsV4 {
                second,
                in_place: StoredForm::of(&views.in_place),
                added: purposes,
            };
            return match views.chapters.as_slice() {
                [] => Self::ReadyV4(Box::new(fourth)),
                _ => Self::ReadyV5(Box::new(ViewsV5 {
                    fourth,
                    chapters: StoredForm::of(&views.chapters),
                })),
            };
        }
        match &views.in_place {
            None => Self::ReadyV2(Box::new(second)),
            Some(in_place) => Self::InPlace(Box::new(ViewsV3 {
                second,
                in_place: StoredForm::of(in_place),
            })),
        }
    }
}

/// [`Views`] as release 0.1.0 wrote them. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsV1 {
    derived: BlobV1,
    map: ByteRange,
    map_digest: Digest,
    layout: u16,
    origin_seconds: u32,
    duration_ms: u64,
    independent_segments: bool,
    tracks: Vec<TrackV1>,
    subtitles: Vec<SubtitleV1>,
    note: Option<String>,
}

impl ViewsV1 {
    fn of(views: &Views) -> Self {
        Self {
            derived: StoredForm::<Blob>::of(&views.derived),
            map: views.map,
            map_digest: views.map_digest,
            layout: views.layout,
            origin_seconds: views.origin_seconds,
            duration_ms: views.duration_ms,
            independent_segments: views.independent_segments,
            tracks: views.tracks.iter().map(TrackV1::of).collect(),
            subtitles: StoredForm::of(&views.subtitles),
            note: views.note.clone(),
        }
    }

    fn restore(self) -> Views {
        Views {
            derived: self.derived.restore(),
            map: self.map,
            map_digest: self.map_digest,
            layout: self.layout,
            origin_seconds: self.origin_seconds,
            duration_ms: self.duration_ms,
            independent_segments: self.independent_segments,
            tracks: self.tracks.into_iter().map(TrackV1::restore).collect(),
            subtitles: self.subtitles.restore(),
            note: self.note.map(text::line),
            files: Vec::new(),
            chapters: Vec::new(),
            in_place: None,
        }
    }
}

/// [`Views`] with sizes of segments as MPEG-TS, first pictures and derived files. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsV2 {
    first: ViewsV1,
    /// One for each track, in the same order; empty when no track has anything to add.
    added: Vec<AddedTrackV2>,
    files: Vec<DerivedFileV2>,
}

impl ViewsV2 {
    fn restore(self) -> Views {
        let mut views = self.first.restore();
        for (track, added) in views.tracks.iter_mut().zip(self.added) {
            track.transport_sizes = added.transport_sizes;
            track.first_pictures = added.first_pictures;
        }
        views.files = self.files.restore();
        views
    }
}

/// [`Views`] whose segments are ranges of the file. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsV3 {
    second: ViewsV2,
    in_place: InPlaceV3,
}

impl ViewsV3 {
    fn restore(self) -> Views {
        Views {
            in_place: Some(self.in_place.restore()),
            ..self.second.restore()
        }
    }
}

/// [`Views`] that know purposes of audio and captions in pictures. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsV4 {
    second: ViewsV2,
    in_place: Option<InPlaceV3>,
    /// One for each track, in the same order; empty when no track has anything to add.
    added: Vec<AddedTrackV4>,
}

impl ViewsV4 {
    fn restore(self) -> Views {
        let mut views = self.second.restore();
        views.in_place = self.in_place.restore();
        for (track, added) in views.tracks.iter_mut().zip(self.added) {
            track.role = added.role.restore();
            let captions = added.captions.into_iter();
            track.captions = captions.filter_map(CaptionChannel::from_number).collect();
            track.captions.sort_unstable();
            track.captions.dedup();
        }
        views
    }
}

/// [`Views`] that know chapters. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsV5 {
    fourth: ViewsV4,
    chapters: Vec<ChapterV5>,
}

impl ViewsV5 {
    /// Chapters that no tgfs can have written are left out: nothing else depends on them.
    fn restore(self) -> Views {
        let chapters: Vec<Chapter> = self.chapters.restore();
        let mut end = 0;
        let follows = |one: &Chapter| {
            let follows = end <= one.start_ms && one.start_ms < one.end_ms;
            end = if follows { one.end_ms } else { end };
            follows
        };
        let sound = chapters.into_iter().take(MAX_CHAPTERS).filter(follows);
        Views {
            chapters: sound.collect(),
            ..self.fourth.restore()
        }
    }
}

stored_struct!(
    /// A [`Chapter`]. Frozen.
    ChapterV5 of Chapter {
        start_ms: u64,
        end_ms: u64,
        title: LineText,
    }
);

stored_struct!(
    /// A [`Subtitle`]. Frozen.
    SubtitleV1 of Subtitle {
        key: ComponentText,
        language: TokenText,
        title: QuotedText,
        default: bool,
        forced: bool,
        hearing_impaired: bool,
        texts: Vec<(SubtitleFormatV1, ByteRange)>,
        segments: Vec<ByteRange>,
    }
);

stored_enum!(
    /// A [`SubtitleFormat`]. Append-only: records hold the number of the variant.
    SubtitleFormatV1 of SubtitleFormat { Srt, Vtt, Ass }
);

stored_struct!(
    /// A [`DerivedFile`]. Frozen.
    DerivedFileV2 of DerivedFile {
        path: PathText,
        purpose: FilePurposeV2,
        range: ByteRange,
    }
);

stored_enum!(
    /// A [`FilePurpose`]. Append-only: records hold the number of the variant.
    FilePurposeV2 of FilePurpose { Picture, Subtitle, Font }
);

stored_struct!(
    /// An [`InPlace`]. Frozen.
    InPlaceV3 of InPlace {
        offset: u64,
        stride: u16,
        tables: Vec<u8>,
        counters: Vec<u8>,
        kept: Vec<u16>,
        inside: u32,
        zero: u64,
    }
);

stored_struct!(
    /// [`SubtitleTexts`]. Frozen.
    SubtitleTextsV3 of SubtitleTexts {
        derived: BlobV1,
        texts: Vec<(SubtitleFormatV1, ByteRange)>,
        encoding: TokenText,
        cues: u32,
        note: Option<LineText>,
    }
);
