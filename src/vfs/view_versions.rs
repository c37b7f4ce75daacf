//! Versions of views that players use. A player keeps the playlist that it began with, so the version of
//! its URLs is served on when newer views take its place.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::viewed_file::ViewedFile;
use crate::model::{Digest, Entry, EntryId, EntryKind, FsResult, PackId};
use crate::sync::MutexExt as _;

/// Time for which a version is kept after its last use: the longest pause that a player makes as a rule.
const KEPT_UNUSED: Duration = Duration::from_secs(3600);
/// Most versions that are kept: those of as many films that play at a time. The one that was used longest ago
/// goes first. They are kept in memory only, so a restart ends them. The record of a long film has 200 KiB.
const MAX_VERSIONS: usize = 128;
/// Fewest hexadecimal digits of a map's digest that tell a version.
const MIN_DIGITS: usize = 16;

/// Versions of views that were used in the last hour.
#[derive(Debug, Default)]
pub struct ViewVersions(Mutex<HashMap<VersionKey, UsedVersion>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct VersionKey {
    film: EntryId,
    map: Digest,
}

/// The record of a film as it was with these views.
#[derive(Debug)]
struct UsedVersion {
    entry: Arc<Entry>,
    used: Instant,
}

impl ViewVersions {
    /// Notes that a player uses the views of `file`.
    ///
    /// # Errors
    /// `NotFound` when the file has none.
    pub fn note(&self, file: &ViewedFile) -> FsResult<()> {
        let key = VersionKey {
            film: file.entry.id,
            map: file.views()?.map_digest,
        };
        let version = UsedVersion {
            entry: Arc::clone(&file.entry),
            used: Instant::now(),
        };
        let mut versions = self.0.acquire();
        versions.insert(key, version);
        if versions.len() > MAX_VERSIONS {
            let oldest = versions.iter().min_by_key(|(_, version)| version.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                versions.remove(&oldest);
            }
        }
        Ok(())
    }

    /// Returns the film with the views whose map's digest begins with `digits`, if players use them.
    pub fn find(&self, film: EntryId, digits: &str) -> Option<ViewedFile> {
        let mut versions = self.0.acquire();
        let mut used = versions.iter_mut();
        let (_, version) = used.find(|(key, _)| key.film == film && is_version(key.map, digits))?;
        version.used = Instant::now();
        Some(ViewedFile {
            entry: Arc::clone(&version.entry),
        })
    }

    /// Returns the packs of all versions. Forgets those that were not used for an hour, and those of
    /// films that `exists` denies.
    pub fn packs(&self, exists: impl Fn(EntryId) -> bool) -> HashSet<PackId> {
        let mut versions = self.0.acquire();
        versions.retain(|key, version| version.used.elapsed() < KEPT_UNUSED && exists(key.film));
        let contents = versions
            .values()
            .filter_map(|version| match &version.entry.kind {
                EntryKind::File(content) => Some(content),
                EntryKind::Directory => None,
            });
        let packs = contents.flat_map(|content| content.packs());
        packs.map(|pack| pack.id).collect()
    }
}

/// Returns whether the digits of a URL name a map.
pub fn is_version(map: Digest, digits: &str) -> bool {
    digits.len() >= MIN_DIGITS && map.to_string().starts_with(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_needs_enough_digits() {
        let map = Digest([0xab; 32]);
        assert!(is_version(map, "abababababababab"));
        assert!(!is_version(map, "") && !is_version(map, "ab"));
        assert!(!is_version(map, "abababababababac"));
    }
}
