//! Log lines about the segments of new views.

use crate::media::build::BuildReport;
use crate::model::{Entry, Views};

/// Logs the figures that users of the older system look for.
pub fn log_cuts(entry: &Entry, views: &Views, account: &BuildReport) {
    let Some(track) = views.tracks.first() else {
        return;
    };
    let sizes = || track.segments.iter().map(|segment| segment.size);
    let (segments, total) = (track.segments.len() as u64, sizes().sum::<u64>());
    let encoded = account.reencoded_segments.len() as u64;
    for group in &account.reencoded {
        tracing::info!(
            file = %entry.name.display(),
            start = group.start,
            seconds = group.seconds,
            before = group.before,
            after = group.after,
            ssim = group.likeness,
            "encoded again: it was above MAX_CHUNK_SIZE"
        );
    }
    tracing::info!(
        file = %entry.name.display(),
        segments,
        copied = segments - encoded.min(segments),
        encoded,
        total,
        average = total / segments.max(1),
        largest = sizes().max().unwrap_or_default(),
        older_rule_segments = account.ten_passes.map(|rule| rule.segments),
        older_rule_encoded = account.ten_passes.map(|rule| rule.oversize),
        "{}",
        match encoded {
            0 => "cut; every segment is copied",
            _ => "cut; what was above MAX_CHUNK_SIZE is encoded again",
        }
    );
}
