//! Tests of real films with the real ffmpeg: a player must get what is in the file.

#![allow(clippy::unwrap_used)]

mod accessibility;
mod audio;
mod bad;
mod beside;
mod chapters;
mod check;
mod compat;
mod confined;
mod external_subtitles;
mod films;
mod in_place;
mod odd;
mod oversize;
mod properties;
mod sample;
mod sprites;
mod subtitles;
mod support;
mod transport;
