//! Tests of the gateway over real TCP, with requests as raw bytes and a scripted library.

mod files;
mod library;
mod limits;
mod login;
mod players;
mod tls;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::library::Scripted;
use super::config::{GatewayConfig, Trust};
use super::server::{ServeError, serve_library};
use crate::access::Access;

/// Token of every test server.
pub const TOKEN: &str = "correct-horse-battery-staple";

/// Returns settings of a gateway with [`TOKEN`] and no sessions. The state directory stays for the test's
/// process, since sessions are written there.
pub fn config() -> GatewayConfig {
    let state = tempfile::tempdir().unwrap().keep();
    std::fs::write(state.join("http-token"), TOKEN).unwrap();
    GatewayConfig::new(Trust::Guarded(Arc::new(Access::open(&state).unwrap())))
}

pub struct Server {
    pub address: SocketAddr,
    pub library: Arc<Scripted>,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub async fn start(library: Scripted, config: GatewayConfig) -> Self {
        Self::start_at("127.0.0.1:0", library, config).await
    }
    pub async fn start_at(address: &str, library: Scripted, config: GatewayConfig) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let library = Arc::new(library);
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = library.clone();
        let task = tokio::spawn(async move {
            serve_library(listener, shared, config, async {
                let _ = stopped.await;
            })
            .await
        });
        Self {
            address,
            library,
            stop: Some(stop),
            task,
        }
    }
    /// Sends one request of the owner, who shows the token.
    pub async fn ask(&self, target: &str, headers: &[&str]) -> Reply {
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let headers: Vec<&str> = headers.iter().copied().chain([bearer.as_str()]).collect();
        self.ask_as_stranger(target, &headers).await
    }
    /// Sends one request on a connection of its own. `target` holds method and target.
    pub async fn ask_as_stranger(&self, target: &str, headers: &[&str]) -> Reply {
        self.send(target, headers, "").await
    }
    /// Sends one request with a form.
    pub async fn post_form(&self, path: &str, headers: &[&str], form: &str) -> Reply {
        let length = format!("Content-Length: {}", form.len());
        let headers: Vec<&str> = headers.iter().copied().chain([length.as_str()]).collect();
        self.send(&format!("POST {path}"), &headers, form).await
    }
    async fn send(&self, target: &str, headers: &[&str], body: &str) -> Reply {
        let mut head = format!("{target} HTTP/1.1\r\n");
        if !headers.iter().any(|line| line.starts_with("Host:")) {
            head.push_str("Host: localhost\r\n");
        }
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("Connection: close\r\n\r\n");
        head.push_str(body);
        let mut stream = self.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        Reply::read(&mut stream, target.starts_with("HEAD")).await
    }
    pub async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), &[]).await
    }
    pub async fn get_as_stranger(&self, path: &str) -> Reply {
        self.ask_as_stranger(&format!("GET {path}"), &[]).await
    }
    pub async fn connect(&self) -> TcpStream {
        let port = self.address.port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }
    /// Waits until every handle is released, as it must be after each answer.
    pub async fn assert_handles_are_released(&self) {
        for _ in 0..500 {
            if self.library.open_handles() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} handles are still open", self.library.open_handles());
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// True if the body has the length that Content-Length says.
    pub complete: bool,
}

impl Reply {
    pub async fn read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, is_head: bool) -> Self {
        let mut bytes = Vec::new();
        // A server that breaks off may reset the connection; the bytes received before that count.
        let _ = stream.read_to_end(&mut bytes).await;
        Self::parse(&bytes, is_head)
    }
    pub fn parse(bytes: &[u8], is_head: bool) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        let mut reply = Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
            complete: true,
        };
        let length = reply
            .header("content-length")
            .map(|text| text.parse::<usize>().unwrap());
        reply.complete = is_head || length.is_none_or(|length| length == reply.body.len());
        reply
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}
