//! Clients that want to exhaust the gateway: they open much and take nothing. The daemon's memory stays
//! bounded, and others get their answers in the meantime.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::client::Reply;
use crate::daemon::Daemon;
use crate::nginx::{Nginx, documented, free_ports};
use crate::proxies::filled_in;
use crate::{film, get, h2_frames as h2};

/// Most memory that a flood may cost beside the cache.
const BESIDE_CACHE: u64 = 200 * 1024 * 1024;
const CACHE: u64 = 32 * 1024 * 1024;
/// Time for an answer to somebody else. The gateway needs less than a second; the rest is for a debug
/// build on a machine that does other work.
const ANSWER_TIME: Duration = Duration::from_secs(4);
/// Time for an answer to somebody at the flood's own address, such as another client of the same proxy. It
/// competes with the flood, may be refused with 503, and asks again.
const SHARED_ADDRESS_TIME: Duration = Duration::from_secs(30);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FLOOD: Ipv4Addr = Ipv4Addr::LOCALHOST;
const FILM: &str = "/Films/Noise.mkv";

/// A daemon with a film, the way to it, and the addresses of things that a flood asks for.
struct Target {
    daemon: Daemon,
    /// `host:port` of the daemon, or of a proxy in front of it.
    entrance: String,
    token: String,
    /// Path of a long MPEG-TS segment, which is made while it is sent.
    segment: String,
    playlist: String,
}

impl Target {
    fn start(settings: &[(&str, &str)]) -> Self {
        let own = [("CACHE_SIZE", "32MiB"), ("TGFS_HTTP_PAUSE", "10 min")];
        let daemon = Daemon::start_with(&[&own, settings].concat());
        let source = daemon.directory().join("Noise.mkv");
        film::make_noise(&source);
        daemon.run(&["upload", "--to", "/Films", source.to_str().unwrap()]);
        daemon.run(&["status", "--wait", FILM]);
        let list: serde_json::Value =
            serde_json::from_str(&daemon.run(&["list", "--json"])).unwrap();
        let id = list.as_array().unwrap_or_else(|| panic!("{list}"))[0]["id"].clone();
        let id = id.as_str().unwrap();
        Self {
            entrance: daemon.address().to_owned(),
            token: daemon.token(),
            segment: format!("/segment/{id}/ts/video/00001.ts"),
            playlist: format!("/playlist/local/{id}.m3u8"),
            daemon,
        }
    }

    fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        let to: SocketAddr = self.entrance.parse().unwrap();
        socket.connect_timeout(&to.into(), ANSWER_TIME).unwrap();
        socket.into()
    }

    fn head(&self, path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n",
            self.entrance, self.token
        )
    }

    /// Asks as somebody else, and fails if the answer is late.
    fn others_are_answered(&self, flood: &str) {
        for (path, range) in [
            (self.playlist.as_str(), ""),
            (&self.segment, "Range: bytes=0-99999\r\n"),
            ("/fs/Films/Noise.mkv", "Range: bytes=0-99999\r\n"),
            ("/healthz", ""),
        ] {
            let head = format!("{}{range}\r\n", self.head(path));
            let begun = Instant::now();
            let status = self.status(&head, OTHER);
            let took = begun.elapsed();
            assert!(
                matches!(status, Some(200 | 206)) && took < ANSWER_TIME,
                "{flood}: {path}: {status:?} after {took:?}"
            );
            let begun = Instant::now();
            while !matches!(self.status(&head, FLOOD), Some(200 | 206)) {
                let took = begun.elapsed();
                assert!(
                    took < SHARED_ADDRESS_TIME,
                    "{flood}: {path} from its address: none after {took:?}"
                );
            }
        }
    }

    /// Sends one request and returns the status of its answer, if one came.
    fn status(&self, head: &str, from: Ipv4Addr) -> Option<u16> {
        let mut stream = self.connect(from);
        stream.set_read_timeout(Some(ANSWER_TIME)).unwrap();
        stream.write_all(head.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then(|| Reply::parse(&bytes).status)
    }

    fn memory_is_bounded(&self, flood: &str) {
        let resident = self.daemon.resident_bytes();
        assert!(
            resident < CACHE + BESIDE_CACHE,
            "{flood}: {} MiB",
            resident >> 20
        );
    }
}

#[test]
fn floods_cost_little_and_others_are_answered() {
    let target = Target::start(&[]);
    target.others_are_answered("no flood");
    windows_of_zero(&target);
    connections_that_never_read(&target, 600);
    connections_that_never_end_their_head(&target);
    streams_that_are_reset_at_once(&target);
    texts_that_nobody_takes(&target);
    assert!(get(&target.daemon, "/healthz").status == 200);
}

/// All clients come from the proxy's address then.
#[test]
fn behind_a_proxy_a_flood_is_that_of_its_client() {
    let mut target = Target::start(&[("TGFS_TRUSTED_PROXIES", "127.0.0.1")]);
    let [port] = free_ports();
    let servers = filled_in(&documented()[0], port, &target.daemon);
    // Little lies between both ends, so the flood costs no time.
    let listen = format!("127.0.0.1:{port}");
    let servers = servers.replace(&listen, &format!("{listen} sndbuf=64k"));
    let _nginx = Nginx::start(&servers, port);
    target.entrance = format!("127.0.0.1:{port}");
    target.others_are_answered("no flood");
    // It takes the first bytes and then nothing, as the flood after it.
    let mut viewer = target.connect(OTHER);
    let head = format!("{}\r\n", target.head("/fs/Films/Noise.mkv"));
    viewer.write_all(head.as_bytes()).unwrap();
    let mut seen = vec![0; 100_000];
    viewer.read_exact(&mut seen).unwrap();
    connections_that_never_read(&target, 160);
    viewer.read_to_end(&mut seen).unwrap();
    let reply = Reply::parse(&seen);
    let length = reply.header("content-length").unwrap();
    assert_eq!(reply.body.len().to_string(), length, "a viewer was cut off");
}

/// A player that pauses longer is closed, and asks again for the rest.
#[test]
fn a_pause_lasts_as_long_as_the_setting_says() {
    const SIZE: usize = 64 << 20;
    let daemon = Daemon::start_with(&[("TGFS_HTTP_PAUSE", "1s")]);
    let source = daemon.directory().join("long.bin");
    std::fs::write(&source, vec![7; SIZE]).unwrap();
    daemon.run(&["upload", "--to", "/", source.to_str().unwrap()]);
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let head = format!(
        "GET /fs/long.bin HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        daemon.token()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = vec![0; 8 << 20];
    stream.read_exact(&mut bytes).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    // The end, or a reset.
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.len() < SIZE, "the pause was not noticed");
}

/// Opens `count` connections, of which `begin` makes a part of the flood, and checks that others are answered
/// and that memory stays bounded while they are held.
fn hold(target: &Target, flood: &str, count: usize, begin: impl Fn(usize, &mut TcpStream)) {
    let connections: Vec<TcpStream> = (0..count)
        .map(|number| {
            let mut stream = target.connect(FLOOD);
            begin(number, &mut stream);
            stream
        })
        .collect();
    target.others_are_answered(flood);
    // What the answers hold shows only after a while.
    std::thread::sleep(Duration::from_secs(1));
    target.others_are_answered(flood);
    target.memory_is_bounded(flood);
    drop(connections);
}

/// Asks for 64 answers on one HTTP/2 connection and takes none.
fn ask_with_window_of_zero(stream: &mut TcpStream, ask: &[u8]) {
    stream.write_all(&h2::preface_with_window(0)).unwrap();
    for number in 0..64 {
        // The server may hang up on such a client.
        let _ = stream.write_all(&h2::headers(1 + 2 * number, ask));
    }
}

fn windows_of_zero(target: &Target) {
    let range = [("range", "bytes=0-524287")];
    let ask = h2::request(&target.segment, target.daemon.address(), &range);
    hold(target, "windows of zero", 32, |_, stream| {
        ask_with_window_of_zero(stream, &ask);
    });
}

fn connections_that_never_read(target: &Target, count: usize) {
    let head = format!("{}\r\n", target.head("/fs/Films/Noise.mkv"));
    hold(target, "connections that never read", count, |_, stream| {
        let _ = stream.write_all(head.as_bytes());
    });
}

fn connections_that_never_end_their_head(target: &Target) {
    hold(target, "heads that never end", 600, |number, stream| {
        let mut head = target.head("/healthz");
        // Some send as many headers as they can.
        if number % 100 == 0 {
            (0..10_000).for_each(|field| head.push_str(&format!("X-{field}: y\r\n")));
        }
        let _ = stream.write_all(head.as_bytes());
    });
}

fn streams_that_are_reset_at_once(target: &Target) {
    let ask = h2::request(&target.segment, target.daemon.address(), &[]);
    hold(target, "streams that are reset at once", 8, |_, stream| {
        stream.write_all(&h2::preface_with_window(65_535)).unwrap();
        for number in 0..2_000 {
            let mut frames = h2::headers(1 + 2 * number, &ask);
            frames.extend(h2::reset(1 + 2 * number));
            if stream.write_all(&frames).is_err() {
                // The server may hang up on such a client.
                break;
            }
        }
    });
}

fn texts_that_nobody_takes(target: &Target) {
    let ask = h2::request(&target.playlist, target.daemon.address(), &[]);
    hold(target, "texts that nobody takes", 64, |_, stream| {
        ask_with_window_of_zero(stream, &ask);
    });
}
