//! Ids, units and plain records: the vocabulary of the system as types. No I/O, no async.

mod attach_state;
mod blob;
mod cache_stats;
mod chapter;
mod confinement;
mod entry;
mod error;
pub mod folded;
mod ids;
mod in_place;
mod info;
mod keys;
mod name;
mod pieces;
mod policy;
pub mod shown;
mod sound;
pub mod stored;
mod subtitle_texts;
mod track;
mod units;
mod views;
mod views_state;
mod web;

pub use attach_state::{AttachState, StoreStatus, TreeKnowledge};
pub use blob::{
    AdoptedAddress, Blob, Extent, ExtentSource, PackAddress, PackRef, PackSlice, TelegramAddress,
};
pub use cache_stats::{CacheStats, LATENCY_MILLIS, Latency, TierStats};
pub use chapter::{Chapter, MAX_CHAPTER_TITLE, MAX_CHAPTERS};
pub use confinement::{ConfinementInfo, ConfinementLevel};
pub use entry::{
    Attributes, Change, Entry, EntryKind, FileContent, FileState, LogRecord, XattrMap,
};
pub use error::{ErrorKind, FsError, FsResult};
pub use ids::{
    BlobId, BotId, ChannelId, Digest, EntryId, Ino, LibraryId, MessageId, PackId, Seq, WriterId,
};
pub use in_place::{InPlace, TS_PACKET};
pub use info::{
    ChapterInfo, FileInfo, JobInfo, PendingInfo, PublicState, SubtitleInfo, UploadInfo,
};
pub use keys::{KeyAndValue, KeyStore, KeyStoreError};
pub use name::{MAX_NAME_BYTES, Name, NameError, TreePath};
pub use pieces::Pieces;
pub use policy::{
    Compat, Hardware, HlsListing, LibraryClaim, MountAudience, Oversize, RateLimit,
    SidecarSubtitles, TlsFiles, TombstonePolicy, VerifyDepth, WriteMode,
};
pub use sound::{MAX_MAP_FRAME, MAX_STORED, Unsound};
pub use subtitle_texts::SubtitleTexts;
pub use track::{
    AudioRole, CaptionChannel, SegmentInfo, Subtitle, SubtitleFormat, Track, TrackKind,
};
pub use units::{BLOCK_BYTES, BlockIndex, ByteRange, Timestamp};
pub use views::{DerivedFile, FilePurpose, MPEG_CLOCK, Views};
pub use views_state::ViewsState;
pub use web::{AddressRange, PublicAddress, WebScheme};
