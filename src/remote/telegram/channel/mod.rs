//! Channels: their messages, what our messages say, and which library they belong to.

pub mod binding;
pub mod caption;
pub mod find_library;
pub mod library;
pub mod locations;
pub mod rollover;
pub mod scan;
