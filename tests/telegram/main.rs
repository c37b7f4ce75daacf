//! The program on Telegram: a daemon with a real mount, over MTProto on TCP, against the simulated
//! service of tests/telegram-sim.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

#[path = "../crash/child.rs"]
mod child;
#[path = "../http/client.rs"]
mod client;
mod crashes;
mod daemon;
mod deleting;
mod encryption;
mod faults;
#[path = "../http/film.rs"]
mod film;
mod library;
mod loading;
#[path = "../mount/material.rs"]
mod material;
mod outage;
mod posts;
mod recovery;
#[path = "../cli/scratch.rs"]
mod scratch;
mod service;
#[allow(dead_code)] // The crash tests use more of it.
#[path = "../crash/workload.rs"]
mod workload;
mod writers;
