//! Settings of the gateway: its names, the clients that it trusts, limits and timeouts.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Access;
use crate::model::{AddressRange, PublicAddress, TlsFiles, WebScheme};

/// Settings of one gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Host name or address for local URLs (`LOCAL_HOST`), without a port.
    pub local_host: Option<String>,
    /// Public address (`PUBLIC_DOMAIN`).
    pub public: Option<PublicAddress>,
    /// Addresses whose headers about clients are believed (`TGFS_TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<AddressRange>,
    pub trust: Trust,
    pub tls: Option<TlsFiles>,
    pub limits: HttpLimits,
    pub timers: Timers,
}

/// Clients that may do more than open films by their ids.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that show the token or signed in.
    Guarded(Arc<Access>),
    /// Everyone (`TGFS_HTTP_OPEN=on`).
    Open,
}

/// Limits on connections and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Maximum of open connections. A newcomer gets the place of the one that is idle for longest.
    pub connections: usize,
    /// Maximum of open connections of one address (one /64 of IPv6); more are closed at once. Loopback
    /// and trusted proxies are exempt, since they serve many clients.
    pub connections_per_address: usize,
    /// Maximum of files being sent at a time, half of them to one address. A newcomer gets the place of
    /// the client that took nothing for longest; if all make progress, it gets 503.
    pub bodies: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            // A household with a scanning media server uses fewer than 50.
            connections: 512,
            connections_per_address: 64,
            // 64 MiB of memory, and 32 MiB for what is read ahead.
            bodies: 256,
        }
    }
}

/// Timeouts and intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Timeout for the TLS handshake, for the first request line, and for the headers of each request.
    /// It also ends idle HTTP/1 connections.
    pub first_byte: Duration,
    /// Time after which a client that never read much of an answer is disconnected.
    pub unread: Duration,
    /// Time after which a client that read, and takes nothing any more, is disconnected
    /// (`TGFS_HTTP_PAUSE`).
    pub pause: Duration,
    /// Time after which an HTTP/2 connection without requests is closed.
    pub idle: Duration,
    /// Time that running answers get after a stop.
    pub drain: Duration,
    /// Interval at which certificate files are checked for changes.
    pub certificate_check: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            // A phone takes up to 10 s to wake its radio.
            first_byte: Duration::from_secs(15),
            // A viewer may pause in the first minute, too.
            unread: Duration::from_secs(300),
            pause: Duration::from_secs(1800),
            idle: Duration::from_secs(120),
            // Running requests may take this long after a stop.
            drain: Duration::from_secs(20),
            certificate_check: Duration::from_secs(10),
        }
    }
}

impl GatewayConfig {
    /// Returns settings for plain HTTP on loopback names, with the default limits.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self {
            local_host: None,
            public: None,
            trusted_proxies: Vec::new(),
            trust,
            tls: None,
            limits: HttpLimits::default(),
            timers: Timers::default(),
        }
    }
    /// Returns the scheme that the gateway itself serves.
    pub(super) const fn scheme(&self) -> WebScheme {
        match self.tls {
            Some(_) => WebScheme::Https,
            None => WebScheme::Http,
        }
    }
    /// Returns the path before those of the gateway in public URLs; empty without one.
    pub(super) fn public_path(&self) -> &str {
        self.public
            .as_ref()
            .map_or("", |public| public.path.as_str())
    }
}
