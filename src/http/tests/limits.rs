//! Tests of clients that send nothing, never read, or disconnect, and of the stop.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::library::{Scripted, pattern};
use super::{Reply, Server, TOKEN, config};
use crate::http::Timers;
use crate::model::AddressRange;

/// More bytes than both kernels buffer for a connection on loopback.
const LARGE: usize = 64 * 1024 * 1024;

fn short() -> Timers {
    Timers {
        first_byte: Duration::from_millis(300),
        unread: Duration::from_millis(300),
        pause: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        drain: Duration::from_millis(500),
        certificate_check: Duration::from_millis(50),
    }
}

async fn server(timers: Timers) -> Server {
    let mut config = config();
    config.timers = timers;
    let library = Scripted::new(&[
        (b"/large.mkv", pattern(LARGE)),
        (b"/small.mkv", pattern(100)),
    ]);
    Server::start(library, config).await
}

/// Runs `future` with a timeout for a test that could hang. It does not measure speed.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

#[tokio::test]
async fn silent_and_half_spoken_clients_are_let_go() {
    let server = server(short()).await;
    for said in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET / HT",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = soon(said, stream.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_and_its_handle_released() {
    let server = server(short()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"GET /t/correct-horse-battery-staple/fs/large.mkv HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await
        .unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    server.assert_handles_are_released().await;
    let mut rest = Vec::new();
    let _ = soon("the cut", stream.read_to_end(&mut rest)).await;
    assert!(rest.len() < LARGE, "the client got all of it");
}

#[tokio::test]
async fn a_player_that_read_may_pause() {
    let timers = Timers {
        pause: Duration::from_secs(60),
        ..short()
    };
    let server = server(timers).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /fs/large.mkv HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer correct-horse-battery-staple\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = vec![0; 4 * 1024 * 1024];
    stream.read_exact(&mut bytes).await.unwrap();
    tokio::time::sleep(5 * timers.unread).await;
    soon("the rest", stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    let reply = Reply::parse(&bytes, false);
    assert!(reply.complete && reply.body.len() == LARGE);
}

#[tokio::test]
async fn a_newcomer_gets_the_place_of_one_that_never_reads() {
    let mut config = config();
    config.limits.connections = 4;
    config.limits.bodies = 4;
    let library = Scripted::new(&[(b"/large.mkv", pattern(LARGE))]);
    let server = Server::start(library, config).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /fs/large.mkv HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer correct-horse-battery-staple\r\n\r\n")
            .await
            .unwrap();
        idle.push(stream);
    }
    let reply = soon("an answer", server.get("/fs/large.mkv")).await;
    assert!(reply.status == 200 && reply.body.len() == LARGE);
}

/// Reads on and on, slowly enough that the file does not end during a test.
async fn take_slowly(mut stream: TcpStream) {
    let mut bytes = vec![0; 1024 * 1024];
    while stream.read_exact(&mut bytes).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_a_share_each() {
    let mut config = config();
    config.limits.bodies = 4;
    config.trusted_proxies = vec![AddressRange::parse("127.0.0.1").unwrap()];
    let library = Scripted::new(&[
        (b"/large.mkv", pattern(LARGE)),
        (b"/small.mkv", pattern(100)),
    ]);
    let server = Server::start(library, config).await;
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /fs/large.mkv HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\nAuthorization: Bearer correct-horse-battery-staple\r\n\r\n")
            .await
            .unwrap();
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        readers.spawn(take_slowly(stream));
    }
    let ask = async |from: &str| {
        let from = format!("X-Forwarded-For: {from}");
        server.ask("GET /fs/small.mkv", &[&from]).await.status
    };
    assert_eq!(ask("203.0.113.9").await, 503);
    assert_eq!(ask("198.51.100.1").await, 200);
    // What the client itself wrote before is not believed.
    assert_eq!(ask("198.51.100.1, 203.0.113.9").await, 503);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_handle() {
    let server = server(Timers::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"GET /t/correct-horse-battery-staple/fs/large.mkv HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await
        .unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).await.unwrap();
    drop(stream);
    server.assert_handles_are_released().await;
}

#[tokio::test]
async fn too_many_bodies_are_told_to_come_again() {
    let mut config = config();
    config.limits.bodies = 0;
    let library = Scripted::new(&[(b"/small.mkv", pattern(100))]);
    let server = Server::start(library, config).await;
    let reply = server.get("/fs/small.mkv").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn one_connection_more_than_there_are_slots_waits() {
    let mut config = config();
    config.limits.connections = 1;
    let server = Server::start(Scripted::new(&[]), config).await;
    let first = server.connect().await;
    tokio::task::yield_now().await;
    let mut second = server.connect().await;
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    second.write_all(ask).await.unwrap();
    drop(first);
    let reply = soon("the second answer", Reply::read(&mut second, false)).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn the_stop_lets_a_running_answer_end() {
    let timers = Timers {
        drain: Duration::from_secs(50),
        ..Timers::default()
    };
    let mut server = server(timers).await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"GET /t/correct-horse-battery-staple/fs/large.mkv HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await
        .unwrap();
    let mut bytes = vec![0; 1000];
    stream.read_exact(&mut bytes).await.unwrap();
    // An idle connection does not delay the stop.
    let idle = server.connect().await;
    server.stop.take().unwrap().send(()).unwrap();
    soon("the rest", stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    let reply = Reply::parse(&bytes, false);
    assert!(reply.complete && reply.body.len() == LARGE);
    soon("the end", server.task).await.unwrap().unwrap();
    drop(idle);
}

#[tokio::test]
async fn the_stop_cuts_what_does_not_end() {
    let mut timers = short();
    timers.unread = Duration::from_secs(300);
    let mut server = server(timers).await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"GET /t/correct-horse-battery-staple/fs/large.mkv HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await
        .unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    soon("the end", &mut server.task).await.unwrap().unwrap();
    server.assert_handles_are_released().await;
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let server = server(Timers::default()).await;
    let mut stream = server.connect().await;
    for last in [false, false, true] {
        let end = if last { "Connection: close\r\n" } else { "" };
        let ask = format!("GET /t/{TOKEN}/fs/small.mkv HTTP/1.1\r\nHost: localhost\r\n{end}\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
    }
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let answers = all
        .windows(15)
        .filter(|window| window == b"HTTP/1.1 200 OK")
        .count();
    assert_eq!(answers, 3);
}
