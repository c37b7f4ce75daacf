//! The places for connections to the socket. While all are taken, a newcomer gets the place of a client for
//! which the daemon waited longest: one that sends no request, or takes no answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::sync::MutexExt as _;

/// Interval of looks for a free place.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Act of a client for which the daemon waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AwaitedAct {
    SendRequest,
    TakeAnswer,
}

impl AwaitedAct {
    /// Returns the time before which no client loses its place. Commands send their request at once, and
    /// take answers as they come.
    const fn patience(self) -> Duration {
        match self {
            Self::SendRequest => Duration::from_millis(100),
            Self::TakeAnswer => Duration::from_millis(400),
        }
    }
}

/// Table of the connections.
#[derive(Debug)]
pub(super) struct ControlPlaces {
    taken: Mutex<Vec<Arc<Occupant>>>,
    freed: Notify,
    limit: usize,
}

/// Holder of a place.
#[derive(Debug, Default)]
struct Occupant {
    awaited: Mutex<Option<(AwaitedAct, Instant)>>,
    told_to_leave: Notify,
}

impl Occupant {
    /// Returns the time for which the daemon waits for the client beyond what it allows.
    fn overdue(&self) -> Option<Duration> {
        let (act, since) = (*self.awaited.acquire())?;
        since.elapsed().checked_sub(act.patience())
    }
}

impl ControlPlaces {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            freed: Notify::new(),
            limit,
        })
    }

    /// Returns a place. Waits while the daemon works for all others.
    pub(super) async fn enter(self: &Arc<Self>) -> ControlPlace {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.search() {
                return place;
            }
            let _ = tokio::time::timeout(LOOK_INTERVAL, freed).await;
        }
    }

    fn search(self: &Arc<Self>) -> Option<ControlPlace> {
        let mut taken = self.taken.acquire();
        if taken.len() >= self.limit {
            let overdue = taken.iter().filter_map(|one| Some((one.overdue()?, one)));
            if let Some((_, one)) = overdue.max_by_key(|(time, _)| *time) {
                one.told_to_leave.notify_one();
            }
            return None;
        }
        let occupant = Arc::<Occupant>::default();
        taken.push(Arc::clone(&occupant));
        Some(ControlPlace {
            places: Arc::clone(self),
            occupant,
        })
    }
}

/// Place of one connection, free again when it is dropped.
#[derive(Debug)]
pub(super) struct ControlPlace {
    places: Arc<ControlPlaces>,
    occupant: Arc<Occupant>,
}

impl ControlPlace {
    /// Does something that ends when the client acts.
    pub(super) async fn awaiting<T>(&self, act: AwaitedAct, until: impl Future<Output = T>) -> T {
        *self.occupant.awaited.acquire() = Some((act, Instant::now()));
        let done = until.await;
        *self.occupant.awaited.acquire() = None;
        done
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn needed_by_others(&self) {
        self.occupant.told_to_leave.notified().await;
    }
}

impl Drop for ControlPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken.acquire();
        taken.retain(|one| !Arc::ptr_eq(one, &self.occupant));
        drop(taken);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newcomer_gets_the_place_of_a_client_that_does_nothing() {
        let places = ControlPlaces::new(2);
        let (silent, served) = (places.enter().await, places.enter().await);
        let leaving = async {
            let forever = silent.awaiting(AwaitedAct::SendRequest, std::future::pending::<()>());
            tokio::select! {
                () = forever => {}
                () = silent.needed_by_others() => {}
            }
            drop(silent);
        };
        let both = async { tokio::join!(places.enter(), leaving) };
        let both = tokio::time::timeout(Duration::from_secs(60), both).await;
        let (newcomer, ()) = both.expect("nobody had to leave");
        let told = tokio::time::timeout(Duration::ZERO, served.needed_by_others()).await;
        assert!(told.is_err(), "the daemon works for it");
        // Nobody is idle now, so one more waits.
        let waiting = tokio::time::timeout(Duration::from_millis(50), places.enter()).await;
        assert!(waiting.is_err());
        drop((newcomer, served));
        places.enter().await;
    }
}
