//! Tests of the program as users and their scripts run it: output, exit status, and the same answers with and
//! without a daemon.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod control_floods;
mod daemon;
mod descriptors;
mod encryption;
mod gateway;
mod import;
mod media_library;
mod mount;
mod moving;
mod odd_names;
mod scratch;
mod shelf;
mod statuses;
mod strm;
mod telegram;
mod usage;
