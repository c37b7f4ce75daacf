//! Settings of ingest that may change while it runs.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::media::build::cuts::CutPolicy;
use crate::model::Compat;

/// Settings of ingest that may change while it runs.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Size of a full pack in bytes while few bytes wait.
    pub pack_bytes: u64,
    /// Settings for cutting films into segments.
    pub cuts: CutPolicy,
    /// Setting of the rendition for browsers that cannot play the film itself.
    pub compat: Compat,
}

/// Current settings. Readers take no lock.
#[derive(Debug)]
pub struct LiveSettings(ArcSwap<IngestSettings>);

impl LiveSettings {
    /// Starts with `settings`.
    #[must_use]
    pub fn new(settings: IngestSettings) -> Self {
        Self(ArcSwap::from_pointee(settings))
    }

    /// Returns the current settings.
    pub fn get(&self) -> Guard<Arc<IngestSettings>> {
        self.0.load()
    }

    /// Replaces the settings.
    pub fn set(&self, settings: IngestSettings) {
        self.0.store(Arc::new(settings));
    }
}
