//! Books of the budget: who holds how much, and whose connection goes when there is no room.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::client::{ClientNetwork, HttpClient};

/// Maximum of bytes that all answers hold beyond the first chunk of each file: texts, and chunks that
/// were read ahead. With 256 first chunks of 256 KiB, bodies hold 96 MiB at most.
const SHARED_BYTES: u64 = 32 * 1024 * 1024;
/// Part of [`SHARED_BYTES`] in which nothing is read ahead, so that there is room for texts.
const TEXT_BYTES: u64 = 4 * 1024 * 1024;
/// Idle time before which no answer is broken off for another.
const MIN_IDLE: Duration = Duration::from_millis(400);
/// Time that a connection has to end before another one is broken off too.
const LEAVING_TIME: Duration = Duration::from_millis(200);
/// Bytes that a client took which prove that it reads. The kernels of both sides take less on their own.
const PROOF_BYTES: u64 = 2 * 1024 * 1024;
/// Part of each maximum that one network may use: a half, so that others always find room.
pub(super) const NETWORK_PART: usize = 2;

/// Limits on the time for which a client may take nothing of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct StallLimits {
    /// For a client that never took [`PROOF_BYTES`].
    pub unread: Duration,
    /// For a client that pauses.
    pub pause: Duration,
}

/// Kind of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    File,
    Text,
}

/// Rows of all bodies, and the use of the budget.
#[derive(Debug, Default)]
pub(super) struct BodyBooks {
    pub next: u64,
    bodies: HashMap<u64, BodyRow>,
    pub all: BodyShare,
    networks: HashMap<ClientNetwork, BodyShare>,
    /// Answers that wait for room.
    pub waiting: HashMap<ClientNetwork, BTreeSet<u64>>,
}

/// Use of the budget, by all or by one network.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct BodyShare {
    pub answers: usize,
    pub files: usize,
    shared: u64,
}

/// One body.
#[derive(Debug)]
struct BodyRow {
    client: HttpClient,
    kind: BodyKind,
    /// Set while the first chunk's own room is used.
    holds_first: bool,
    /// Bytes of [`SHARED_BYTES`] that it holds.
    shared: u64,
    /// Time of the last progress, or since when it holds anything.
    since: Instant,
    /// Bytes that the client took.
    taken: u64,
    told_to_leave: Option<Instant>,
}

/// Answer to a wish for room.
pub(super) enum Admission<T> {
    Granted(T),
    NetworkIsFull,
    Full,
}

/// Room that a charge uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChargeKind {
    /// The room that each file has for one chunk.
    First,
    Shared,
}

impl BodyBooks {
    /// Returns whether no newer answer of the network waits.
    pub(super) fn is_next(&self, network: ClientNetwork, ticket: Option<u64>) -> bool {
        let newest = self.waiting.get(&network).and_then(BTreeSet::last);
        ticket.is_none_or(|ticket| newest.is_none_or(|newest| *newest <= ticket))
    }

    pub(super) fn share(&self, network: ClientNetwork) -> BodyShare {
        self.networks.get(&network).copied().unwrap_or_default()
    }

    pub(super) fn change(&mut self, network: ClientNetwork, change: impl Fn(&mut BodyShare)) {
        change(&mut self.all);
        let own = self.networks.entry(network).or_default();
        change(own);
        if own.answers == 0 && own.files == 0 && own.shared == 0 {
            self.networks.remove(&network);
        }
    }

    /// Tells whether `bytes` more may be held by a network.
    pub(super) fn room(&self, network: ClientNetwork, bytes: u64) -> Admission<()> {
        let own = self.share(network).shared.saturating_add(bytes);
        if own > SHARED_BYTES / NETWORK_PART as u64 {
            return Admission::NetworkIsFull;
        }
        match self.all.shared.saturating_add(bytes) > SHARED_BYTES {
            true => Admission::Full,
            false => Admission::Granted(()),
        }
    }

    pub(super) fn open(&mut self, client: &HttpClient, kind: BodyKind) -> u64 {
        let number = self.next;
        self.next += 1;
        client.pulse.body_begins();
        let row = BodyRow {
            client: client.clone(),
            kind,
            holds_first: false,
            shared: 0,
            since: Instant::now(),
            taken: 0,
            told_to_leave: None,
        };
        self.bodies.insert(number, row);
        number
    }

    pub(super) fn close(&mut self, number: u64) {
        let Some(row) = self.bodies.remove(&number) else {
            return;
        };
        row.client.pulse.body_ends();
        self.change(row.client.network, |share| {
            share.shared = share.shared.saturating_sub(row.shared);
            if row.kind == BodyKind::File {
                share.files = share.files.saturating_sub(1);
            }
        });
    }

    /// Takes room for a chunk of a file: that of its first chunk if it is free, else shared room.
    pub(super) fn charge(&mut self, number: u64, bytes: u64) -> Option<ChargeKind> {
        let row = self.bodies.get_mut(&number)?;
        if !row.holds_anything() {
            row.since = Instant::now();
        }
        if !row.holds_first {
            row.holds_first = true;
            return Some(ChargeKind::First);
        }
        let network = row.client.network;
        match self.room(network, bytes + TEXT_BYTES) {
            Admission::Granted(()) => {
                self.take_shared(number, bytes);
                Some(ChargeKind::Shared)
            }
            Admission::NetworkIsFull | Admission::Full => None,
        }
    }

    pub(super) fn take_shared(&mut self, number: u64, bytes: u64) {
        if let Some(row) = self.bodies.get_mut(&number) {
            row.shared += bytes;
            let network = row.client.network;
            self.change(network, |share| share.shared += bytes);
        }
    }

    pub(super) fn release(&mut self, number: u64, bytes: u64, kind: ChargeKind) {
        let Some(row) = self.bodies.get_mut(&number) else {
            return;
        };
        row.since = Instant::now();
        row.taken = row.taken.saturating_add(bytes);
        row.client.pulse.beat();
        match kind {
            ChargeKind::First => row.holds_first = false,
            ChargeKind::Shared => {
                row.shared = row.shared.saturating_sub(bytes);
                let network = row.client.network;
                self.change(network, |share| {
                    share.shared = share.shared.saturating_sub(bytes);
                });
            }
        }
    }

    /// Breaks off the connection with the most bodies that took nothing for longest: one of `network`, else
    /// of the network with the most bodies. Clients that never read go before those that pause.
    pub(super) fn dismiss_one(&mut self, network: Option<ClientNetwork>) {
        let mut counts: HashMap<ClientNetwork, usize> = HashMap::new();
        for row in self.bodies.values() {
            if row
                .told_to_leave
                .is_some_and(|at| at.elapsed() < LEAVING_TIME)
            {
                return;
            }
            *counts.entry(row.client.network).or_default() += 1;
        }
        let idle = self.bodies.values().filter(|row| {
            row.holds_anything()
                && row.told_to_leave.is_none()
                && row.since.elapsed() >= MIN_IDLE
                && network.is_none_or(|only| only == row.client.network)
        });
        let idlest = idle.max_by_key(|row| {
            let count = counts.get(&row.client.network).copied();
            let bodies = row.client.pulse.bodies();
            (count, !row.has_proof(), bodies, row.since.elapsed())
        });
        if let Some(client) = idlest.map(|row| row.client.clone()) {
            tracing::debug!("an idle client's connection is closed to make room");
            self.dismiss(&client);
        }
    }

    /// Closes a connection. All its bodies end with it.
    pub(super) fn dismiss(&mut self, client: &HttpClient) {
        let now = Instant::now();
        let rows = self.bodies.values_mut();
        rows.filter(|row| row.client.shares_connection(client))
            .for_each(|row| row.told_to_leave = Some(now));
        client.cut.now();
    }

    pub(super) fn dismiss_stalled(&mut self, limits: StallLimits) {
        let is_stalled = |row: &&BodyRow| {
            let limit = match row.has_proof() {
                true => limits.pause,
                false => limits.unread,
            };
            row.told_to_leave.is_none() && row.holds_anything() && row.since.elapsed() >= limit
        };
        let stalled = self.bodies.values().filter(is_stalled);
        let clients: Vec<HttpClient> = stalled.map(|row| row.client.clone()).collect();
        for client in clients {
            tracing::debug!("a client took nothing for too long; its connection is closed");
            self.dismiss(&client);
        }
    }
}

impl BodyRow {
    fn holds_anything(&self) -> bool {
        self.holds_first || self.shared > 0
    }
    fn has_proof(&self) -> bool {
        self.taken >= PROOF_BYTES
    }
}
