//! The rules of storage, through `Vfs` over a local store that can be broken, without a mount:
//! what a user would notice.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod adoption;
mod copies;
mod encryption;
mod external_subtitles;
mod flow;
mod house;
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
mod versions;
mod views;
