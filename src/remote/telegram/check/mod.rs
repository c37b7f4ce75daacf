//! Check of the bots' rights, and of the speed that the service gives them.

pub mod findings;
pub mod measure;
pub mod patience;
pub mod probe;
pub mod round_trip;
