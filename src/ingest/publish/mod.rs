//! Publishing of changes into the remote's log, one manifest at a time.

mod error;
pub mod log_objects;
pub mod pace;
pub mod publisher;
mod state;
mod task;

pub use error::PublishError;
pub use state::PublisherState;
