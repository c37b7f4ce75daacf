//! The accept loop: limits on connections, their timeouts, and the stop. hyper speaks HTTP on each
//! connection; the timers and limits that it lacks are here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::vfs::Vfs;

use super::body;
use super::books::StallLimits;
use super::client::{HttpClient, PeerKind};
use super::config::GatewayConfig;
use super::deadline_io::DeadlineIo;
use super::forwarded::{self, PeerAddress};
use super::gateway::{Gateway, SharedGateway};
use super::library::SharedLibrary;
use super::metrics::Metrics;
use super::places::{ConnectionPlace, ConnectionTable};
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
/// Bytes that an HTTP/2 client may send before they are read. No request has a body that is read.
const H2_RECEIVE_WINDOW: u32 = 64 * 1024;
/// Unsent bytes that the kernel takes of a connection. Without the limit it takes 4 MB, which a client
/// that never reads would hold.
const UNSENT_BYTES: u32 = 512 * 1024;
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
    let timers = gateway.config.timers;
    background.spawn(gateway.budget.clone().watch(StallLimits {
        unread: timers.unread,
        pause: timers.pause,
    }));
    let (stop, stopped) = watch::channel(());
    let limits = gateway.config.limits;
    let acceptor = Acceptor {
        router: routes::router(gateway.clone()),
        tls,
        stopped,
        places: ConnectionTable::new(limits.connections, limits.connections_per_address),
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
    places: Arc<ConnectionTable>,
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
                next = listener.accept() => next,
            };
            let (stream, peer) = match next {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let kind = match forwarded::is_proxy(&self.gateway.config, PeerAddress(peer)) {
                true => PeerKind::Proxy,
                false => PeerKind::Client,
            };
            let client = HttpClient::new(peer.ip(), kind);
            let place = tokio::select! {
                () = &mut shutdown => return,
                place = self.places.enter(&client) => place,
            };
            match place {
                Some(place) => {
                    let entered = Entered {
                        peer,
                        client,
                        place,
                    };
                    self.start(stream, entered, tasks);
                }
                None => {
                    self.gateway.metrics.connection_refused();
                    tracing::debug!(%peer, "too many connections from one address");
                }
            }
        }
    }

    fn start(&self, stream: TcpStream, entered: Entered, tasks: &mut JoinSet<()>) {
        let Entered {
            peer,
            client,
            place,
        } = entered;
        let open = OpenConnection::new(self.gateway.metrics.clone());
        let connection = HttpConnection {
            gateway: self.gateway.clone(),
            router: self.router.clone(),
            stopped: self.stopped.clone(),
            peer: PeerAddress(peer),
            client,
        };
        let tls = self.tls.clone();
        tasks.spawn(async move {
            if let Err(error) = connection.run(stream, tls).await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
            drop((place, open));
        });
    }
}

/// A client that has a place.
struct Entered {
    peer: SocketAddr,
    client: HttpClient,
    place: ConnectionPlace,
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// One connection of a client.
struct HttpConnection {
    gateway: SharedGateway,
    router: Router,
    stopped: watch::Receiver<()>,
    peer: PeerAddress,
    client: HttpClient,
}

impl HttpConnection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<(), ConnectionError> {
        let timers = self.gateway.config.timers;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        let stall = timers.unread.max(timers.pause);
        let stream = DeadlineIo::new(stream, stall);
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
                    () = self.client.cut.wait() => return Ok(()),
                };
                let stream = DeadlineIo::new(stream, stall);
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
        let client = self.client;
        let service = service_fn({
            let (gateway, router) = (self.gateway, self.router);
            let (client, peer) = (client.clone(), self.peer);
            move |mut request: Request<Incoming>| {
                client.pulse.request();
                let client = sender(&gateway, &client, request.headers());
                request.extensions_mut().insert(client.clone());
                request.extensions_mut().insert(peer);
                let (gateway, router) = (gateway.clone(), router.clone());
                async move {
                    let Some(slot) = gateway.budget.answer(&client).await else {
                        return Ok::<_, Infallible>(body::crowded());
                    };
                    let answer = routes::answer(&gateway, router, request.map(Body::new)).await;
                    Ok(body::in_budget(&gateway.budget, &client, slot, answer).await)
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
                () = client.cut.wait() => return Ok(()),
                _ = self.stopped.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = idle.tick() => {
                    let now = client.pulse.requests();
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

/// Returns the client whose share a request uses: the one behind the connection or, from a trusted proxy, the
/// one that it names.
fn sender(gateway: &SharedGateway, connection: &HttpClient, headers: &HeaderMap) -> HttpClient {
    let named = match connection.peer {
        PeerKind::Client => None,
        PeerKind::Proxy => forwarded::client(&gateway.config, headers),
    };
    match named {
        Some(address) => connection.on_behalf_of(address),
        None => connection.clone(),
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
        .initial_connection_window_size(H2_RECEIVE_WINDOW)
        .initial_stream_window_size(H2_RECEIVE_WINDOW)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_INTERVAL);
    builder
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
