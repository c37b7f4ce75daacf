//! Everything about films: recognising a file, remuxing it, finding its samples in the source, the
//! map, generated headers, playlists and subtitles. It knows neither the index nor the remote: it
//! reads a source file and writes a derived one.
//!
//! `build` runs the steps. `inspect` examines the source and selects streams, `tool` runs ffmpeg, `mp4`
//! reads its output, `map` stores the places of samples. `in_place` reads films that are transport
//! streams, `transport` writes such streams, `subtitles` reads subtitle files. `hls` then answers
//! from [`crate::model::Views`] alone. docs/ARCHITECTURE.md says which room may use which.

pub mod attempt;
pub mod browser;
pub mod build;
pub mod container;
pub mod error;
pub mod hls;
pub mod in_place;
pub mod inspect;
pub mod reason;
pub mod subtitles;
pub mod tool;
pub mod transport;

pub mod map;
pub mod mp4;
