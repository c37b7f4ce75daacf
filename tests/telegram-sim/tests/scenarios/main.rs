//! Stock grammers over TCP against the simulator: what it answers, what goes wrong on order, what
//! stays. `suite` can also be aimed at another server.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod bot;
mod centers;
mod client;
mod faults;
mod limits;
mod network;
mod program;
mod rights;
mod start;
mod state;
mod suite;
mod telethon;
