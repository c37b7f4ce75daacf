//! Addresses of the data centres.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use grammers_session::SessionData;

use super::service_clock::ServiceClock;
use crate::remote::telegram::server::TelegramServer;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Addresses of data centres, completed by the answers to `help.getConfig`.
#[derive(Debug)]
pub struct DataCentres {
    server: TelegramServer,
    addresses: Mutex<HashMap<i32, SocketAddr>>,
    clock: ServiceClock,
}

impl DataCentres {
    /// Makes the list of the addresses that are known without a connection.
    pub fn new(server: TelegramServer) -> Self {
        let addresses = match &server {
            TelegramServer::Telegram => SessionData::default()
                .dc_options
                .into_iter()
                .map(|(dc, option)| (dc, SocketAddr::V4(option.ipv4)))
                .collect(),
            TelegramServer::Own { dc, address, .. } => HashMap::from([(*dc, *address)]),
        };
        Self {
            server,
            addresses: Mutex::new(addresses),
            clock: ServiceClock::default(),
        }
    }

    /// Returns the server that these data centres belong to.
    pub const fn server(&self) -> &TelegramServer {
        &self.server
    }

    /// Returns whether this is Telegram itself.
    pub fn is_service(&self) -> bool {
        self.server == TelegramServer::Telegram
    }

    /// Returns the data centre at which a bot signs in for the first time.
    pub fn first(&self) -> i32 {
        match &self.server {
            TelegramServer::Telegram => SessionData::default().home_dc,
            TelegramServer::Own { dc, .. } => *dc,
        }
    }

    /// Returns the clock that all of them have.
    pub const fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    /// Returns the address of data centre `dc`.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Unavailable`] when the server has not sent the address yet.
    pub fn address(&self, dc: i32) -> Result<SocketAddr, RemoteError> {
        let addresses = self.addresses.acquire();
        addresses.get(&dc).copied().ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::Unavailable,
                format!("look for data centre {dc}"),
                "its address is not known",
            )
        })
    }

    /// Adds addresses that the server sent. Known addresses stay, so an answer cannot lead a test to
    /// another server.
    pub fn learn(&self, told: impl IntoIterator<Item = (i32, SocketAddr)>) {
        let mut addresses = self.addresses.acquire();
        for (dc, address) in told {
            addresses.entry(dc).or_insert(address);
        }
    }
}
