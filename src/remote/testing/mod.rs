//! Stores and decorators for tests inside and outside of the crate.

mod distant;
mod faulty;
mod mirror;
mod object_store;

pub use super::MemoryKeys;
pub use distant::{Distance, DistantRemote, Traffic};
pub use faulty::{Fault, FaultyRemote, Operation};
pub use mirror::MirrorRemote;
pub use object_store::{ObjectBucket, ObjectRemote};
