//! Tests of TLS, HTTP/2 and the renewal of certificates.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::library::{Scripted, pattern};
use super::{Reply, Server, TOKEN, config};
use crate::model::TlsFiles;

/// Writes a new self-signed certificate and returns it, for the client to trust.
fn renew(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, server.connect().await)
        .await
}

fn tls(directory: &Path) -> crate::http::GatewayConfig {
    let mut config = config();
    config.tls = Some(TlsFiles {
        certificates: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    });
    config.timers.certificate_check = Duration::from_millis(20);
    config
}

#[tokio::test]
async fn tls_serves_and_a_renewed_certificate_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let first = renew(directory.path());
    let library = Scripted::new(&[(b"/a.mkv", pattern(700_000))]);
    let server = Server::start(library, tls(directory.path())).await;
    let mut stream = connect(&server, &first, b"http/1.1").await.unwrap();
    stream
        .write_all(b"GET /t/correct-horse-battery-staple/fs/a.mkv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let reply = Reply::read(&mut stream, false).await;
    assert_eq!((reply.status, reply.body == pattern(700_000)), (200, true));
    fs::write(directory.path().join("cert.pem"), "not a certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    connect(&server, &first, b"http/1.1").await.unwrap();
    let second = renew(directory.path());
    for attempt in 0.. {
        if connect(&server, &second, b"http/1.1").await.is_ok() {
            break;
        }
        assert!(attempt < 500, "the new certificate is not in use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn files_that_are_no_certificate_stop_the_start_with_their_name() {
    let directory = tempfile::tempdir().unwrap();
    renew(directory.path());
    fs::write(directory.path().join("key.pem"), "nothing").unwrap();
    let server = Server::start(Scripted::new(&[]), tls(directory.path())).await;
    let error = server.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
}

#[tokio::test]
async fn http2_is_chosen_and_serves() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = renew(directory.path());
    // Smaller than a client's initial window.
    let library = Scripted::new(&[(b"/a.mkv", pattern(60_000))]);
    let server = Server::start(library, tls(directory.path())).await;
    let stream = connect(&server, &certificate, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let got = http2::get(stream, &format!("/t/{TOKEN}/fs/a.mkv")).await;
    assert!(
        got.ended && got.data == pattern(60_000),
        "{} bytes came",
        got.data.len()
    );
}

#[tokio::test]
async fn an_http2_stream_that_takes_nothing_is_cut() {
    let mut config = config();
    config.timers.unread = Duration::from_millis(300);
    let library = Scripted::new(&[(b"/a.mkv", pattern(5_000_000))]);
    let server = Server::start(library, config).await;
    // This client never enlarges its window, so the answer waits for ever.
    let got = http2::get(server.connect().await, &format!("/t/{TOKEN}/fs/a.mkv")).await;
    assert!(
        !got.ended && got.data.len() <= 65_535,
        "{} bytes came",
        got.data.len()
    );
    server.assert_handles_are_released().await;
}

/// HTTP/2 (RFC 9113) as far as one GET needs it. It uses no library, which might share the server's
/// mistakes.
mod http2 {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

    pub struct Got {
        pub data: Vec<u8>,
        /// True if the stream ended with END_STREAM.
        pub ended: bool,
    }

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        bytes.extend_from_slice(payload);
        bytes
    }

    pub async fn get<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, path: &str) -> Got {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ] {
            // A literal field without indexing (RFC 7541 §6.2.2).
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(4, 0, 0, &[]));
        hello.extend(frame(1, 0x5, 1, &block));
        stream.write_all(&hello).await.unwrap();
        let mut got = Got {
            data: Vec::new(),
            ended: false,
        };
        let mut head = [0; 9];
        while !got.ended && stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                break;
            }
            match (head[3], head[4] & 1) {
                (0, end) => {
                    got.data.extend(payload);
                    got.ended = end == 1;
                }
                // A SETTINGS frame that is no acknowledgement.
                (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).await.unwrap(),
                _ => {}
            }
        }
        got
    }
}
