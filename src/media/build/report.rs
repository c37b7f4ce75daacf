//! Describes what ingest would do with a file, for `tgfs plan` and the table in docs/MEDIA.md.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::model::{Compat, TrackKind, Views};

use super::cuts::{CutPolicy, TenPasses};
use super::rendition;
use super::{BuildOutcome, BuildRequest, build_views};
use crate::media::error::MediaError;
use crate::media::hls::tags::{SegmentFormat, track_name};
use crate::media::hls::view::{MappedSegment, Piece, ViewBody, ViewNode};
use crate::media::hls::views;
use crate::media::tool::MediaTool;

/// Plan for one file. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilmPlan {
    pub file_size: u64,
    /// `ready`, `unsupported`, `unreadable` or `not media`.
    pub outcome: &'static str,
    /// Reason, unless it is `ready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Duration in seconds.
    pub duration: f64,
    pub independent_segments: bool,
    /// True if segments are ranges of the file.
    pub in_place: bool,
    pub tracks: Vec<TrackReport>,
    pub subtitles: Vec<String>,
    /// Share of all samples that was found in the file, in per cent.
    pub mapped_percent: f64,
    pub derived_percent: f64,
    /// Bytes of the whole derived blob.
    pub derived_size: u64,
    pub map_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ten_passes: Option<TenPasses>,
    /// Numbers, from 0, of the leading track's segments with frames that are encoded again.
    pub reencoded_segments: Vec<usize>,
    /// True if browsers cannot play its video.
    pub wants_rendition: bool,
}

/// Plan for one track. Sizes are bytes, rates are bits a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackReport {
    /// `video`, `audio-1`, …
    pub name: String,
    pub codec: String,
    pub language: String,
    pub peak_bits: u64,
    pub average_bits: u64,
    /// Bytes of the samples that lie in the file.
    pub mapped: u64,
    /// Bytes of the samples that are stored beside it.
    pub derived: u64,
    /// Number of ranges that the segments consist of.
    pub ranges: u64,
    pub segments: Vec<SegmentReport>,
}

/// Plan for one segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SegmentReport {
    /// Duration in seconds.
    pub duration: f64,
    pub size: u64,
    /// Bytes of its samples that are stored beside the file.
    pub derived: u64,
}

/// Builds the views of `source` into `scratch`, describes them, and removes `scratch` again.
///
/// # Errors
/// The errors of [`build_views`].
pub async fn plan_report(
    tool: &Arc<dyn MediaTool>,
    source: &Path,
    scratch: &Path,
    policy: &CutPolicy,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<FilmPlan, MediaError> {
    let file_size = std::fs::metadata(source)?.len();
    let request = BuildRequest {
        tool,
        source,
        derived: scratch,
        policy,
        compat: Compat::Off,
    };
    let outcome = build_views(request, progress).await?;
    let report = describe(file_size, &outcome, scratch);
    if matches!(outcome, BuildOutcome::Ready(..)) {
        std::fs::remove_file(scratch)?;
    }
    report
}

fn describe(
    file_size: u64,
    outcome: &BuildOutcome,
    derived: &Path,
) -> Result<FilmPlan, MediaError> {
    let mut report = FilmPlan {
        file_size,
        outcome: "ready",
        reason: None,
        note: None,
        duration: 0.0,
        independent_segments: false,
        in_place: false,
        tracks: Vec::new(),
        subtitles: Vec::new(),
        mapped_percent: 0.0,
        derived_percent: 0.0,
        derived_size: 0,
        map_size: 0,
        ten_passes: None,
        reencoded_segments: Vec::new(),
        wants_rendition: false,
    };
    let views = match outcome {
        BuildOutcome::Ready(views, account) => {
            report.ten_passes = account.ten_passes;
            report
                .reencoded_segments
                .clone_from(&account.reencoded_segments);
            views
        }
        BuildOutcome::Unsupported(reason) => {
            (report.outcome, report.reason) = ("unsupported", Some(reason.to_string()));
            report.wants_rendition = reason.rendition_helps();
            return Ok(report);
        }
        BuildOutcome::Unreadable(reason) => {
            (report.outcome, report.reason) = ("unreadable", Some(reason.to_string()));
            return Ok(report);
        }
        BuildOutcome::NotMedia => {
            report.outcome = "not media";
            return Ok(report);
        }
    };
    let derived = std::fs::File::open(derived)?;
    report.wants_rendition = rendition::is_wanted(views);
    report.note.clone_from(&views.note);
    report.duration = views.duration_ms as f64 / 1000.0;
    report.independent_segments = views.independent_segments;
    report.in_place = views.in_place.is_some();
    report.subtitles = views
        .subtitles
        .iter()
        .map(|subtitle| subtitle.key.clone())
        .collect();
    report.derived_size = views.derived.len;
    report.map_size = views.map.len;
    for index in 0..views.tracks.len() {
        report.tracks.push(describe_track(views, index, &derived)?);
    }
    let sum = |part: fn(&TrackReport) -> u64| report.tracks.iter().map(part).sum::<u64>() as f64;
    let (mapped, stored) = (sum(|track| track.mapped), sum(|track| track.derived));
    let all = (mapped + stored).max(1.0);
    report.mapped_percent = mapped * 100.0 / all;
    report.derived_percent = stored * 100.0 / all;
    Ok(report)
}

/// Describes one track by reading the map of each of its segments from the derived file.
fn describe_track(
    views: &Views,
    index: usize,
    derived: &std::fs::File,
) -> Result<TrackReport, MediaError> {
    let track = &views.tracks[index];
    let name = track_name(views, index);
    let mut report = TrackReport {
        codec: track.codec.clone(),
        language: track.language.clone(),
        peak_bits: track.peak_bits,
        average_bits: track.average_bits,
        mapped: 0,
        derived: 0,
        ranges: 0,
        segments: Vec::with_capacity(track.segments.len()),
        name: match &track.kind {
            TrackKind::Video { width, height, .. } => format!("{name} {width}x{height}"),
            TrackKind::Audio { channels: 1, .. } => format!("{name} mono"),
            TrackKind::Audio { channels: 2, .. } => format!("{name} stereo"),
            TrackKind::Audio { channels, .. } => format!("{name} {channels} channels"),
        },
    };
    let mut frame_bytes = Vec::new();
    let mut frame_at = None;
    for (number, segment) in track.segments.iter().enumerate() {
        let timescale = f64::from(track.timescale.max(1));
        report.segments.push(SegmentReport {
            duration: f64::from(segment.duration) / timescale,
            size: segment.size,
            derived: 0,
        });
        let extension = match SegmentFormat::Fmp4.of_segments(views) {
            SegmentFormat::Fmp4 => "m4s",
            SegmentFormat::MpegTs => "ts",
        };
        let path = format!("{name}/{:05}.{extension}", number + 1);
        let Some(ViewNode::File(file)) = views::find(views, &path) else {
            continue;
        };
        let frame = match file.body {
            ViewBody::Mapped(MappedSegment { frame, .. })
            | ViewBody::Transport(MappedSegment { frame, .. }) => frame,
            ViewBody::InPlace(_) => {
                let film = views.in_place.as_ref();
                report.mapped += film.and_then(|film| film.of_file(segment)).unwrap_or(0);
                report.ranges += 1;
                continue;
            }
            ViewBody::Inline(_) | ViewBody::Pieces(_) | ViewBody::Derived(_) => continue,
        };
        if frame_at != Some(frame) {
            frame_bytes.resize(usize::try_from(frame.len).unwrap_or(0), 0);
            derived.read_exact_at(&mut frame_bytes, frame.offset)?;
            frame_at = Some(frame);
        }
        let pieces = views::assemble(views, index, number, &frame_bytes).map_err(|error| {
            MediaError::new(
                crate::media::error::MediaErrorKind::Protocol,
                error.to_string(),
            )
        })?;
        report.count(number, &pieces);
    }
    Ok(report)
}

impl TrackReport {
    /// Adds the pieces of segment `number`.
    fn count(&mut self, number: usize, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Literal(_) => {}
                Piece::Content(range) => {
                    self.mapped += range.len;
                    self.ranges += 1;
                }
                Piece::Derived(range) => {
                    self.derived += range.len;
                    self.ranges += 1;
                    self.segments[number].derived += range.len;
                }
            }
        }
    }
}
