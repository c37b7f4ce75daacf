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
    /// Parses an answer that ends with its connection.
    pub fn parse(bytes: &[u8]) -> Self {
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
        Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        }
    }
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
    send(&Asked {
        address: daemon.address(),
        host: daemon.address(),
        method,
        path,
        headers,
        body: "",
    })
}

/// One request.
pub struct Asked<'a> {
    /// `host:port` to connect to.
    pub address: &'a str,
    /// Host header.
    pub host: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [&'a str],
    pub body: &'a str,
}

/// Sends a request on a connection of its own.
pub fn send(asked: &Asked<'_>) -> Reply {
    let mut stream = TcpStream::connect(asked.address).unwrap();
    let (method, path, host) = (asked.method, asked.path, asked.host);
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for line in asked.headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    if method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", asked.body.len()));
    }
    head.push_str("\r\n");
    head.push_str(asked.body);
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let mut reply = Reply::parse(&bytes);
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunked(&reply.body);
    }
    if let Some(length) = reply.header("content-length") {
        assert_eq!(length, reply.body.len().to_string(), "{path} broke off");
    }
    reply
}

/// Joins the chunks of a body, which a proxy may send in place of a length.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return body;
        }
        let from = end + 2;
        body.extend_from_slice(&rest[from..from + length]);
        rest = &rest[from + length + 2..];
    }
}
