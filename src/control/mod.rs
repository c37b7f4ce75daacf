//! The commands' face: a Unix socket in the state directory, one request a connection, answers as
//! JSON lines. [`Service`] does what a request asks, also for a command that opens the state itself
//! because no daemon runs; so both ways give the same answers.

mod client;
mod service;
mod socket;
#[cfg(test)]
mod tests;
mod upload;
mod wire;

pub use client::{ControlConnection, connect};
pub use service::{Operations, Service};
pub use socket::{SocketError, bind, serve, socket_path};
pub use wire::{
    Cleaned, DaemonInfo, PlanCuts, PlanReport, PlanSegmentKind, PlanSegments, PlanTenPasses,
    PlanTrack, Request, Response, Stat, StatUnit, UploadsAtStop, UrlInfo, Verified, Wait, WirePath,
};

/// Answers that may wait between whoever makes them and whoever prints them.
pub const REPLY_QUEUE: usize = 64;
