//! What people and tools do to a mount, on a real one: exit status, bytes, names.

mod directories;
mod harness;
mod library;
mod lifecycle;
mod media;
mod names;
mod policy;
mod random_access;
mod tools;
