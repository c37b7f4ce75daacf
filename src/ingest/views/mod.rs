//! Views stage, which makes views of sealed files, remakes them on request, and stores them beside the
//! bytes.

pub mod files;
pub mod lanes;
pub mod make;
pub mod outcome;
pub mod queue;
pub mod remake;
mod report;
pub mod requests;
pub mod store;
