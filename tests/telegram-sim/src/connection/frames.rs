//! The "full" transport: length, count, payload, CRC-32 (core.telegram.org/mtproto/mtproto-transports).

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::shaping::{Direction, Lane};
use crate::shared::Shared;

/// Bytes before the payload: length and count.
pub(super) const HEAD_BYTES: usize = 8;
/// Bytes behind it.
const CRC_BYTES: usize = 4;
/// Bytes of a packet at most: a container with a few parts of 512 KiB fits.
const MAX_PACKET_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct FrameReader {
    stream: BufReader<OwnedReadHalf>,
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    count: u32,
}

impl FrameReader {
    pub(super) fn new(stream: OwnedReadHalf, shared: Arc<Shared>, lane: Arc<Lane>) -> Self {
        Self {
            stream: BufReader::new(stream),
            shared,
            lane,
            count: 0,
        }
    }

    /// The next payload. Whatever is no packet is an error, and so is the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>> {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head).await?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3]))?;
        ensure!(
            (HEAD_BYTES + CRC_BYTES..=MAX_PACKET_BYTES).contains(&length),
            "a packet of {length} bytes"
        );
        ensure!(
            u32::from_le_bytes([c0, c1, c2, c3]) == self.count,
            "a packet out of order"
        );
        self.count = self.count.wrapping_add(1);
        let wanted = length - HEAD_BYTES;
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
        let (payload_end, crc) = payload
            .split_last_chunk::<CRC_BYTES>()
            .context("a packet without its sum")?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head);
        sum.update(payload_end);
        ensure!(
            sum.finalize() == u32::from_le_bytes(*crc),
            "a packet with a wrong sum"
        );
        payload.truncate(wanted - CRC_BYTES);
        Ok(payload)
    }
}

pub(super) struct FrameWriter {
    stream: OwnedWriteHalf,
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    count: u32,
}

impl FrameWriter {
    pub(super) fn new(stream: OwnedWriteHalf, shared: Arc<Shared>, lane: Arc<Lane>) -> Self {
        Self {
            stream,
            shared,
            lane,
            count: 0,
        }
    }

    /// Sends a packet whose first `HEAD_BYTES` are free for the head.
    pub(super) async fn send(&mut self, packet: &mut Vec<u8>) -> Result<()> {
        let length = u32::try_from(packet.len() + CRC_BYTES)?;
        packet[..4].copy_from_slice(&length.to_le_bytes());
        packet[4..HEAD_BYTES].copy_from_slice(&self.count.to_le_bytes());
        self.count = self.count.wrapping_add(1);
        let sum = crc32fast::hash(packet);
        packet.extend(sum.to_le_bytes());
        self.write(packet).await
    }

    /// Sends a transport error: a bare negative number.
    pub(super) async fn send_status(&mut self, status: i32) -> Result<()> {
        self.write(&status.to_le_bytes()).await
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
