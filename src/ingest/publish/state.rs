//! State of publishing, as others see it.

use crate::model::Seq;

/// State of publishing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublisherState {
    /// Everything up to here that can be published is acknowledged.
    pub idle_at: Option<Seq>,
    /// Number of entries that wait for their bytes.
    pub held_back: usize,
    /// Why publishing does not get on at the moment; it is tried again.
    pub problem: Option<String>,
    /// Why it ended for good.
    pub stopped: Option<String>,
}
