//! The budget of all answers: how many there may be and the bytes that they may hold, in all and for
//! one network. What is held counts until the client took it or its connection ended, also what HTTP/2
//! has in its own buffers. While there is no room, the connection goes that took nothing for longest.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::sync::MutexExt as _;

use super::books::{Admission, BodyBooks, BodyKind, ChargeKind, NETWORK_PART, StallLimits};
use super::client::{ClientNetwork, HttpClient};

/// Maximum of answers that are made or sent at a time, those with small texts included.
const MAX_ANSWERS: usize = 2048;
/// Answers of one connection, sent or waiting, from which on a further one does not wait for room.
const WAITING_LOAD: u64 = 4;
/// Longest wait of an answer for room. With it, a client still has its answer within a second.
const ADMISSION_WAIT: Duration = Duration::from_millis(800);
/// Interval of looks for an idle answer while every one makes progress.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Files being sent from which on answers hold copies of their bytes. A part of a cached block keeps the
/// whole block in memory, which is no harm with few of them.
const CROWD: usize = 32;

/// Books of all answers.
#[derive(Debug)]
pub(super) struct BodyBudget {
    books: Mutex<BodyBooks>,
    freed: Notify,
    /// Maximum of files that are sent at a time.
    files: usize,
}

impl BodyBudget {
    /// Makes a budget for `files` files at a time.
    pub(super) fn new(files: usize) -> Arc<Self> {
        Arc::new(Self {
            books: Mutex::default(),
            freed: Notify::new(),
            files,
        })
    }

    /// Returns a slot for an answer; `None` if there is no room in time.
    pub(super) async fn answer(self: &Arc<Self>, client: &HttpClient) -> Option<AnswerSlot> {
        let network = client.network;
        let wish = |books: &mut BodyBooks| {
            let own = books.share(network);
            if own.answers >= MAX_ANSWERS / NETWORK_PART {
                return Admission::NetworkIsFull;
            }
            if books.all.answers >= MAX_ANSWERS {
                return Admission::Full;
            }
            books.change(network, |share| share.answers += 1);
            Admission::Granted(())
        };
        self.admit(client, wish).await.map(|()| AnswerSlot {
            budget: Arc::clone(self),
            network,
        })
    }

    /// Returns an account for the body of a file; `None` if there is no room in time.
    pub(super) async fn file(self: &Arc<Self>, client: &HttpClient) -> Option<BodyAccount> {
        let network = client.network;
        let wish = |books: &mut BodyBooks| {
            let own = books.share(network);
            if own.files >= self.files.div_ceil(NETWORK_PART) {
                return Admission::NetworkIsFull;
            }
            if books.all.files >= self.files {
                return Admission::Full;
            }
            books.change(network, |share| share.files += 1);
            Admission::Granted(books.open(client, BodyKind::File))
        };
        let number = self.admit(client, wish).await?;
        Some(self.account(number))
    }

    /// Returns the charge for a text of `bytes`; `None` if there is no room in time.
    pub(super) async fn text(
        self: &Arc<Self>,
        client: &HttpClient,
        bytes: u64,
    ) -> Option<BodyCharge> {
        let wish = |books: &mut BodyBooks| match books.room(client.network, bytes) {
            Admission::Granted(()) => {
                let number = books.open(client, BodyKind::Text);
                books.take_shared(number, bytes);
                Admission::Granted(number)
            }
            Admission::NetworkIsFull => Admission::NetworkIsFull,
            Admission::Full => Admission::Full,
        };
        let number = self.admit(client, wish).await?;
        Some(BodyCharge {
            account: self.account(number),
            bytes,
            kind: ChargeKind::Shared,
        })
    }

    fn account(self: &Arc<Self>, number: u64) -> BodyAccount {
        BodyAccount(Arc::new(AccountHandle {
            budget: Arc::clone(self),
            number,
            released: Notify::new(),
        }))
    }

    /// Waits for room. Among the answers of a network that wait, the newest goes first: in a flood,
    /// those before it are the flood's.
    async fn admit<T>(
        self: &Arc<Self>,
        client: &HttpClient,
        wish: impl Fn(&mut BodyBooks) -> Admission<T>,
    ) -> Option<T> {
        let until = tokio::time::Instant::now() + ADMISSION_WAIT;
        let mut ticket = None;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut books = self.books.acquire();
                if books.is_next(
                    client.network,
                    ticket.as_ref().map(|ticket: &WaitTicket| ticket.number),
                ) {
                    match wish(&mut books) {
                        Admission::Granted(granted) => {
                            // The ticket locks the books when it is dropped.
                            drop(books);
                            return Some(granted);
                        }
                        Admission::NetworkIsFull => books.dismiss_one(Some(client.network)),
                        Admission::Full => books.dismiss_one(None),
                    }
                }
                if ticket.is_none() && client.pulse.load() < WAITING_LOAD {
                    ticket = Some(self.ticket(&mut books, client));
                }
            }
            if ticket.is_none() || tokio::time::Instant::now() >= until {
                return None;
            }
            let _ = tokio::time::timeout(LOOK_INTERVAL, freed).await;
        }
    }

    fn ticket(self: &Arc<Self>, books: &mut BodyBooks, client: &HttpClient) -> WaitTicket {
        client.pulse.wait_begins();
        let number = books.next;
        books.next += 1;
        let waiting = books.waiting.entry(client.network).or_default();
        waiting.insert(number);
        WaitTicket {
            budget: Arc::clone(self),
            client: client.clone(),
            number,
        }
    }

    /// Closes the connections of clients that take nothing for too long.
    pub(super) async fn watch(self: Arc<Self>, limits: StallLimits) {
        // A tenth more than the limit is exact enough.
        let interval = limits.unread.min(limits.pause) / 10;
        let interval = interval.clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(interval).await;
            self.books.acquire().dismiss_stalled(limits);
        }
    }

    /// Returns whether so many files are sent that answers should not keep cached blocks in memory.
    pub(super) fn is_crowded(&self) -> bool {
        self.books.acquire().all.files >= CROWD
    }
}

/// Place of an answer among those that wait for room.
struct WaitTicket {
    budget: Arc<BodyBudget>,
    client: HttpClient,
    number: u64,
}

impl Drop for WaitTicket {
    fn drop(&mut self) {
        self.client.pulse.wait_ends();
        let network = self.client.network;
        let mut books = self.budget.books.acquire();
        if let Some(waiting) = books.waiting.get_mut(&network) {
            waiting.remove(&self.number);
            if waiting.is_empty() {
                books.waiting.remove(&network);
            }
        }
        drop(books);
        // The next of those that wait looks for room.
        self.budget.freed.notify_waiters();
    }
}

/// Slot of one answer, free again when it is dropped.
#[derive(Debug)]
pub(super) struct AnswerSlot {
    budget: Arc<BodyBudget>,
    network: ClientNetwork,
}

impl Drop for AnswerSlot {
    fn drop(&mut self) {
        let mut books = self.budget.books.acquire();
        books.change(self.network, |share| {
            share.answers = share.answers.saturating_sub(1);
        });
        drop(books);
        self.budget.freed.notify_waiters();
    }
}

/// Account of one body. It is closed when the body and all its charges are dropped.
#[derive(Debug, Clone)]
pub(super) struct BodyAccount(Arc<AccountHandle>);

#[derive(Debug)]
struct AccountHandle {
    budget: Arc<BodyBudget>,
    number: u64,
    released: Notify,
}

impl BodyAccount {
    /// Takes room for a chunk of `bytes`. Waits until the client took the chunks before it, if there is
    /// no room to read ahead.
    pub(super) async fn charge(&self, bytes: u64) -> BodyCharge {
        loop {
            let granted = self.0.budget.books.acquire().charge(self.0.number, bytes);
            if let Some(kind) = granted {
                return BodyCharge {
                    account: self.clone(),
                    bytes,
                    kind,
                };
            }
            self.0.released.notified().await;
        }
    }

    /// Returns whether chunks should be copies of their bytes.
    pub(super) fn wants_copies(&self) -> bool {
        self.0.budget.is_crowded()
    }
}

impl Drop for AccountHandle {
    fn drop(&mut self) {
        self.budget.books.acquire().close(self.number);
        self.budget.freed.notify_waiters();
    }
}

/// Bytes that a body holds, until it is dropped.
#[derive(Debug)]
pub(super) struct BodyCharge {
    account: BodyAccount,
    bytes: u64,
    kind: ChargeKind,
}

impl Drop for BodyCharge {
    fn drop(&mut self) {
        let AccountHandle {
            budget,
            number,
            released,
        } = &*self.account.0;
        let mut books = budget.books.acquire();
        books.release(*number, self.bytes, self.kind);
        drop(books);
        released.notify_one();
        budget.freed.notify_waiters();
    }
}
