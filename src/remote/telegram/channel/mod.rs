//! Channels: their messages, the captions of our messages, and the library that the channels belong to.

pub mod binding;
pub mod caption;
pub mod find_library;
pub mod library;
pub mod locations;
pub mod rollover;
pub mod scan;
