//! Real Matroska files, from a package that the tests depend on for them.

use std::path::PathBuf;

/// Returns the path of a file of the package `matroska-demuxer`, where cargo unpacked it.
pub fn sample(name: &str) -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .unwrap();
    let registries = std::fs::read_dir(home.join("registry/src")).unwrap();
    let packages = registries.flat_map(|found| std::fs::read_dir(found.unwrap().path()).unwrap());
    packages
        .map(|package| package.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/matroska-demuxer-"))
        .map(|path| path.join("tests/data").join(name))
        .find(|path| path.exists())
        .expect("the sources of matroska-demuxer: `cargo fetch`")
}
