//! Prints one row of the table in docs/MEDIA.md: it builds the views of a film and measures the cost.
//! `media_row FILM`; `scripts/media/table` runs it over all test films.

use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use tgfs::media::build::cuts::CutPolicy;
use tgfs::media::build::report::plan_report;
use tgfs::media::tool::MediaTool;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::process::Launcher;

fn cpu(usage: &Usage) -> f64 {
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let film = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .ok_or_else(|| anyhow::anyhow!("media_row FILM"))?,
    );
    let scratch = std::env::temp_dir().join(format!("media-row-{}", std::process::id()));
    let tool: Arc<dyn MediaTool> = Arc::new(Ffmpeg::new(Launcher::Direct));
    let report = plan_report(&tool, &film, &scratch, &CutPolicy::default(), &|_| {}).await?;
    let name = film
        .file_name()
        .unwrap_or(film.as_os_str())
        .to_string_lossy()
        .into_owned();
    if report.outcome != "ready" {
        println!(
            "| {name} | {}: {} |",
            report.outcome,
            report.reason.unwrap_or_default()
        );
        return Ok(());
    }
    let own = getrusage(UsageWho::RUSAGE_SELF)?;
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let size = report.file_size as f64;
    let codecs: Vec<&str> = report
        .tracks
        .iter()
        .map(|track| track.codec.as_str())
        .collect();
    let segments = report
        .tracks
        .first()
        .map_or(0, |track| track.segments.len());
    let video = &report.tracks[0];
    println!(
        "| {name} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {segments} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |",
        codecs.join(", "),
        size / 1e6,
        video.mapped as f64 * 100.0 / (video.mapped + video.derived).max(1) as f64,
        report.mapped_percent,
        report.derived_size as f64 * 100.0 / size,
        report.map_size as f64 / 1e3 * 3600.0 / report.duration.max(1.0),
        own.max_rss() as f64 / 1e3,
        children.max_rss() as f64 / 1e3,
        cpu(&own) * 1e9 / size,
        cpu(&children) * 1e9 / size,
    );
    Ok(())
}
