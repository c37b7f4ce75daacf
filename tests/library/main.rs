//! Rules of storage as a user notices them, through `Vfs` without a mount, over a local store that
//! can be made to fail.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod adoption;
mod copies;
mod encryption;
mod external_subtitles;
mod flow;
#[path = "../mount/library.rs"]
mod library;
#[path = "../mount/material.rs"]
mod material;
mod names;
mod reads;
mod recovery;
mod remakes;
#[path = "../media/sample.rs"]
mod sample;
mod sidecars;
mod space;
mod test_library;
mod versions;
mod views;
