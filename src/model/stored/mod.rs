//! Forms in which records hold entries and their parts, one for each schema number that changed
//! them. The domain types know neither serde nor history; records convert at the edge, through
//! [`StoredForm`]. FORMAT.md says how to add a field.

mod blob;
mod entry;
mod form;
mod text;
mod track;
mod views;

pub use blob::{
    AdoptedAddressV1, BlobV1, ExtentSourceV1, ExtentV1, PackAddressV1, PackRefV1, PackSliceV1,
    TelegramAddressV1,
};
pub use entry::{
    AttributesV1, ChangeV1, EntryForm, EntryKindV1, EntryV1, FileContentV1, FileStateV1,
    LogRecordV1,
};
pub use form::StoredForm;
pub use views::{SubtitleTextsV3, ViewsStateV1, ViewsV1, ViewsV2, ViewsV3, ViewsV4, ViewsV5};

/// Newest schema number of records that hold an entry or the content of a file.
pub const ENTRY_SCHEMA: u16 = 5;
/// Oldest schema number of such records that is read.
pub const OLDEST_ENTRY_SCHEMA: u16 = 1;
