//! A Telegram server on loopback, as strict as the service where tgfs depends on it.
//!
//! [`Server::start`] listens; stock MTProto clients connect, make an auth key with the server's own
//! RSA key, sign in as one of its bots, and post to its channels. [`Options`] say how it behaves, and
//! the methods of [`Server`] change that while it runs, count calls, and damage what is stored.
//!
//! From the wire inwards: `connection` (packets, encryption, replies), `api` (methods), `world` (what
//! the server knows, and its journal).

mod api;
mod connection;
mod control;
mod controls;
mod digest;
mod faults;
mod handshake;
mod key;
mod lock;
mod options;
mod profile;
mod refusal;
mod server;
mod shaping;
mod shared;
mod world;

pub use control::{DocumentView, ForeignDocument, ForeignPost, PostView};
pub use faults::{Fault, Faults, Injection, Percent, Reach, Wait};
pub use options::{
    Bot, Channel, Duplicates, MessagesShape, OldPosts, Options, Pace, Shape, StatusForm, Visibility,
};
pub use profile::Profile;
pub use server::Server;
pub use world::channel::Right;
pub use world::event::Author;
