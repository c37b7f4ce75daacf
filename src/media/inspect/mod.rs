//! Inspects a file before anything is made of it: its container, its streams, its names.

pub mod language;
pub mod name;
pub mod opening;
pub mod probe;
pub mod protection;
pub mod select;
pub mod sniff;
pub mod unique;
