//! State that all requests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::config::GatewayConfig;
use super::library::SharedLibrary;
use super::metrics::Metrics;

/// The gateway behind every request.
pub(super) struct Gateway {
    pub library: SharedLibrary,
    pub config: GatewayConfig,
    /// Part of ETags, so that those of an earlier process do not match.
    pub started: SystemTime,
    /// Address of the listening socket.
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    /// One permit per file being sent; see [`super::HttpLimits::bodies`].
    pub bodies: Arc<Semaphore>,
}

pub(super) type SharedGateway = Arc<Gateway>;

impl Gateway {
    pub(super) fn new(library: SharedLibrary, config: GatewayConfig, address: SocketAddr) -> Self {
        Self {
            library,
            started: SystemTime::now(),
            address,
            metrics: Arc::default(),
            bodies: Arc::new(Semaphore::new(config.limits.bodies)),
            config,
        }
    }
}
