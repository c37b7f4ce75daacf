//! Tests of a server that speaks the protocol and sends odd numbers in it.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use grammers_tl_types::{Serializable, enums, types};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection::MtprotoConnection;
use crate::remote::telegram::mtproto::handshake;
use crate::remote::telegram::mtproto::service_clock::ServiceClock;
use crate::remote::telegram::untrusted::{KEY, ServerSide};

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

/// Anybody may make a bot an administrator of a channel of their own.
#[tokio::test]
async fn a_mark_that_names_another_home_does_not_lead_the_log_away() {
    let options = Options {
        channels: 2,
        ..unlimited(2)
    };
    let bench = Bench::start(options).await;
    let (ours, theirs) = (telegram_sim::Channel(1), telegram_sim::Channel(2));
    bench.sim.add_bot(theirs, telegram_sim::Bot(1)).unwrap();
    let mut settings = bench.settings();
    settings.bots.truncate(1);
    let remote = || -> Arc<dyn Remote> {
        let keys = Arc::clone(&bench.keys) as Arc<dyn KeyStore>;
        Arc::new(TelegramRemote::new(&settings, &keys))
    };
    let id = LibraryId::random();
    let mark = LibraryMark { id, wrap: None };
    remote().create_library(&mark).await.unwrap();
    assert_eq!(
        remote().library().await.unwrap().map(|mark| mark.id),
        Some(id)
    );

    let home = crate::model::ChannelId::from_chat_id(&bench.sim.chat_id(theirs).to_string())
        .unwrap()
        .get();
    let caption = format!("tgfs1 library library={id} home={home}");
    for channel in [ours, theirs] {
        let post = telegram_sim::ForeignPost {
            caption: caption.clone(),
            document: None,
        };
        let post = bench.sim.add_foreign_post(channel, post).unwrap();
        bench.sim.pin_post(channel, post).unwrap();
    }
    let before = bench.sim.last_id(theirs).unwrap();
    let again = remote();
    assert_eq!(again.library().await.unwrap().map(|mark| mark.id), Some(id));
    let object = LogObject {
        kind: LogKind::Manifest,
        number: 1,
        writer: crate::model::WriterId::random(),
    };
    let manifest = bytes::Bytes::from_static(b"names of all files");
    again.append_log(object, manifest).await.unwrap();
    assert_eq!(bench.sim.last_id(theirs).unwrap(), before);
    assert!(bench.sim.last_id(ours).unwrap() > before);
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

const CONTAINER: u32 = 0x73f1_f8dc;
const MESSAGE_COPY: u32 = 0xe060_46b2;
const RPC_RESULT: u32 = 0xf35c_6d01;
const GZIP_PACKED: u32 = 0x3072_cfa1;
const FUTURE_SALT: u32 = 0x0949_d9dc;
const UNKNOWN: u32 = 0x1234_5678;

/// Returns a message with this body, which says that it has `len` bytes.
fn message_of(len: i32, body: &[u8]) -> Vec<u8> {
    let mut message = (7_i64 << 32 | 1).to_le_bytes().to_vec();
    message.extend(1_i32.to_le_bytes());
    message.extend(len.to_le_bytes());
    message.extend(body);
    message
}

fn message(body: &[u8]) -> Vec<u8> {
    message_of(i32::try_from(body.len()).unwrap(), body)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns an answer to the client's call.
fn answer(body: &[u8]) -> Vec<u8> {
    [&words(&[RPC_RESULT])[..], b"\0CALLID\0", body].concat()
}

fn packed(mib: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..mib {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    let mut object = words(&[GZIP_PACKED]);
    encoder.finish().unwrap().serialize(&mut object);
    object
}

/// Returns containers, each of which holds the next one.
fn containers(depth: usize) -> Vec<u8> {
    let mut heads = Vec::new();
    let mut len = 8_i32;
    for _ in 0..depth {
        let mut head = words(&[CONTAINER, 1]);
        head.extend(message_of(len, &[]));
        len += i32::try_from(head.len()).unwrap();
        heads.push(head);
    }
    heads.reverse();
    let mut body = heads.concat();
    body.extend(words(&[CONTAINER, 0]));
    body
}

/// Says one thing to a client that has made a call, and keeps the connection.
async fn say(listener: TcpListener, said: Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet).await.unwrap();
    let len = u32::from_le_bytes(packet[..4].try_into().unwrap());
    packet.resize(len as usize, 0);
    stream.read_exact(&mut packet[4..]).await.unwrap();
    let said = ServerSide::hear(&packet).unwrap().say(&said);
    stream.write_all(&said).await.unwrap();
    std::future::pending().await
}

/// Returns the answer to a call of a client to which the server says `said`.
async fn told(said: Vec<u8>) -> Result<Vec<u8>, CallError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(say(listener, said));
    let connection = MtprotoConnection::open(address, KEY, &ServiceClock::default())
        .await
        .unwrap();
    let calling = connection.call(words(&[UNKNOWN]).into());
    let answer = tokio::time::timeout(Duration::from_secs(15), calling).await;
    serving.abort();
    answer.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_under_a_valid_key_ends_its_own_connection_at_most() {
    let sound = message(&answer(&words(&[UNKNOWN, 1, 2, 3])));
    let small = message(&answer(&packed(1)));
    let salts = |since: i32| {
        let salts = types::FutureSalts {
            req_msg_id: 1,
            now: 1,
            salts: grammers_tl_types::RawVec(vec![types::FutureSalt {
                valid_since: since,
                valid_until: 2,
                salt: 3,
            }]),
        };
        message(&enums::FutureSalts::Salts(salts).to_bytes())
    };
    let mut negative = message(&words(&[UNKNOWN]));
    negative[..8].copy_from_slice(&i64::MIN.to_le_bytes());
    let hostile = [
        ("a packed answer of 16 MiB", message(&answer(&packed(16)))),
        ("a packed message of 16 MiB", message(&packed(16))),
        ("many containers", message(&containers(40_000))),
        ("a long container", message(&words(&[CONTAINER, u32::MAX]))),
        ("a negative length", message_of(-1, &words(&[UNKNOWN]))),
        ("an absurd length", message_of(i32::MAX, &words(&[UNKNOWN]))),
        ("a negative number", negative),
        ("a copy", message(&words(&[MESSAGE_COPY]))),
        ("a salt alone", message(&words(&[FUTURE_SALT]))),
        ("salts before all time", salts(i32::MIN)),
        ("no constructor", message(&[])),
    ];
    for (what, said) in hostile {
        let outcome = told(said).await.map(|body| body.len());
        // The caller learns why, and another connection works as before.
        let Err(CallError::Unexpected(reason)) = outcome else {
            panic!("{what}: {outcome:?}");
        };
        assert!(!reason.is_empty(), "{what}");
        let body = told(sound.clone()).await.unwrap();
        assert_eq!(body, words(&[UNKNOWN, 1, 2, 3]), "{what}");
    }
    assert_eq!(told(small).await.unwrap().len(), 1 << 20);
}
