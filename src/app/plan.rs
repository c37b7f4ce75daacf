//! `tgfs plan FILE`: plans a film as ingest would, and stores nothing.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::unistd::geteuid;

use super::parts::cut_policy;
use crate::config::Config;
use crate::control::{
    PlanCuts, PlanReport, PlanSegmentKind, PlanSegments, PlanTenPasses, PlanTrack,
};
use crate::fuse::audience_of;
use crate::media::build::report::{self, TrackReport};
use crate::media::tool::MediaTool;
use crate::media::tool::ffmpeg::Ffmpeg;
use crate::model::{Compat, MountAudience, shown};
use crate::process::Launcher;

/// Plans a film.
///
/// # Errors
/// If the file or the media tools cannot be used.
pub async fn plan(config: &Config, file: &Path) -> anyhow::Result<PlanReport> {
    check_readable(file)?;
    let tool: Arc<dyn MediaTool> =
        Arc::new(Ffmpeg::new(Launcher::this_binary()).with_threads(config.media.threads));
    let scratch = std::env::temp_dir().join(format!("tgfs-plan-{}", std::process::id()));
    let found = report::plan_report(&tool, file, &scratch, &cut_policy(config), &|_| {})
        .await
        .with_context(|| file.display().to_string())?;
    let cuts = cuts(&found);
    let kinds = kinds(&found);
    let mut notes: Vec<String> = found.reason.into_iter().chain(found.note).collect();
    if found.outcome == "ready" && !found.independent_segments {
        notes.push("segments do not start with independent frames: browsers may not seek".into());
    }
    if found.in_place {
        notes.push("segments are ranges of the file: MPEG-TS with all its sound inside".into());
    }
    if !found.subtitles.is_empty() {
        notes.push(format!("subtitles: {}", found.subtitles.join(", ")));
    }
    if config.media.compat != Compat::Off && found.wants_rendition {
        notes.push(
            "a rendition in H.264 for browsers would be encoded behind that (TGFS_COMPAT_VIDEO)"
                .into(),
        );
    }
    Ok(PlanReport {
        file: shown::readable(file.as_os_str().as_bytes()),
        file_bytes: shown::inexact_bytes(file.as_os_str().as_bytes()),
        size: found.file_size,
        outcome: found.outcome.to_owned(),
        duration: (found.duration > 0.0).then_some(found.duration),
        tracks: found.tracks.iter().map(track).collect(),
        cuts,
        segments: kinds,
        derived_bytes: found.derived_size,
        notes,
    })
}

/// Checks that the media tools can read the file. As root they run as another user, whom a FUSE file system
/// keeps out unless it was mounted for all.
fn check_readable(file: &Path) -> anyhow::Result<()> {
    let is_closed = audience_of(file).is_ok_and(|audience| audience == MountAudience::Owner);
    if geteuid().is_root() && is_closed {
        bail!(
            "{}: lies in a mount that lets in only the user who mounted it, and root's media tools run as \
             another user; plan a copy of the file outside, or mount with --allow-other",
            file.display()
        );
    }
    Ok(())
}

fn cuts(found: &report::FilmPlan) -> Option<PlanCuts> {
    let sizes = || found.tracks.iter().take(1).flat_map(|t| &t.segments);
    let segments = sizes().count() as u64;
    let total = sizes().map(|segment| segment.size).sum::<u64>();
    (segments > 0).then(|| PlanCuts {
        segments,
        copied: segments - found.reencoded_segments.len() as u64,
        reencoded: found.reencoded_segments.len() as u64,
        total,
        average: total / segments,
        largest: sizes().map(|segment| segment.size).max().unwrap_or(0),
        ten_passes: found.ten_passes.map(|rule| PlanTenPasses {
            duration: rule.seconds,
            segments: rule.segments,
            reencoded: rule.oversize,
            reencoded_percent: 100.0 * rule.oversize_seconds / found.duration.max(f64::EPSILON),
        }),
    })
}

/// Returns the sources of the leading track's segments, with neighbours of one kind together.
fn kinds(found: &report::FilmPlan) -> Vec<PlanSegments> {
    let mut list: Vec<PlanSegments> = Vec::new();
    let segments = found
        .tracks
        .iter()
        .take(1)
        .flat_map(|track| &track.segments);
    for (number, segment) in segments.enumerate() {
        let kind = if found.reencoded_segments.contains(&number) {
            PlanSegmentKind::Reencoded
        } else if segment.derived == 0 {
            PlanSegmentKind::Mapped
        } else {
            PlanSegmentKind::Derived
        };
        let number = number as u64 + 1;
        match list.last_mut().filter(|last| last.kind == kind) {
            Some(last) => last.last = number,
            None => list.push(PlanSegments {
                kind,
                first: number,
                last: number,
            }),
        }
    }
    list
}

fn track(found: &TrackReport) -> PlanTrack {
    PlanTrack {
        kind: found.name.clone(),
        codec: found.codec.clone(),
        language: found.language.clone(),
        title: String::new(),
        segments: u32::try_from(found.segments.len()).unwrap_or(u32::MAX),
        mapped: found.mapped,
        derived: found.derived,
        longest: found
            .segments
            .iter()
            .map(|s| s.duration)
            .fold(0.0, f64::max),
        largest: found.segments.iter().map(|s| s.size).max().unwrap_or(0),
    }
}
