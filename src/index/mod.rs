//! Durable local records: sled, and the journal beside it.
//!
//! The index is a cache of the journal and of the remote's log. It may lose its newest changes, or
//! all of them: [`Index::open`] rolls it forward.

mod attach_state;
mod bulk;
mod change;
mod check;
mod clean;
mod core;
mod dirty;
mod draft;
mod error;
mod fill;
mod headroom;
mod journal;
mod kept_keys;
mod key;
mod keys;
mod late_ack;
mod lost_and_found;
mod node;
mod open;
mod open_rows;
mod outbox;
mod places;
mod query;
mod rebuild;
mod record;
mod replay;
mod root;
mod rows;
mod scan;
mod store;
mod sum;
mod table;

pub use self::clean::Left;
pub use self::core::{Activity, Index, IndexSizes};
pub use error::IndexError;
pub use late_ack::{Begun, LateAck};
pub use lost_and_found::FillReport;
pub use node::{Child, ChildKind, Node, NodeKind};
pub use open_rows::{IndexCondition, OpenReport};
pub use outbox::{Acknowledged, DyingPack, Outbox};
pub use record::LogHeadV1 as LogHead;
pub use root::Owner;
pub use rows::Rows;

#[cfg(test)]
mod tests;
