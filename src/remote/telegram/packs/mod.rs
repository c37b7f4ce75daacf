//! Packs as documents: uploads, downloads, and documents of others.

pub mod adopt;
pub mod download;
pub mod get_file;
pub mod hedging;
pub mod orphans;
pub mod parts;
pub mod pending_posts;
pub mod posting;
pub mod read_errors;
pub mod slots;
pub mod store;
pub mod tombstones;
pub mod upload;
