//! Streams that wait for a handle that continues them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::stream::ReadStream;
use crate::model::{BlobId, ByteRange};
use crate::sync::MutexExt as _;

/// Time that a stream waits, which is longer than a segment plays. A stream that was not read for as long
/// (a paused player) makes room for others.
pub const PARKED_FOR: Duration = Duration::from_secs(60);
/// Most streams that wait. The oldest one makes room.
const MAX_PARKED: usize = 64;

/// The streams that wait, oldest first.
#[derive(Debug, Default)]
pub struct ParkedStreams(Mutex<VecDeque<Parked>>);

#[derive(Debug)]
struct Parked {
    of: BlobId,
    since: Instant,
    stream: ReadStream,
}

impl ParkedStreams {
    /// Keeps the stream of a handle that was closed, when another handle can continue it.
    pub fn park(&self, mut stream: ReadStream) {
        let Some(of) = stream.of else { return };
        if !stream.at_end {
            // The client left in the middle. It may come back near here, or not at all.
            stream.let_go();
        }
        let mut parked = self.0.acquire();
        drop_old(&mut parked);
        if parked.len() >= MAX_PARKED {
            parked.pop_front();
        }
        parked.push_back(Parked {
            of,
            since: Instant::now(),
            stream,
        });
    }

    /// Takes the newest stream of a blob that a read at `range` continues.
    pub fn take(&self, of: Option<BlobId>, range: ByteRange) -> Option<ReadStream> {
        let mut parked = self.0.acquire();
        drop_old(&mut parked);
        let found = parked
            .iter()
            .rposition(|parked| of == Some(parked.of) && parked.stream.window.is_near(range));
        let found = found.and_then(|at| parked.remove(at));
        found.map(|parked| parked.stream)
    }

    /// Drops the oldest stream that has a place among the readers, which frees the place.
    pub fn drop_oldest_placed(&self) {
        let mut parked = self.0.acquire();
        let oldest = parked
            .iter()
            .position(|parked| parked.stream.place.is_some());
        drop(oldest.and_then(|at| parked.remove(at)));
    }
}

fn drop_old(parked: &mut VecDeque<Parked>) {
    while let Some(first) = parked.front()
        && first.since.elapsed() >= PARKED_FOR
    {
        parked.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_for_a_read_near_its_end_and_not_for_ever() {
        let parked = ParkedStreams::default();
        let of = Some(BlobId::random());
        let stream = || {
            let mut stream = ReadStream {
                of,
                at_end: true,
                ..ReadStream::default()
            };
            stream.window.read(ByteRange::new(0, 1000), 0);
            stream
        };
        let next = ByteRange::new(1000, 1000);
        parked.park(stream());
        assert!(parked.take(Some(BlobId::random()), next).is_none());
        assert!(parked.take(of, ByteRange::new(1 << 40, 1000)).is_none());
        assert!(parked.take(of, next).is_some());
        assert!(parked.take(of, next).is_none(), "taken once");
        parked.park(stream());
        tokio::time::advance(PARKED_FOR).await;
        assert!(parked.take(of, next).is_none());
    }
}
