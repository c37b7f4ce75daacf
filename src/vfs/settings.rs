//! Settings of the file system, shared by the parts that use them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::types::TreeUse;
use crate::model::{HlsListing, SidecarSubtitles};

/// Settings that can change while the file system runs.
#[derive(Debug, Clone)]
pub struct VfsSettings {
    /// Time between the last close of a written file and its ingest.
    pub settle: Duration,
    /// Longest time that a look at the tree waits for a tree that is still being loaded.
    pub read_deadline: Duration,
    /// Longest time that a write waits for space that is being drained, and a change for a tree that is
    /// still being loaded.
    pub write_deadline: Duration,
    /// Time for which the store keeps data that nothing refers to any more.
    pub keep_deleted: Duration,
    /// Largest size of a file in bytes; 0 for no limit.
    pub max_file_size: u64,
    pub hls_listing: HlsListing,
    pub sidecars: SidecarSubtitles,
    /// Base of the URLs in `user.tgfs.hls`, as `http://host:port`.
    pub base_url: String,
}

/// Settings in force. A clone refers to the same ones.
#[derive(Debug, Clone)]
pub struct SharedSettings(Arc<ArcSwap<VfsSettings>>);

impl SharedSettings {
    pub fn new(settings: VfsSettings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// Returns the settings in force.
    pub fn get(&self) -> Guard<Arc<VfsSettings>> {
        self.0.load()
    }

    /// Returns how long an operation waits for a tree that is still being loaded.
    pub fn deadline(&self, operation: TreeUse) -> Duration {
        let settings = self.get();
        match operation {
            TreeUse::Look => settings.read_deadline,
            TreeUse::Change => settings.write_deadline,
        }
    }

    /// Puts new settings in force.
    pub fn replace(&self, settings: VfsSettings) {
        self.0.store(Arc::new(settings));
    }
}

#[cfg(test)]
pub fn for_tests() -> VfsSettings {
    VfsSettings {
        settle: Duration::ZERO,
        read_deadline: Duration::ZERO,
        write_deadline: Duration::ZERO,
        keep_deleted: Duration::from_secs(24 * 3600),
        max_file_size: 0,
        hls_listing: HlsListing::Visible,
        sidecars: SidecarSubtitles::Shown,
        base_url: "http://127.0.0.1:8080".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_the_new_settings() {
        let settings = SharedSettings::new(for_tests());
        let other = settings.clone();
        settings.replace(VfsSettings {
            max_file_size: 7,
            ..for_tests()
        });
        assert_eq!(other.get().max_file_size, 7);
    }
}
