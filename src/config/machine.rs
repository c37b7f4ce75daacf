//! Defaults that depend on the machine.

/// Smallest cache in bytes: a few blocks for each of a handful of readers.
pub(super) const MIN_CACHE_BYTES: u64 = 16 << 20;
/// Largest default of the cache, in bytes.
const MAX_DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// Returns 1 GiB, or a quarter of the machine's memory if that is less.
pub(super) fn default_cache_bytes() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
            Some(kib * 1024)
        });
    let quarter = memory.map_or(MAX_DEFAULT_CACHE_BYTES, |bytes| bytes / 4);
    quarter.clamp(MIN_CACHE_BYTES, MAX_DEFAULT_CACHE_BYTES)
}
