//! Client that sends one request on a connection of its own and parses the answer. [`get`] and [`request`]
//! show the daemon's token; [`as_stranger`] shows nothing.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::daemon::Daemon;

pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

pub fn get(daemon: &Daemon, path: &str) -> Reply {
    request(daemon, "GET", path, &[])
}

/// Sends a request of the owner.
pub fn request(daemon: &Daemon, method: &str, path: &str, headers: &[&str]) -> Reply {
    let bearer = format!("Authorization: Bearer {}", daemon.token());
    let headers: Vec<&str> = headers.iter().copied().chain([bearer.as_str()]).collect();
    as_stranger(daemon, method, path, &headers)
}

/// Sends a request with no more than these headers.
pub fn as_stranger(daemon: &Daemon, method: &str, path: &str, headers: &[&str]) -> Reply {
    let host = daemon.address();
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    let reply = Reply {
        status,
        headers,
        body: bytes.split_off(end + 4),
    };
    if let Some(length) = reply.header("content-length") {
        assert_eq!(length, reply.body.len().to_string(), "{path} broke off");
    }
    reply
}
