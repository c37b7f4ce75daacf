//! Reads and writes MP4 boxes: fragments, init segments, segment headers, codec records.

pub mod avc;
pub mod boxes;
pub mod esds;
pub mod fragments;
pub mod init;
pub mod nal;
pub mod segment_header;
