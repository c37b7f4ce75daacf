//! The write path.

pub mod publisher;
