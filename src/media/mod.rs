//! Everything about films: what a file is, one pass of the muxer over it, the search for its
//! samples in the source, the map, generated headers, playlists and subtitles. Knows neither the
//! index nor the remote: it reads a source file and writes a derived one.
//!
//! `build` leads: `sniff` and `gate` look at the bytes, `probe` asks the tool, `select` chooses
//! streams, `tool` runs the muxer, `fmp4` reads what it writes, `collect` and `search` find each
//! sample's bytes, `film` with `timeline` and `plan` cuts, `record`, `header` and `init` describe segments,
//! `in_place` serves films that are transport streams from ranges of them,
//! `subtitle` and `beside` bring texts and whole files, `transport` muxes MPEG-TS. `views` and `playlist` then answer from [`crate::model::Views`] alone.

pub mod build;
pub mod error;
pub mod in_place;
pub mod name;
pub mod opening;
pub mod plan;
pub mod playlist;
pub mod report;
pub mod tool;
pub mod transport;
pub mod views;

pub mod sniff;

mod beside;
mod boxes;
mod collect;
mod esds;
mod film;
mod fmp4;
mod gate;
mod header;
mod iframes;
mod init;
mod language;
mod nal;
mod probe;
mod record;
mod search;
mod select;
mod subtitle;
mod timeline;
