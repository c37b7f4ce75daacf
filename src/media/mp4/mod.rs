//! Reads and writes MP4 boxes: fragments, init segments, segment headers, codec records.

pub mod aac;
pub mod avc;
pub mod bits;
pub mod boxes;
pub mod captions;
pub mod dolby_vision;
pub mod esds;
pub mod fragments;
pub mod init;
pub mod nal;
pub mod picture;
pub mod segment_header;
pub mod silence;
pub mod vui;
