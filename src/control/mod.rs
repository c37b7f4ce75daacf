//! The commands' face: a Unix socket in the state directory, with one request a connection and answers as
//! JSON lines. [`Service`] executes requests. A command that opens the state itself because no daemon runs
//! uses it too, so both ways give the same answers.

mod client;
mod list_turns;
mod places;
mod progress;
mod service;
mod several;
mod socket;
mod targets;
#[cfg(test)]
mod tests;
mod upload;
mod urls;
mod wire;

pub use client::{ControlConnection, connect};
pub use service::{Operations, Service};
pub use socket::{SocketError, bind, serve, socket_path};
pub use wire::{
    Cleaned, DaemonInfo, LibraryReadiness, LoginLink, PlanCuts, PlanReport, PlanSegmentKind,
    PlanSegments, PlanTenPasses, PlanTrack, Request, Response, Stat, StatUnit, UploadsAtStop,
    UrlInfo, Verified, Wait, WirePath,
};

/// Most answers that wait between their maker and the task that prints them.
pub const REPLY_QUEUE: usize = 64;
