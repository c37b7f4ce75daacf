//! Real films through the real ffmpeg: what a player gets must be what is in the file.

#![allow(clippy::unwrap_used)]

mod audio;
mod bad;
mod check;
mod confined;
mod films;
mod support;
mod transport;
