//! Stores packs as documents and reads them back.

pub mod adopt;
pub mod download;
pub mod get_file;
pub mod locations;
pub mod orphans;
pub mod parts;
pub mod pending_posts;
pub mod upload;
