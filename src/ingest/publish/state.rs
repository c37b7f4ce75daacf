//! State of publishing, as others see it.

use crate::model::Seq;

/// State of publishing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublisherState {
    /// Sequence number up to which everything that can be published is acknowledged.
    pub idle_at: Option<Seq>,
    /// Number of entries that wait for their bytes.
    pub held_back: usize,
    /// Reason why publishing makes no progress at the moment. It is tried again.
    pub problem: Option<String>,
    /// Reason why publishing ended for good.
    pub stopped: Option<String>,
}
