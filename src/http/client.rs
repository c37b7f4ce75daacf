//! The client behind a request: the network that it comes from, the time since it last took something,
//! and the handle that closes its connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::sync::MutexExt as _;

/// Network of a client, the unit in which shares are counted: an IPv4 address, or a /64 of IPv6. A
/// household has one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// Returns the network of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
            }
            address => address,
        })
    }

    /// Returns whether it is this machine. A proxy here serves many clients from one address.
    pub(super) fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

/// Handle to close the connection of a request at once.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionCut(Arc<Notify>);

impl ConnectionCut {
    /// Closes the connection.
    pub(super) fn now(&self) {
        self.0.notify_one();
    }
    /// Waits until the connection is to be closed.
    pub(super) async fn wait(&self) {
        self.0.notified().await;
    }
}

/// Progress of a connection: requests that began and bytes that the client took. Signs of life of the
/// protocol, such as pings, are none.
#[derive(Debug, Clone)]
pub(super) struct ConnectionPulse(Arc<PulseCounters>);

#[derive(Debug)]
struct PulseCounters {
    opened: Instant,
    /// Milliseconds from `opened` to the last progress.
    last: AtomicU64,
    requests: AtomicU64,
    /// Bodies that are being sent.
    bodies: AtomicU64,
    /// Answers that wait for room.
    waiting: AtomicU64,
}

impl Default for ConnectionPulse {
    fn default() -> Self {
        Self(Arc::new(PulseCounters {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }))
    }
}

impl ConnectionPulse {
    /// Notes a request.
    pub(super) fn request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.beat();
    }
    /// Notes the begin of a body.
    pub(super) fn body_begins(&self) {
        self.0.bodies.fetch_add(1, Ordering::Relaxed);
    }
    /// Notes the end of a body.
    pub(super) fn body_ends(&self) {
        self.0.bodies.fetch_sub(1, Ordering::Relaxed);
    }
    /// Notes that an answer waits for room.
    pub(super) fn wait_begins(&self) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
    }
    /// Notes that an answer waits no more.
    pub(super) fn wait_ends(&self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
    /// Returns the number of bodies that are being sent and of answers that wait for room.
    pub(super) fn load(&self) -> u64 {
        self.bodies() + self.0.waiting.load(Ordering::Relaxed)
    }
    /// Returns the number of bodies that are being sent.
    pub(super) fn bodies(&self) -> u64 {
        self.0.bodies.load(Ordering::Relaxed)
    }
    /// Notes that the client took bytes.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(now, Ordering::Relaxed);
    }
    /// Returns the number of requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
    /// Returns the time since the last progress.
    pub(super) fn idle(&self) -> Duration {
        let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
        self.0.opened.elapsed().saturating_sub(last)
    }
}

/// Kind of the program at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerKind {
    Client,
    /// A proxy of TGFS_TRUSTED_PROXIES, which names the client of each request.
    Proxy,
}

/// Client on one connection. It is an extension of each request.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    /// Network whose share a request uses.
    pub network: ClientNetwork,
    pub peer: PeerKind,
    pub cut: ConnectionCut,
    pub pulse: ConnectionPulse,
    /// Network of the connection's last request.
    latest: Arc<Mutex<ClientNetwork>>,
}

impl HttpClient {
    /// Returns the client of a new connection.
    pub(super) fn new(address: IpAddr, peer: PeerKind) -> Self {
        let network = ClientNetwork::of(address);
        Self {
            network,
            peer,
            cut: ConnectionCut::default(),
            pulse: ConnectionPulse::default(),
            latest: Arc::new(Mutex::new(network)),
        }
    }

    /// Returns the client of a request that a proxy passed on for `address`.
    pub(super) fn on_behalf_of(&self, address: IpAddr) -> Self {
        let network = ClientNetwork::of(address);
        *self.latest.acquire() = network;
        Self {
            network,
            ..self.clone()
        }
    }

    /// Returns the network that the connection serves: that of its last request.
    pub(super) fn served(&self) -> ClientNetwork {
        *self.latest.acquire()
    }

    /// Returns whether the connection may be one of many from its address, which serve others.
    pub(super) fn may_have_many(&self) -> bool {
        self.peer == PeerKind::Proxy || self.network.is_loopback()
    }

    /// Returns whether both are on one connection.
    pub(super) fn shares_connection(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pulse.0, &other.pulse.0)
    }
}

impl Default for HttpClient {
    /// Returns a client of this machine, for requests without a connection.
    fn default() -> Self {
        Self::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PeerKind::Client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_one_network() {
        let of = |text: &str| ClientNetwork::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:127.0.0.1"), of("127.0.0.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert!(of("::ffff:127.0.0.1").is_loopback() && of("::1").is_loopback());
    }
}
