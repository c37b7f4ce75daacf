//! Inspects a file before anything is made of it: its container, its streams, its names.

pub mod chapters;
mod ebml;
pub mod ending;
pub mod extended_language;
pub mod language;
pub mod name;
pub mod omitted;
pub mod opening;
pub mod parameter_changes;
pub mod probe;
pub mod protection;
pub mod role;
pub mod select;
pub mod sniff;
pub mod unique;
