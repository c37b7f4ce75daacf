//! Stock grammers over TCP against the simulator.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod client;
mod first;
