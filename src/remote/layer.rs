//! Decorators. A type that implements [`PackLayer`], [`LogLayer`] and [`ForeignLayer`] is a
//! [`Remote`](super::Remote) on top of another one, and states only the methods that it changes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{
    Cipher, ForeignDocument, ForeignDocuments, ForeignFiles, IsKnown, LibraryMark, Locality,
    LogKind, LogObject, LogStore, Outlook, PackStore, RemoteError, Removal, SealedPack, Urgency,
    WriteHints,
};
use crate::model::{ByteRange, PackAddress, PackRef};

/// The future of a store's method.
type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, RemoteError>> + Send + 'a>>;

/// The store under a decorator, which is there already or still being opened. Awaiting a store that is
/// there neither allocates nor yields.
pub enum Underlying<'a, S: ?Sized> {
    /// It can be called.
    Ready(&'a S),
    /// It can be called when the future has ended.
    Opening(StoreFuture<'a, &'a S>),
}

impl<'a, S: ?Sized> Future for Underlying<'a, S> {
    type Output = Result<&'a S, RemoteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(store) => Poll::Ready(Ok(*store)),
            Self::Opening(opening) => opening.as_mut().poll(context),
        }
    }
}

/// A [`PackStore`] on top of another one; every method forwards unless it is overridden.
#[async_trait::async_trait]
pub trait PackLayer: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the store below.
    fn inner_packs(&self) -> &dyn PackStore;
    /// Returns the store below for calls that reach it. A decorator that has to open it first overrides
    /// this method.
    fn open_packs(&self) -> Underlying<'_, dyn PackStore> {
        Underlying::Ready(self.inner_packs())
    }

    /// See [`PackStore::locality`].
    fn locality(&self) -> Locality {
        self.inner_packs().locality()
    }
    /// See [`PackStore::locality_of`].
    fn locality_of(&self, pack: &PackRef) -> Locality {
        self.inner_packs().locality_of(pack)
    }
    /// See [`PackStore::write_hints`].
    fn write_hints(&self) -> WriteHints {
        self.inner_packs().write_hints()
    }
    /// See [`PackStore::cipher`].
    fn cipher(&self) -> &Cipher {
        self.inner_packs().cipher()
    }
    /// See [`PackStore::troubles`].
    fn troubles(&self) -> Vec<String> {
        self.inner_packs().troubles()
    }
    /// See [`PackStore::put`].
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.open_packs().await?.put(pack).await
    }
    /// See [`PackStore::get`].
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        self.open_packs().await?.get(pack, range, urgency).await
    }
    /// See [`PackStore::size`].
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        self.open_packs().await?.size(pack).await
    }
    /// See [`PackStore::outlook`].
    async fn outlook(&self, pack: &PackRef) -> Result<Outlook, RemoteError> {
        self.open_packs().await?.outlook(pack).await
    }
    /// See [`PackStore::delete`].
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        self.open_packs().await?.delete(pack).await
    }
    /// See [`PackStore::delete_unnamed`].
    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        self.open_packs().await?.delete_unnamed(is_known).await
    }
}

/// A [`LogStore`] on top of another one; every method forwards unless it is overridden.
#[async_trait::async_trait]
pub trait LogLayer: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the store below.
    fn inner_log(&self) -> &dyn LogStore;
    /// See [`PackLayer::open_packs`].
    fn open_log(&self) -> Underlying<'_, dyn LogStore> {
        Underlying::Ready(self.inner_log())
    }

    /// See [`LogStore::describe`].
    fn describe(&self) -> String {
        self.inner_log().describe()
    }
    /// See [`LogStore::library`].
    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        self.open_log().await?.library().await
    }
    /// See [`LogStore::create_library`].
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.open_log().await?.create_library(mark).await
    }
    /// See [`LogStore::update_library`].
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.open_log().await?.update_library(mark).await
    }
    /// See [`LogStore::append_log`].
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.open_log().await?.append_log(object, bytes).await
    }
    /// See [`LogStore::list_log`].
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.open_log().await?.list_log(kind, after).await
    }
    /// See [`LogStore::read_log`].
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.open_log().await?.read_log(object).await
    }
    /// See [`LogStore::endorse_snapshot`].
    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        self.open_log().await?.endorse_snapshot(snapshot).await
    }
    /// See [`LogStore::delete_log`].
    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.open_log().await?.delete_log(object).await
    }
}

/// [`ForeignFiles`] on top of others; every method forwards unless it is overridden.
#[async_trait::async_trait]
pub trait ForeignLayer: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the files below.
    fn inner_foreign(&self) -> &dyn ForeignFiles;
    /// See [`PackLayer::open_packs`].
    fn open_foreign(&self) -> Underlying<'_, dyn ForeignFiles> {
        Underlying::Ready(self.inner_foreign())
    }

    /// See [`ForeignFiles::foreign`].
    async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        self.open_foreign().await?.foreign(place).await
    }
    /// See [`ForeignFiles::adopt`].
    async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        self.open_foreign().await?.adopt(document).await
    }
}

// The three impls below have the signatures that `async_trait` gives to the traits' methods. A layer's
// future is then passed on as it is, while an `async fn` would put it into a second box.

impl<L: PackLayer> PackStore for L {
    fn locality(&self) -> Locality {
        PackLayer::locality(self)
    }
    fn locality_of(&self, pack: &PackRef) -> Locality {
        PackLayer::locality_of(self, pack)
    }
    fn write_hints(&self) -> WriteHints {
        PackLayer::write_hints(self)
    }
    fn cipher(&self) -> &Cipher {
        PackLayer::cipher(self)
    }
    fn troubles(&self) -> Vec<String> {
        PackLayer::troubles(self)
    }
    fn put<'s, 'p, 'r>(&'s self, pack: &'p SealedPack) -> StoreFuture<'r, PackAddress>
    where
        's: 'r,
        'p: 'r,
    {
        PackLayer::put(self, pack)
    }
    fn get<'s, 'p, 'r>(
        &'s self,
        pack: &'p PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> StoreFuture<'r, Bytes>
    where
        's: 'r,
        'p: 'r,
    {
        PackLayer::get(self, pack, range, urgency)
    }
    fn size<'s, 'p, 'r>(&'s self, pack: &'p PackRef) -> StoreFuture<'r, u64>
    where
        's: 'r,
        'p: 'r,
    {
        PackLayer::size(self, pack)
    }
    fn outlook<'s, 'p, 'r>(&'s self, pack: &'p PackRef) -> StoreFuture<'r, Outlook>
    where
        's: 'r,
        'p: 'r,
    {
        PackLayer::outlook(self, pack)
    }
    fn delete<'s, 'p, 'r>(&'s self, pack: &'p PackRef) -> StoreFuture<'r, Removal>
    where
        's: 'r,
        'p: 'r,
    {
        PackLayer::delete(self, pack)
    }
    fn delete_unnamed<'s, 'p, 'r>(&'s self, is_known: &'p IsKnown) -> StoreFuture<'r, u64>
    where
        's: 'r,
        'p: 'r,
    {
        PackLayer::delete_unnamed(self, is_known)
    }
}

impl<L: LogLayer> LogStore for L {
    fn describe(&self) -> String {
        LogLayer::describe(self)
    }
    fn library<'s, 'r>(&'s self) -> StoreFuture<'r, Option<LibraryMark>>
    where
        's: 'r,
    {
        LogLayer::library(self)
    }
    fn create_library<'s, 'p, 'r>(&'s self, mark: &'p LibraryMark) -> StoreFuture<'r, ()>
    where
        's: 'r,
        'p: 'r,
    {
        LogLayer::create_library(self, mark)
    }
    fn update_library<'s, 'p, 'r>(&'s self, mark: &'p LibraryMark) -> StoreFuture<'r, ()>
    where
        's: 'r,
        'p: 'r,
    {
        LogLayer::update_library(self, mark)
    }
    fn append_log<'s, 'r>(&'s self, object: LogObject, bytes: Bytes) -> StoreFuture<'r, ()>
    where
        's: 'r,
    {
        LogLayer::append_log(self, object, bytes)
    }
    fn list_log<'s, 'r>(&'s self, kind: LogKind, after: u64) -> StoreFuture<'r, Vec<LogObject>>
    where
        's: 'r,
    {
        LogLayer::list_log(self, kind, after)
    }
    fn read_log<'s, 'r>(&'s self, object: LogObject) -> StoreFuture<'r, Bytes>
    where
        's: 'r,
    {
        LogLayer::read_log(self, object)
    }
    fn endorse_snapshot<'s, 'r>(&'s self, snapshot: LogObject) -> StoreFuture<'r, ()>
    where
        's: 'r,
    {
        LogLayer::endorse_snapshot(self, snapshot)
    }
    fn delete_log<'s, 'r>(&'s self, object: LogObject) -> StoreFuture<'r, ()>
    where
        's: 'r,
    {
        LogLayer::delete_log(self, object)
    }
}

impl<L: ForeignLayer> ForeignFiles for L {
    fn foreign<'s, 'p, 'r>(&'s self, place: &'p str) -> StoreFuture<'r, ForeignDocuments>
    where
        's: 'r,
        'p: 'r,
    {
        ForeignLayer::foreign(self, place)
    }
    fn adopt<'s, 'p, 'r>(&'s self, document: &'p ForeignDocument) -> StoreFuture<'r, PackRef>
    where
        's: 'r,
        'p: 'r,
    {
        ForeignLayer::adopt(self, document)
    }
}
