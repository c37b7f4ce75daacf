//! What the gateway is told: names it answers to, whom it trusts, how long it waits.

use std::time::Duration;

use super::token::Token;
use crate::model::{PublicScheme, TlsFiles};

/// Settings of one gateway.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Host name or address for local URLs (`LOCAL_HOST`), without a port.
    pub local_host: Option<String>,
    /// Host name for public URLs (`PUBLIC_DOMAIN`), with a port if it has one.
    pub public_domain: Option<String>,
    /// Scheme of public URLs (`FORCE_HTTPS`).
    pub public_scheme: PublicScheme,
    pub trust: Trust,
    pub tls: Option<TlsFiles>,
    pub limits: Limits,
    pub timers: Timers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who may do what a stranger must not, when requests can come from beyond loopback.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Whoever shows this token.
    Token(Token),
    /// Everyone (`TGFS_HTTP_OPEN=on`).
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// Open connections of one address (one /64 of IPv6); more are closed at once. Loopback, where
    /// a proxy stands for many, is exempt.
    pub connections_per_address: usize,
    /// Bodies of files being sent at a time; more get 503. Each holds at most 1 MiB of
    /// memory.
    pub bodies: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A household with a scanning media server stays below 50.
            connections: 512,
            connections_per_address: 64,
            // At most 256 MiB.
            bodies: 256,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// For the TLS handshake, for the first request line, and for the headers of each request;
    /// also how long an idle HTTP/1 connection is kept.
    pub first_byte: Duration,
    /// How long a client may take nothing of an answer.
    pub write_stall: Duration,
    /// How long an HTTP/2 connection without a request is kept.
    pub idle: Duration,
    /// How long running answers may go on after the stop.
    pub drain: Duration,
    /// How often certificate files are looked at.
    pub certificate_check: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            // Beyond the 10 s that a phone takes to wake its radio.
            first_byte: Duration::from_secs(15),
            // As long as the usual web server waits.
            write_stall: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            // The contract's limit for running requests.
            drain: Duration::from_secs(20),
            certificate_check: Duration::from_secs(10),
        }
    }
}

impl HttpConfig {
    /// Plain HTTP on loopback names, with the default limits.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self {
            local_host: None,
            public_domain: None,
            public_scheme: PublicScheme::AsServed,
            trust,
            tls: None,
            limits: Limits::default(),
            timers: Timers::default(),
        }
    }
    /// Scheme of local URLs.
    pub(super) const fn local_scheme(&self) -> Scheme {
        match self.tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        }
    }
    /// Scheme of public URLs.
    pub(super) const fn served_public_scheme(&self) -> Scheme {
        match self.public_scheme {
            PublicScheme::Https => Scheme::Https,
            PublicScheme::AsServed => self.local_scheme(),
        }
    }
}
