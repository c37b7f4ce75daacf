//! Packets on a socket, in the transport that the client chose.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::transport::{ABRIDGED, HEAD_BYTES, Transport, checked_length};
use crate::options::StatusForm;
use crate::shaping::{Direction, Lane};
use crate::shared::Shared;

/// Bytes behind the payload of a full packet.
const CRC_BYTES: usize = 4;
/// First byte of an abridged length that takes three more bytes.
const LONG: u8 = 0x7f;

/// The transport of a connection, known from the client's first bytes on.
pub(super) type Chosen = Arc<OnceLock<Transport>>;

pub(super) struct FrameReader {
    stream: BufReader<OwnedReadHalf>,
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    chosen: Chosen,
    count: u32,
}

impl FrameReader {
    pub(super) fn new(
        stream: OwnedReadHalf,
        shared: Arc<Shared>,
        lane: Arc<Lane>,
        chosen: Chosen,
    ) -> Self {
        Self {
            stream: BufReader::new(stream),
            shared,
            lane,
            chosen,
            count: 0,
        }
    }

    /// The next payload. Whatever is no packet is an error, and so is the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>> {
        match self.chosen.get().copied() {
            Some(transport) => self.packet(transport).await,
            None => self.first_packet().await,
        }
    }

    /// Reads which transport the client chose, and its first packet.
    async fn first_packet(&mut self) -> Result<Vec<u8>> {
        let mut first = [0; 4];
        self.stream.read_exact(&mut first[..1]).await?;
        let transport = match first[0] {
            ABRIDGED => Transport::Abridged,
            _ => {
                self.stream.read_exact(&mut first[1..]).await?;
                Transport::chosen(first)
            }
        };
        // Nobody else sets it.
        let _ = self.chosen.set(transport);
        match transport {
            Transport::Full => self.full_packet(first).await,
            transport => self.packet(transport).await,
        }
    }

    async fn packet(&mut self, transport: Transport) -> Result<Vec<u8>> {
        let mut head = [0; 4];
        if transport == Transport::Abridged {
            self.stream.read_exact(&mut head[..1]).await?;
            let short = head[0] & LONG;
            if short == LONG {
                self.stream.read_exact(&mut head[..3]).await?;
            } else {
                head = [short, 0, 0, 0];
            }
            let length = checked_length(u32::from_le_bytes(head) * 4)?;
            return self.payload(length).await;
        }
        self.stream.read_exact(&mut head).await?;
        if transport == Transport::Full {
            return self.full_packet(head).await;
        }
        let length = checked_length(u32::from_le_bytes(head))?;
        let mut payload = self.payload(length).await?;
        transport.unpadded(&mut payload)?;
        Ok(payload)
    }

    /// Reads the rest of a full packet behind its length.
    async fn full_packet(&mut self, length: [u8; 4]) -> Result<Vec<u8>> {
        let mut count = [0; 4];
        self.stream.read_exact(&mut count).await?;
        let total = checked_length(u32::from_le_bytes(length))?;
        ensure!(total >= HEAD_BYTES + CRC_BYTES, "a packet of {total} bytes");
        ensure!(
            u32::from_le_bytes(count) == self.count,
            "a packet out of order"
        );
        self.count = self.count.wrapping_add(1);
        let mut payload = self.payload(total - HEAD_BYTES).await?;
        let (body, crc) = payload
            .split_last_chunk::<CRC_BYTES>()
            .context("a packet without its sum")?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&length);
        sum.update(&count);
        sum.update(body);
        ensure!(
            sum.finalize() == u32::from_le_bytes(*crc),
            "a packet with a wrong sum"
        );
        payload.truncate(payload.len() - CRC_BYTES);
        Ok(payload)
    }

    async fn payload(&mut self, wanted: usize) -> Result<Vec<u8>> {
        let mut payload = Vec::with_capacity(wanted);
        while payload.len() < wanted {
            let controls = &self.shared.controls;
            let turn = self.lane.turn(controls, wanted - payload.len());
            let read = (&mut self.stream)
                .take(turn as u64)
                .read_buf(&mut payload)
                .await?;
            ensure!(read > 0, "a packet is cut off");
            self.lane.pass(controls, Direction::Up, read).await;
        }
        Ok(payload)
    }
}

pub(super) struct FrameWriter {
    stream: OwnedWriteHalf,
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    chosen: Chosen,
    count: u32,
}

impl FrameWriter {
    pub(super) fn new(
        stream: OwnedWriteHalf,
        shared: Arc<Shared>,
        lane: Arc<Lane>,
        chosen: Chosen,
    ) -> Self {
        Self {
            stream,
            shared,
            lane,
            chosen,
            count: 0,
        }
    }

    /// Sends a packet whose first `HEAD_BYTES` are free for the head.
    pub(super) async fn send(&mut self, packet: &mut Vec<u8>) -> Result<()> {
        let transport = self.transport();
        let start = transport.write_head(packet, self.count, CRC_BYTES)?;
        self.count = self.count.wrapping_add(1);
        if transport == Transport::Full {
            let sum = crc32fast::hash(packet);
            packet.extend(sum.to_le_bytes());
        }
        self.write(&packet[start..]).await
    }

    /// Sends a transport error: a negative number, bare or as the payload of a packet. Only full streams
    /// have a bare form.
    pub(super) async fn send_status(&mut self, status: i32) -> Result<()> {
        let form = self.shared.controls.status_form();
        if self.transport() == Transport::Full && form == StatusForm::Bare {
            return self.write(&status.to_le_bytes()).await;
        }
        let mut packet = vec![0; HEAD_BYTES];
        packet.extend(status.to_le_bytes());
        self.send(&mut packet).await
    }

    fn transport(&self) -> Transport {
        self.chosen.get().copied().unwrap_or(Transport::Full)
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let controls = &self.shared.controls;
            let (now, rest) = bytes.split_at(self.lane.turn(controls, bytes.len()));
            self.lane.pass(controls, Direction::Down, now.len()).await;
            self.stream.write_all(now).await?;
            bytes = rest;
        }
        Ok(())
    }
}
