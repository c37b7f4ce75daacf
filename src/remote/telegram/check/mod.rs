//! Check of what each bot may do, and of how fast the service lets it be.

pub mod findings;
pub mod measure;
pub mod patience;
pub mod probe;
pub mod round_trip;
