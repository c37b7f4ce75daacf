//! State that all requests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::budget::BodyBudget;
use super::config::GatewayConfig;
use super::library::SharedLibrary;
use super::metrics::Metrics;

/// Maximum of large texts (playlists, lists of files) that are made at a time. A playlist has up to
/// 16 MiB; making one takes milliseconds.
const LARGE_TEXTS: usize = 2;

/// The gateway behind every request.
pub(super) struct Gateway {
    pub library: SharedLibrary,
    pub config: GatewayConfig,
    /// Part of ETags, so that those of an earlier process do not match.
    pub started: SystemTime,
    /// Address of the listening socket.
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    /// Room for the bodies of all answers.
    pub budget: Arc<BodyBudget>,
    /// Permits to make a large text, which is in memory before its length is known.
    pub large_texts: Semaphore,
}

pub(super) type SharedGateway = Arc<Gateway>;

impl Gateway {
    pub(super) fn new(library: SharedLibrary, config: GatewayConfig, address: SocketAddr) -> Self {
        Self {
            library,
            started: SystemTime::now(),
            address,
            metrics: Arc::default(),
            budget: BodyBudget::new(config.limits.bodies),
            large_texts: Semaphore::new(LARGE_TEXTS),
            config,
        }
    }
}
