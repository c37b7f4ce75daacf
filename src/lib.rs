//! tgfs turns Telegram channels into a personal video library. A file that is copied into the
//! mount is stored once, byte for byte; everything else that can be seen of it (playlists,
//! segments, subtitles) is a *view*: a list of extents over stored bytes.
//!
//! # Layout
//! A module uses only what stands below it (`docs/ARCHITECTURE.md` has the allowed edges, and
//! `tests/architecture.rs` checks them):
//!
//! - `cli`, `app`: commands; the one place that wires parts together
//! - `fuse`, `http`, `control`: the kernel's face, the player's face, the socket: they translate
//! - `access`: who may use the gateway: token, links that sign in once, sessions
//! - `vfs`: file operations, callable without a mount or a socket
//! - `ingest`, `read`, `upkeep`: write path; read path; recover, verify, clean up
//! - `tree`, `cache`: names and inodes; blocks in memory and on the disk
//! - `spool`: local staging of bytes that are not durable in the remote yet
//! - `index`, `remote`, `media`: records and journal; packs out and in; ffmpeg, boxes, playlists
//! - `model`, `codec`, `config`, `telemetry`: domain types, envelopes of records, settings, logs
//! - `process`, `disk`, `sync`, `failpoint`: child processes, durable files, locks, crash points

pub mod access;
pub mod app;
pub mod cache;
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod disk;
pub mod failpoint;
pub mod fuse;
pub mod http;
pub mod index;
pub mod ingest;
pub mod media;
pub mod model;
pub mod process;
pub mod read;
pub mod remote;
pub mod spool;
pub mod sync;
pub mod telemetry;
pub mod tree;
pub mod upkeep;
pub mod vfs;
