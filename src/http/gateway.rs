//! What all requests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::config::HttpConfig;
use super::library::SharedLibrary;
use super::metrics::Metrics;

pub(super) struct Gateway {
    pub library: SharedLibrary,
    pub config: HttpConfig,
    /// Tells this process's tags from those of one before it.
    pub started: SystemTime,
    /// Where it listens.
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    /// One permit a file body; see [`super::Limits::bodies`].
    pub bodies: Arc<Semaphore>,
}

pub(super) type SharedGateway = Arc<Gateway>;

impl Gateway {
    pub(super) fn new(library: SharedLibrary, config: HttpConfig, address: SocketAddr) -> Self {
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
