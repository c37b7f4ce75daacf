//! Tests of a real mount with the operations of people and tools: exit status, bytes, names.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod directories;
mod disk_fails;
mod harness;
mod large;
mod library;
mod lifecycle;
mod material;
mod media;
mod names;
mod pinned;
mod policy;
mod random_access;
mod remote_away;
mod space;
mod tools;
mod writers;
