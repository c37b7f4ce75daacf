//! Connection of one bot. It is made when it is needed, and made again after it broke.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use grammers_tl_types::{self as tl, Serializable, enums, functions};
use tokio::time::{Instant, timeout};

use super::answer;
use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::connection::MtprotoConnection;
use super::data_centres::DataCentres;
use crate::remote::telegram::settings::ApiId;

/// Pause after the first failure to connect. Each further failure doubles it up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Unanswered calls in a row after which the connection is made anew.
const SILENT_CALLS: u32 = 3;
/// Time limit of the first call of a connection.
const INIT_LIMIT: Duration = Duration::from_secs(15);

/// Peer of a connection, and the identity that it is made with.
#[derive(Debug, Clone)]
pub struct ConnectionTarget {
    /// Addresses of the data centres.
    pub centres: Arc<DataCentres>,
    /// Data centre to connect to.
    pub dc: i32,
    /// Key that was agreed on with it.
    pub key: AuthKeyBytes,
    /// Application that introduces itself.
    pub api: ApiId,
}

/// Connection that is made again after it broke.
#[derive(Debug)]
pub struct ReconnectingConnection {
    target: ConnectionTarget,
    slot: tokio::sync::Mutex<ConnectionState>,
    in_flight: AtomicUsize,
    silent: AtomicU32,
}

#[derive(Debug, Default)]
struct ConnectionState {
    connection: Option<Arc<MtprotoConnection>>,
    failures: u32,
    not_before: Option<Instant>,
    /// Answer of the service that it does not know the key, which no further try changes.
    signed_out: Option<CallError>,
}

impl ReconnectingConnection {
    /// Makes a connection that the first call opens.
    pub fn new(target: ConnectionTarget) -> Self {
        Self {
            target,
            slot: tokio::sync::Mutex::default(),
            in_flight: AtomicUsize::new(0),
            silent: AtomicU32::new(0),
        }
    }

    /// Returns the calls under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Makes one call, within `limit` from the moment at which the connection is open.
    ///
    /// # Errors
    /// The service's answer, or the reason why there is no connection.
    pub async fn call(&self, body: Bytes, limit: Duration) -> Result<Vec<u8>, CallError> {
        let _turn = InFlight::begin(&self.in_flight);
        let connection = self.connection().await?;
        match timeout(limit, connection.call(body)).await {
            Ok(answer) => {
                self.silent.store(0, Ordering::Relaxed);
                answer
            }
            Err(_) => {
                if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_CALLS {
                    self.silent.store(0, Ordering::Relaxed);
                    self.disconnect(&connection).await;
                }
                Err(CallError::TimedOut(limit))
            }
        }
    }

    async fn disconnect(&self, broken: &Arc<MtprotoConnection>) {
        let mut slot = self.slot.lock().await;
        if slot
            .connection
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, broken))
        {
            slot.connection = None;
        }
    }

    async fn connection(&self) -> Result<Arc<MtprotoConnection>, CallError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection
            && connection.is_open()
        {
            return Ok(Arc::clone(connection));
        }
        slot.connection = None;
        if let Some(not_before) = slot.not_before
            && Instant::now() < not_before
        {
            return Err(slot.signed_out.clone().unwrap_or_else(|| {
                CallError::Disconnected("the last try to connect failed; the next one waits".into())
            }));
        }
        match self.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *slot = ConnectionState {
                    connection: Some(Arc::clone(&connection)),
                    failures: 0,
                    not_before: None,
                    signed_out: None,
                };
                Ok(connection)
            }
            Err(error) => {
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(slot.failures.min(10));
                slot.failures = slot.failures.saturating_add(1);
                slot.signed_out = error.is_signed_out().then(|| error.clone());
                slot.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
                Err(error)
            }
        }
    }

    /// Connects and introduces the application (`invokeWithLayer`, `initConnection`).
    async fn connect(&self) -> Result<MtprotoConnection, CallError> {
        let centres = &self.target.centres;
        let address = centres
            .address(self.target.dc)
            .map_err(|error| CallError::Disconnected(error.to_string()))?;
        let connection = MtprotoConnection::open(address, self.target.key, centres.clock()).await?;
        let introduction = functions::InvokeWithLayer {
            layer: tl::LAYER,
            query: functions::InitConnection {
                api_id: self.target.api.id,
                device_model: "tgfs".into(),
                system_version: std::env::consts::OS.into(),
                app_version: env!("CARGO_PKG_VERSION").into(),
                system_lang_code: "en".into(),
                lang_pack: String::new(),
                lang_code: "en".into(),
                proxy: None,
                params: None,
                query: functions::help::GetConfig {},
            },
        };
        let answer = timeout(INIT_LIMIT, connection.call(introduction.to_bytes().into()))
            .await
            .unwrap_or(Err(CallError::TimedOut(INIT_LIMIT)))?;
        let enums::Config::Config(config) = answer::decode(&answer)?;
        centres.learn(config.dc_options.iter().filter_map(usable_address));
        Ok(connection)
    }
}

/// Returns the address of a data centre, if it serves all purposes over IPv4.
pub fn usable_address(option: &enums::DcOption) -> Option<(i32, SocketAddr)> {
    let enums::DcOption::Option(option) = option;
    let special = option.ipv6 || option.media_only || option.tcpo_only || option.cdn;
    let ip: IpAddr = option.ip_address.parse().ok()?;
    let port = u16::try_from(option.port).ok()?;
    (!special).then(|| (option.id, SocketAddr::new(ip, port)))
}

/// Count of one call. It ends when the call is dropped, too.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
