//! Everything about films: what a file is, one pass of the muxer over it, the search for its
//! samples in the source, the map, generated headers, playlists and subtitles. Knows neither the
//! index nor the remote: it reads a source file and writes a derived one.
//!
//! `build` leads: `sniff` and `gate` look at the bytes, `probe` asks the tool, `select` chooses
//! streams, `tool` runs the muxer, `fmp4` reads what it writes, `collect` and `search` find each
//! sample's bytes, `film` with `timeline` and `plan` cuts, `record`, `header` and `init` describe segments,
//! `in_place` serves films that are transport streams from ranges of them,
//! `subtitle` and `beside` bring texts and whole files, `sprites` pictures for scrubbing; `captions` reads subtitle files of the user's
//! and `joined` shows them in a film's views, `transport` muxes MPEG-TS. Of video, `oversize` encodes
//! groups that are too large and `compat` a rendition for browsers, as `encode` says. `views` and `playlist` then answer from [`crate::model::Views`] alone.

pub mod build;
pub mod error;
pub mod hls;
pub mod in_place;
pub mod inspect;
pub mod subtitles;
pub mod tool;
pub mod transport;

mod map;
mod mp4;
