//! `tgfs plan FILE`: what ingest would make of a file, storing nothing.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::control::PlanReport;

/// # Errors
/// When the file or the media tools cannot be used.
pub async fn plan(config: &Config, file: &Path) -> anyhow::Result<PlanReport> {
    let _ = (Arc::new(config), file);
    anyhow::bail!("not yet")
}
