//! Keeps the log and the library mark in a channel.

pub mod caption;
pub mod library;
pub mod log;
pub mod scan;
