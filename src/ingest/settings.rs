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
    /// Where films are cut into segments.
    pub cuts: CutPolicy,
    /// Whether a rendition is made for browsers that cannot play the film itself.
    pub compat: Compat,
}

/// Settings as they are now; readers take no lock.
#[derive(Debug)]
pub struct LiveSettings(ArcSwap<IngestSettings>);

impl LiveSettings {
    /// Begins with `settings`.
    #[must_use]
    pub fn new(settings: IngestSettings) -> Self {
        Self(ArcSwap::from_pointee(settings))
    }

    /// Returns the settings as they are now.
    pub fn get(&self) -> Guard<Arc<IngestSettings>> {
        self.0.load()
    }

    /// Puts new settings in place.
    pub fn set(&self, settings: IngestSettings) {
        self.0.store(Arc::new(settings));
    }
}
