//! A decorator that breaks calls on purpose.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::super::{
    ForeignFiles, ForeignLayer, LibraryMark, Locality, LogKind, LogLayer, LogObject, LogStore,
    PackLayer, PackStore, Remote, RemoteError, RemoteErrorKind, Removal, SealedPack, Urgency,
    WriteHints,
};
use crate::model::{ByteRange, PackAddress, PackRef};
use crate::sync::MutexExt as _;

/// The calls that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Put,
    Get,
    Delete,
    AppendLog,
    ReadLog,
    UpdateLibrary,
}

/// A fault of a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The call fails before anything is done.
    Fail(RemoteErrorKind),
    /// The call is done, but reports `Unavailable`.
    LoseReply,
    Delay(Duration),
    /// The call does not answer until [`FaultyRemote::heal`], and is not done.
    Hang,
    /// The call returns one flipped bit (`get` and `read_log`) or `Left` (`delete`).
    FlipBit,
}

/// A remote whose calls fail on request. Faults apply in the order in which they were injected.
#[derive(Debug)]
pub struct FaultyRemote {
    inner: Arc<dyn Remote>,
    faults: Mutex<VecDeque<(Operation, Fault)>>,
    calls: AtomicU64,
    puts: AtomicU64,
    lists: Mutex<Vec<(LogKind, u64)>>,
    healed: tokio::sync::Notify,
    write_hints: WriteHints,
    /// Locality in place of the inner remote's.
    locality: Mutex<Option<Locality>>,
}

impl FaultyRemote {
    #[must_use]
    pub fn new(inner: Arc<dyn Remote>) -> Arc<Self> {
        let hints = inner.write_hints();
        Self::with_write_hints(inner, hints)
    }

    /// Does the same as [`Self::new`], with the write hints of a test.
    #[must_use]
    pub fn with_write_hints(inner: Arc<dyn Remote>, write_hints: WriteHints) -> Arc<Self> {
        Arc::new(Self {
            write_hints,
            locality: Mutex::default(),
            inner,
            faults: Mutex::new(VecDeque::new()),
            calls: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            lists: Mutex::default(),
            healed: tokio::sync::Notify::new(),
        })
    }
    /// Replaces the locality of the remote below.
    pub fn set_locality(&self, locality: Locality) {
        *self.locality.acquire() = Some(locality);
    }
    /// Applies `fault` to the next `times` calls of `operation`.
    pub fn inject(&self, operation: Operation, fault: &Fault, times: usize) {
        let mut faults = self.faults.acquire();
        faults.extend((0..times).map(|_| (operation, fault.clone())));
    }
    /// Removes all faults and ends the calls that hang.
    pub fn heal(&self) {
        let mut faults = self.faults.acquire();
        faults.clear();
        self.healed.notify_waiters();
    }
    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns the number of packs so far.
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// Returns the arguments of all calls of `list_log`, in order.
    pub fn lists(&self) -> Vec<(LogKind, u64)> {
        let lists = self.lists.acquire();
        lists.clone()
    }

    fn next(&self, operation: Operation) -> Option<Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut faults = self.faults.acquire();
        let at = faults.iter().position(|(of, _)| *of == operation)?;
        faults.remove(at).map(|(_, fault)| fault)
    }

    async fn meet<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, RemoteError>>,
        flip: impl FnOnce(T) -> T,
    ) -> Result<T, RemoteError> {
        match self.next(operation) {
            None => call.await,
            Some(Fault::Fail(kind)) => Err(injected(operation, kind)),
            Some(Fault::LoseReply) => {
                call.await?;
                Err(injected(operation, RemoteErrorKind::Unavailable))
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                call.await
            }
            Some(Fault::Hang) => {
                self.healed.notified().await;
                Err(injected(operation, RemoteErrorKind::Unavailable))
            }
            Some(Fault::FlipBit) => call.await.map(flip),
        }
    }
}

fn injected(operation: Operation, kind: RemoteErrorKind) -> RemoteError {
    RemoteError::new(kind, format!("{operation:?}"), "injected by a test")
}

fn flip(bytes: Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

fn same<T>(value: T) -> T {
    value
}

#[async_trait::async_trait]
impl PackLayer for FaultyRemote {
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.inner
    }
    fn locality(&self) -> Locality {
        self.locality.acquire().unwrap_or(self.inner.locality())
    }
    fn locality_of(&self, pack: &PackRef) -> Locality {
        self.locality
            .acquire()
            .unwrap_or(self.inner.locality_of(pack))
    }
    fn write_hints(&self) -> WriteHints {
        self.write_hints
    }
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.meet(Operation::Put, self.inner.put(pack), same).await
    }
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        self.meet(Operation::Get, self.inner.get(pack, range, urgency), flip)
            .await
    }
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        let deleting = self.inner.delete(pack);
        self.meet(Operation::Delete, deleting, |_| Removal::Left)
            .await
    }
}

#[async_trait::async_trait]
impl LogLayer for FaultyRemote {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.inner
    }
    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        self.meet(Operation::ReadLog, self.inner.library(), same)
            .await
    }
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let creating = self.inner.create_library(mark);
        self.meet(Operation::AppendLog, creating, same).await
    }
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let updating = self.inner.update_library(mark);
        self.meet(Operation::UpdateLibrary, updating, same).await
    }
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.meet(
            Operation::AppendLog,
            self.inner.append_log(object, bytes),
            same,
        )
        .await
    }
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.lists.acquire().push((kind, after));
        self.inner.list_log(kind, after).await
    }
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.meet(Operation::ReadLog, self.inner.read_log(object), flip)
            .await
    }
}

impl ForeignLayer for FaultyRemote {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.inner
    }
}
