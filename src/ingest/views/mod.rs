//! Views stage: views are made of sealed files, made again on request, and stored beside the bytes.

pub mod files;
pub mod make;
pub mod outcome;
pub mod queue;
pub mod remake;
mod report;
pub mod requests;
pub mod store;
