//! Checks what each bot may do, and measures how fast the service lets it be.

pub mod measure;
pub mod probe;
pub mod round_trip;
