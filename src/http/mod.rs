//! The HTTP gateway: files, playlists, segments and a page for players. It translates requests into
//! calls of [`crate::vfs`] and decides nothing about files.
//!
//! A request passes through [`server`] (connections, timers, TLS), [`gate`] (host, login, origin),
//! [`routes`], one handler, and [`resource`] (preconditions, ranges, bodies), in this order.

mod body;
mod books;
mod budget;
mod client;
mod conditional;
mod config;
mod content_type;
mod cookies;
mod deadline_io;
mod forwarded;
mod gate;
mod gateway;
mod hosts;
mod library;
mod listing;
mod login;
mod metrics;
mod operations;
mod page;
mod places;
mod playlist;
mod prometheus;
mod range;
mod resource;
mod routes;
mod server;
mod status;
mod subtitles;
mod target;
mod tls;
pub mod untrusted;
mod views;

#[cfg(test)]
mod tests;

pub use config::{GatewayConfig, HttpLimits, Timers, Trust};
pub use server::{ServeError, serve};
pub use target::own_base;
pub use tls::check_tls;
