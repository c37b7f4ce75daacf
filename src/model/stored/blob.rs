//! Stored forms of blobs, extents and packs.

use serde::{Deserialize, Serialize};

use super::super::{
    AdoptedAddress, Blob, BlobId, Digest, Extent, ExtentSource, PackAddress, PackId, PackRef,
    PackSlice, TelegramAddress,
};
use super::form::{StoredForm, stored_struct};

stored_struct!(
    /// An [`Extent`]. Frozen.
    ExtentV1 of Extent {
        source: ExtentSourceV1,
        offset: u64,
        len: u64,
    }
);

/// An [`ExtentSource`]. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtentSourceV1 {
    /// Number 0.
    Blob(BlobId),
    /// Number 1.
    Zeros,
}

impl StoredForm<ExtentSource> for ExtentSourceV1 {
    fn of(source: &ExtentSource) -> Self {
        match source {
            ExtentSource::Blob(id) => Self::Blob(*id),
            ExtentSource::Zeros => Self::Zeros,
        }
    }
    fn restore(self) -> ExtentSource {
        match self {
            Self::Blob(id) => ExtentSource::Blob(id),
            Self::Zeros => ExtentSource::Zeros,
        }
    }
}

stored_struct!(
    /// A [`Blob`]. Frozen.
    BlobV1 of Blob {
        id: BlobId,
        len: u64,
        digest: Option<Digest>,
        slices: Vec<PackSliceV1>,
    }
);

stored_struct!(
    /// A [`PackSlice`]. Frozen.
    PackSliceV1 of PackSlice {
        blob_offset: u64,
        pack_offset: u64,
        len: u64,
        pack: PackRefV1,
    }
);

stored_struct!(
    /// A [`PackRef`]. Frozen.
    PackRefV1 of PackRef {
        id: PackId,
        address: PackAddressV1,
        data_len: u64,
        len: u64,
        table_digest: Digest,
    }
);

/// A [`PackAddress`]. Append-only: records hold the number of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackAddressV1 {
    /// Number 0.
    Local,
    /// Number 1.
    Telegram(TelegramAddressV1),
    /// Number 2.
    Adopted(AdoptedAddressV1),
}

impl StoredForm<PackAddress> for PackAddressV1 {
    fn of(address: &PackAddress) -> Self {
        match address {
            PackAddress::Local => Self::Local,
            PackAddress::Telegram(address) => Self::Telegram(StoredForm::of(address)),
            PackAddress::Adopted(address) => Self::Adopted(StoredForm::of(address)),
        }
    }
    fn restore(self) -> PackAddress {
        match self {
            Self::Local => PackAddress::Local,
            Self::Telegram(address) => PackAddress::Telegram(address.restore()),
            Self::Adopted(address) => PackAddress::Adopted(address.restore()),
        }
    }
}

stored_struct!(
    /// An [`AdoptedAddress`]. Frozen.
    AdoptedAddressV1 of AdoptedAddress {
        document: TelegramAddressV1,
        table: TelegramAddressV1,
    }
);

stored_struct!(
    /// A [`TelegramAddress`]. Frozen.
    TelegramAddressV1 of TelegramAddress {
        channel: i64,
        message: i32,
        document: i64,
        dc: i32,
    }
);
