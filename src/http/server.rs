//! The accept loop: limits on connections, their timeouts, and the stop. hyper speaks HTTP on each
//! connection; the timers and limits that it lacks are here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::sync::MutexExt as _;
use crate::vfs::Vfs;

use super::body::ConnectionCut;
use super::config::GatewayConfig;
use super::deadline_io::DeadlineIo;
use super::forwarded::PeerAddress;
use super::gateway::{Gateway, SharedGateway};
use super::library::SharedLibrary;
use super::metrics::Metrics;
use super::routes;
use super::tls::{Certificates, TlsError};

/// Maximum bytes of an HTTP/1 request head, and of a connection's buffer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Maximum of header fields in a request.
const MAX_HEADERS: usize = 64;
/// Maximum bytes of the headers of an HTTP/2 request.
const MAX_H2_HEADER_BYTES: u32 = 16 * 1024;
/// Maximum of concurrent requests on one HTTP/2 connection.
const MAX_H2_STREAMS: u32 = 64;
/// Bytes that HTTP/2 buffers of one answer: one chunk.
const H2_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Interval of pings to a silent HTTP/2 client, and the timeout for its answer.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// Pause after a failed accept, e.g. without free descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Reason why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the listening socket has no address: {0}")]
    Listener(io::Error),
}

/// Serves until `shutdown` completes. Then it accepts no more connections, waits up to
/// [`super::Timers::drain`] for running answers, and closes the rest.
///
/// # Errors
/// When the certificate files are unusable, or the socket does not listen.
pub async fn serve(
    listener: TcpListener,
    vfs: Vfs,
    config: GatewayConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_library(listener, Arc::new(vfs), config, shutdown).await
}

pub(super) async fn serve_library(
    listener: TcpListener,
    library: SharedLibrary,
    config: GatewayConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let certificates = config.tls.clone().map(Certificates::load).transpose()?;
    let tls = certificates
        .as_ref()
        .map(Certificates::acceptor)
        .transpose()?;
    let gateway = Arc::new(Gateway::new(library, config, address));
    // Both sets end with this function.
    let mut tasks = JoinSet::new();
    let mut background = JoinSet::new();
    if let Some(certificates) = certificates {
        background.spawn(certificates.follow(gateway.config.timers.certificate_check));
    }
    let (stop, stopped) = watch::channel(());
    let acceptor = Acceptor {
        router: routes::router(gateway.clone()),
        tls,
        stopped,
        slots: Arc::new(Semaphore::new(gateway.config.limits.connections)),
        addresses: Arc::default(),
        gateway,
    };
    acceptor.run(&listener, &mut tasks, shutdown).await;
    drop(listener);
    drop(stop);
    let drain = acceptor.gateway.config.timers.drain;
    let drained = tokio::time::timeout(drain, async { while tasks.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::info!(
            connections = tasks.len(),
            "answers that were still running at the stop were cut off"
        );
        tasks.shutdown().await;
    }
    Ok(())
}

/// Acceptor of connections, which starts their tasks.
struct Acceptor {
    gateway: SharedGateway,
    router: Router,
    tls: Option<TlsAcceptor>,
    /// Its sender is dropped at the stop.
    stopped: watch::Receiver<()>,
    slots: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

impl Acceptor {
    async fn run(
        &self,
        listener: &TcpListener,
        tasks: &mut JoinSet<()>,
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::pin!(shutdown);
        loop {
            let next = tokio::select! {
                () = &mut shutdown => return,
                Some(_ended) = tasks.join_next() => continue,
                next = self.next(listener) => next,
            };
            match next {
                Ok((stream, peer, slot)) => self.start(stream, peer, slot, tasks),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Returns the next connection. It waits for a free slot first, so that clients beyond the limit wait
    /// in the kernel's queue.
    async fn next(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, slot))
    }

    fn start(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
        tasks: &mut JoinSet<()>,
    ) {
        let limit = self.gateway.config.limits.connections_per_address;
        let Some(place) = self.addresses.enter(peer.ip(), limit) else {
            self.gateway.metrics.connection_refused();
            tracing::debug!(%peer, "too many connections from one address");
            return;
        };
        let open = OpenConnection::new(self.gateway.metrics.clone());
        let connection = HttpConnection {
            gateway: self.gateway.clone(),
            router: self.router.clone(),
            stopped: self.stopped.clone(),
            peer: PeerAddress(peer),
        };
        let tls = self.tls.clone();
        tasks.spawn(async move {
            if let Err(error) = connection.run(stream, tls).await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
            drop((slot, place, open));
        });
    }
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// One connection of a client.
struct HttpConnection {
    gateway: SharedGateway,
    router: Router,
    stopped: watch::Receiver<()>,
    peer: PeerAddress,
}

impl HttpConnection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<(), ConnectionError> {
        let timers = self.gateway.config.timers;
        stream.set_nodelay(true)?;
        let stream = DeadlineIo::new(stream, timers.write_stall);
        match tls {
            None => {
                self.speak(stream.with_first_bytes_within(timers.first_byte))
                    .await
            }
            Some(tls) => {
                let mut stopped = self.stopped.clone();
                let stream = tokio::select! {
                    stream = tokio::time::timeout(timers.first_byte, tls.accept(stream)) => stream??,
                    _ = stopped.changed() => return Ok(()),
                };
                let stream = DeadlineIo::new(stream, timers.write_stall);
                self.speak(stream.with_first_bytes_within(timers.first_byte))
                    .await
            }
        }
    }

    async fn speak<S>(mut self, stream: S) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let timers = self.gateway.config.timers;
        let cut = ConnectionCut::default();
        let requests = Arc::new(AtomicU64::new(0));
        let service = service_fn({
            let (gateway, router) = (self.gateway.clone(), self.router.clone());
            let (cut, requests, peer) = (cut.clone(), requests.clone(), self.peer);
            move |mut request: Request<Incoming>| {
                requests.fetch_add(1, Ordering::Relaxed);
                request.extensions_mut().insert(cut.clone());
                request.extensions_mut().insert(peer);
                let (gateway, router) = (gateway.clone(), router.clone());
                async move {
                    let answer = routes::answer(&gateway, router, request.map(Body::new)).await;
                    Ok::<_, Infallible>(answer)
                }
            }
        });
        let builder = builder(timers.first_byte);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut idle = tokio::time::interval(timers.idle);
        idle.reset();
        let mut seen = 0;
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = cut.wait() => return Ok(()),
                _ = self.stopped.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = idle.tick() => {
                    let now = requests.load(Ordering::Relaxed);
                    if now == seen {
                        // Running answers continue. HTTP/1 has its own, shorter timer.
                        connection.as_mut().graceful_shutdown();
                    }
                    seen = now;
                }
            }
        }
    }
}

fn builder(head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_header_list_size(MAX_H2_HEADER_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_INTERVAL);
    builder
}

/// Number of open connections by address. An entry is removed with its last connection, so the table has
/// no more entries than there are connections.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<AddressSlot> {
        let address = network_of(address);
        let mut table = self.0.acquire();
        let count = table.entry(address).or_insert(0);
        if *count >= limit && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(AddressSlot {
            table: self.clone(),
            address,
        })
    }
}

/// A connection's entry in the table, removed when it is dropped.
struct AddressSlot {
    table: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut table = self.table.0.acquire();
        if let Some(count) = table.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.address);
            }
        }
    }
}

/// Returns the key of an address in the table: the IPv4 address, or the /64 of an IPv6 address. A
/// household has one of them.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        address => address,
    }
}

/// Guard that counts a connection as open until it is dropped.
struct OpenConnection(Arc<Metrics>);

impl OpenConnection {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_share_and_gives_it_back() {
        let addresses = Arc::new(Addresses::default());
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = addresses.enter(at("2001:db8::1"), 2);
        let second = addresses.enter(at("2001:db8::2"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(addresses.enter(at("2001:db8::3"), 2).is_none());
        assert!(addresses.enter(at("2001:db8:0:1::3"), 2).is_some());
        drop(first);
        assert!(addresses.enter(at("2001:db8::3"), 2).is_some());
        assert!(addresses.enter(at("::ffff:127.0.0.1"), 0).is_some());
        drop(second);
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
