//! Tests of a server that speaks the protocol and sends odd numbers in it.

use std::time::Duration;

use grammers_tl_types::{Serializable, enums, types};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::remote::telegram::mtproto::handshake;

/// First answer of the server in a key exchange.
#[derive(Debug, Clone, Copy)]
enum Opening {
    /// A product to factor.
    Product(u64),
    /// A message that says that it has this many bytes.
    Length(i32),
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let total = u32::try_from(payload.len() + 12).unwrap();
    let mut packet = total.to_le_bytes().to_vec();
    packet.extend(0_u32.to_le_bytes());
    packet.extend(payload);
    packet.extend(crc32fast::hash(&packet).to_le_bytes());
    packet
}

/// Answers the first message of one client, and keeps the connection.
async fn open(listener: TcpListener, opening: Opening, fingerprint: i64) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 8 + 20 + 4 + 16 + 4];
    stream.read_exact(&mut request).await.unwrap();
    let nonce = request[32..48].try_into().unwrap();
    let product = match opening {
        Opening::Product(product) => product,
        Opening::Length(_) => 15,
    };
    let body = enums::ResPq::Pq(types::ResPq {
        nonce,
        server_nonce: [1; 16],
        pq: product.to_be_bytes().to_vec(),
        server_public_key_fingerprints: vec![fingerprint],
    })
    .to_bytes();
    let length = match opening {
        Opening::Product(_) => i32::try_from(body.len()).unwrap(),
        Opening::Length(length) => length,
    };
    let mut payload = vec![0; 8];
    payload.extend((1_i64 << 32 | 1).to_le_bytes());
    payload.extend(length.to_le_bytes());
    payload.extend(body);
    stream.write_all(&packet(&payload)).await.unwrap();
    std::future::pending().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_numbers_in_a_key_exchange_are_an_error_of_that_exchange() {
    let sim = Sim::start(unlimited(1)).await.unwrap();
    let key = ServerKey::from_pem(&sim.key_pem().unwrap()).unwrap();
    let fingerprint = handshake::fingerprint(&key).unwrap();
    for opening in [
        Opening::Product(0),
        Opening::Product(1),
        Opening::Product(9),
        // The greatest prime below 2^64, which has no factors to find.
        Opening::Product(18_446_744_073_709_551_557),
        Opening::Length(i32::MAX),
        Opening::Length(-1),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(open(listener, opening, fingerprint));
        let server = TelegramServer::Own {
            dc: 2,
            address,
            key: key.clone(),
        };
        let agreeing = handshake::agree(&server, address);
        // Well below the time limit of the exchange itself.
        let agreed = tokio::time::timeout(Duration::from_secs(15), agreeing).await;
        assert!(agreed.unwrap().is_err(), "{opening:?}");
        serving.abort();
    }
}
