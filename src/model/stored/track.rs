//! Stored forms of tracks, which are parts of views.

use serde::{Deserialize, Serialize};

use super::super::{AudioRole, ByteRange, SegmentInfo, Track, TrackKind};
use super::form::{StoredForm, stored_enum, stored_struct};
use super::text;

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
    pub(super) fn of(track: &Track) -> Self {
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

    pub(super) fn restore(self) -> Track {
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
    pub(super) transport_sizes: Vec<u64>,
    pub(super) first_pictures: Vec<u64>,
}

impl AddedTrackV2 {
    /// Returns one for each track, or none when no track has anything to add.
    pub(super) fn of_all(tracks: &[Track]) -> Vec<Self> {
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
    pub(super) role: AudioRoleV4,
    /// Numbers of [`CaptionChannel`](super::super::CaptionChannel).
    pub(super) captions: Vec<u8>,
}

impl AddedTrackV4 {
    /// Returns one for each track, or none when no track has anything to add.
    pub(super) fn of_all(tracks: &[Track]) -> Vec<Self> {
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
