//! Embeds the player of the page when `scripts/setup-ui` has brought it; without it the page says
//! what to run. Nothing is fetched here.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // The directory, not the file: cargo would run this again each time while the file is missing.
    println!("cargo:rerun-if-changed=ui/static");
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let player = match fs::read("ui/static/hls.min.js") {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    fs::write(Path::new(&out).join("hls.min.js"), player)
}
