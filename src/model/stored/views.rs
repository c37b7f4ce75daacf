//! Stored forms of views. Release 0.1.0 wrote variant 2 of their state. Views that know more are
//! later variants, and the record that holds them has a newer schema number.

use serde::{Deserialize, Serialize};

use super::super::{
    AudioRole, Blob, ByteRange, CaptionChannel, DerivedFile, Digest, FilePurpose, InPlace,
    SegmentInfo, Subtitle, SubtitleFormat, SubtitleTexts, Track, TrackKind, Views, ViewsState,
};
use super::blob::BlobV1;
use super::form::{StoredForm, stored_enum, stored_struct};
use super::text::{self, ComponentText, LineText, PathText, QuotedText, TokenText};
use super::{ENTRY_SCHEMA, OLDEST_ENTRY_SCHEMA};

/// Reason of views whose numbers no tgfs can have written.
const UNSOUND: &str = "what is stored of its views is damaged; `tgfs retry` makes them again";
/// Schema number of records with [`ViewsV2`].
const DERIVED_FILES_SCHEMA: u16 = 2;
/// Schema number of records with [`ViewsV3`].
const IN_PLACE_SCHEMA: u16 = 3;

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
            Self::ReadyV4(_) => ENTRY_SCHEMA,
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
        }
    }
}

impl ViewsStateV1 {
    /// Returns the oldest form that holds all that `views` say.
    fn of_views(views: &Views) -> Self {
        let first = ViewsV1::of(views);
        let added = AddedTrackV2::of_all(&views.tracks);
        let purposes = AddedTrackV4::of_all(&views.tracks);
        if !purposes.is_empty() {
            return Self::ReadyV4(Box::new(ViewsV4 {
                second: ViewsV2 {
                    first,
                    added,
                    files: StoredForm::of(&views.files),
                },
                in_place: StoredForm::of(&views.in_place),
                added: purposes,
            }));
        }
        if views.in_place.is_none() && added.is_empty() && views.files.is_empty() {
            return Self::Ready(Box::new(first));
        }
        let second = ViewsV2 {
            first,
            added,
            files: StoredForm::of(&views.files),
        };
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
    /// One for each track, in the same order.
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

/// A [`Track`] as release 0.1.0 wrote it. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackV1 {
    kind: TrackKindV1,
    codec: String,
    timescale: u32,
    init: Vec<u8>,
    language: String,
    title: String,
    default: bool,
    peak_bits: u64,
    average_bits: u64,
    segments: Vec<SegmentInfoV1>,
    frames: Vec<(ByteRange, u32)>,
}

impl TrackV1 {
    fn of(track: &Track) -> Self {
        Self {
            kind: StoredForm::of(&track.kind),
            codec: track.codec.clone(),
            timescale: track.timescale,
            init: track.init.clone(),
            language: track.language.clone(),
            title: track.title.clone(),
            default: track.default,
            peak_bits: track.peak_bits,
            average_bits: track.average_bits,
            segments: StoredForm::of(&track.segments),
            frames: track.frames.clone(),
        }
    }

    fn restore(self) -> Track {
        Track {
            kind: self.kind.restore(),
            codec: text::token(self.codec),
            timescale: self.timescale,
            init: self.init,
            language: text::token(self.language),
            title: text::quoted(self.title),
            default: self.default,
            peak_bits: self.peak_bits,
            average_bits: self.average_bits,
            segments: self.segments.restore(),
            frames: self.frames,
            transport_sizes: Vec::new(),
            first_pictures: Vec::new(),
            role: AudioRole::Main,
            captions: Vec::new(),
        }
    }
}

/// Facts that schema 2 adds to a [`Track`]. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedTrackV2 {
    transport_sizes: Vec<u64>,
    first_pictures: Vec<u64>,
}

impl AddedTrackV2 {
    /// Returns one for each track, or none when no track has anything to add.
    fn of_all(tracks: &[Track]) -> Vec<Self> {
        let is_first_release =
            |track: &Track| track.transport_sizes.is_empty() && track.first_pictures.is_empty();
        if tracks.iter().all(is_first_release) {
            return Vec::new();
        }
        let of = |track: &Track| Self {
            transport_sizes: track.transport_sizes.clone(),
            first_pictures: track.first_pictures.clone(),
        };
        tracks.iter().map(of).collect()
    }
}

/// Facts that schema 4 adds to a [`Track`]. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedTrackV4 {
    role: AudioRoleV4,
    /// Numbers of [`CaptionChannel`].
    captions: Vec<u8>,
}

impl AddedTrackV4 {
    /// Returns one for each track, or none when no track has anything to add.
    fn of_all(tracks: &[Track]) -> Vec<Self> {
        let is_plain = |track: &Track| track.role == AudioRole::Main && track.captions.is_empty();
        if tracks.iter().all(is_plain) {
            return Vec::new();
        }
        let of = |track: &Track| Self {
            role: StoredForm::of(&track.role),
            captions: track.captions.iter().map(|one| one.number()).collect(),
        };
        tracks.iter().map(of).collect()
    }
}

stored_enum!(
    /// An [`AudioRole`]. Append-only: records hold the number of the variant.
    AudioRoleV4 of AudioRole { Main, Commentary, Description, ClearSpeech }
);

/// A [`TrackKind`]. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackKindV1 {
    /// Number 0.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames in 1000 seconds.
        millihertz: u32,
        /// `SDR`, `PQ` or `HLG`.
        range: String,
    },
    /// Number 1.
    Audio {
        /// Number of channels.
        channels: u16,
        /// Samples a second.
        sample_rate: u32,
    },
}

impl StoredForm<TrackKind> for TrackKindV1 {
    fn of(kind: &TrackKind) -> Self {
        match kind.clone() {
            TrackKind::Video {
                width,
                height,
                millihertz,
                range,
            } => Self::Video {
                width,
                height,
                millihertz,
                range,
            },
            TrackKind::Audio {
                channels,
                sample_rate,
            } => Self::Audio {
                channels,
                sample_rate,
            },
        }
    }
    fn restore(self) -> TrackKind {
        match self {
            Self::Video {
                width,
                height,
                millihertz,
                range,
            } => TrackKind::Video {
                width,
                height,
                millihertz,
                range: match range.as_str() {
                    "SDR" | "PQ" | "HLG" => range,
                    _ => "SDR".to_owned(),
                },
            },
            Self::Audio {
                channels,
                sample_rate,
            } => TrackKind::Audio {
                channels,
                sample_rate,
            },
        }
    }
}

stored_struct!(
    /// A [`SegmentInfo`]. Frozen.
    SegmentInfoV1 of SegmentInfo {
        duration: u32,
        size: u64,
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
