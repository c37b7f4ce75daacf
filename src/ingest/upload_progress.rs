//! Progress of an upload: bytes that the store has acknowledged, part by part, with their rate and the time
//! that is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::UploadInfo;
use crate::remote::SendMeter;

/// Time over which the rate is taken. Bots that wait in turn give an even rate over it.
const RATE_WINDOW: Duration = Duration::from_secs(15);
/// Least time after which a rate says anything.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// Bytes of a file in a pack that is on its way.
#[derive(Debug, Clone)]
pub struct MeteredBytes {
    /// Meter of the pack.
    pub meter: Arc<SendMeter>,
    /// Place of the bytes in the pack.
    pub start: u64,
    /// Number of the bytes.
    pub len: u64,
}

/// End of a pack's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackEnd {
    /// The store has the pack.
    Stored,
    /// It does not, and the bytes are sent again.
    Failed,
}

impl MeteredBytes {
    fn sent(&self) -> u64 {
        self.meter.bytes().saturating_sub(self.start).min(self.len)
    }

    fn sent_since(&self, moment: Instant) -> u64 {
        self.meter.since(moment).min(self.len)
    }
}

/// Progress of the upload of one stage of a file.
#[derive(Debug)]
pub struct UploadProgress {
    total: u64,
    /// Bytes in packs that the store has.
    stored: u64,
    /// Most bytes that were shown. A pack that has to be sent again takes none of them back.
    shown: u64,
    begun: Instant,
    under_way: Vec<MeteredBytes>,
    /// Packs that ended within the time of the rate.
    ended: Vec<(Instant, MeteredBytes)>,
}

impl UploadProgress {
    /// Begins an upload of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self {
            total,
            stored: 0,
            shown: 0,
            begun: Instant::now(),
            under_way: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Begins the upload again, of what is then left. What was shown stays unless the bytes are others.
    pub fn restart(&mut self, total: u64) {
        if total != self.total {
            *self = Self::new(total);
        }
        self.stored = 0;
        self.under_way.clear();
    }

    /// Adds bytes that the store has.
    pub fn add_stored(&mut self, bytes: u64) {
        self.stored += bytes;
    }

    /// Counts the bytes of a pack as they are acknowledged, until [`Self::unwatch`].
    pub fn watch(&mut self, bytes: MeteredBytes) {
        self.under_way.push(bytes);
    }

    /// Ends the counting of a pack.
    pub fn unwatch(&mut self, meter: &Arc<SendMeter>, end: PackEnd) {
        let now = Instant::now();
        self.ended.retain(|(at, _)| *at + RATE_WINDOW > now);
        let is_it = |bytes: &MeteredBytes| Arc::ptr_eq(&bytes.meter, meter);
        while let Some(place) = self.under_way.iter().position(is_it) {
            let bytes = self.under_way.swap_remove(place);
            if end == PackEnd::Stored {
                self.stored += bytes.len;
            }
            self.ended.push((now, bytes));
        }
    }

    /// Returns the progress at this moment.
    pub fn info(&mut self) -> UploadInfo {
        let under_way: u64 = self.under_way.iter().map(MeteredBytes::sent).sum();
        self.shown = self.shown.max(self.stored + under_way).min(self.total);
        let rate = self.rate(Instant::now());
        let left = self.total - self.shown;
        UploadInfo {
            sent: self.shown,
            total: self.total,
            bytes_per_second: rate,
            seconds_left: rate.and_then(|rate| left.checked_div(rate)),
        }
    }

    fn rate(&self, now: Instant) -> Option<u64> {
        let from = now
            .checked_sub(RATE_WINDOW)
            .unwrap_or(self.begun)
            .max(self.begun);
        let time = now.duration_since(from);
        if time < LEAST_TIME {
            return None;
        }
        let ended = self.ended.iter().map(|(_, bytes)| bytes);
        let packs = self.under_way.iter().chain(ended);
        let sent: u64 = packs.map(|bytes| bytes.sent_since(from)).sum();
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        sent.saturating_mul(1000).checked_div(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(start: u64, len: u64) -> MeteredBytes {
        MeteredBytes {
            meter: Arc::default(),
            start,
            len,
        }
    }

    #[test]
    fn parts_count_and_a_failed_pack_takes_nothing_back() {
        let mut upload = UploadProgress::new(1000);
        upload.add_stored(100);
        let (first, second) = (bytes(0, 500), bytes(50, 400));
        upload.watch(first.clone());
        upload.watch(second.clone());
        first.meter.reach(200);
        second.meter.reach(60);
        assert_eq!(upload.info().sent, 100 + 200 + 10);
        upload.unwatch(&first.meter, PackEnd::Failed);
        assert_eq!(upload.info().sent, 310, "what was shown");
        upload.restart(1000);
        upload.add_stored(100);
        assert_eq!(upload.info().sent, 310);
        let again = bytes(0, 900);
        upload.watch(again.clone());
        again.meter.reach(10_000);
        assert_eq!(
            upload.info().sent,
            1000,
            "a table behind the bytes is none of them"
        );
        upload.unwatch(&again.meter, PackEnd::Stored);
        assert_eq!(upload.info().sent, 1000);
        upload.restart(2000);
        assert_eq!(upload.info().sent, 0, "other bytes");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut upload = UploadProgress::new(1000);
        assert_eq!(upload.info().bytes_per_second, None, "too early");
        let pack = bytes(0, 1000);
        upload.watch(pack.clone());
        pack.meter.reach(500);
        let later = upload.begun + Duration::from_secs(5);
        assert_eq!(upload.rate(later), Some(100));
        let much_later = upload.begun + Duration::from_secs(60);
        assert_eq!(upload.rate(much_later), Some(0), "it stands still");
    }
}
