//! The attach state of this index, for which publishing and changes wait.

use tokio::sync::watch;

use super::core::Index;
use super::record::{FillV1, MetaV1};
use crate::model::{AttachState, StoreStatus, TreeKnowledge};

/// Returns the status before the store was asked. A state that was never used with a store knows no tree.
pub(super) fn at_open(meta: &MetaV1) -> StoreStatus {
    let is_known = meta.fill == FillV1::Complete && !meta.identity.store.is_empty();
    let (state, tree) = match is_known {
        true => (AttachState::Reaching, TreeKnowledge::Complete),
        false => (AttachState::Filling, TreeKnowledge::Partial),
    };
    StoreStatus {
        state,
        problem: None,
        troubles: Vec::new(),
        tree,
    }
}

impl Index {
    /// Returns the status, which changes when the store is reached, fills the tree, refuses, or fails.
    #[must_use]
    pub fn store_status(&self) -> watch::Receiver<StoreStatus> {
        self.core.store_status.subscribe()
    }

    /// Sets the state, and forgets the problem of the one before.
    pub fn set_attach_state(&self, standing: AttachState) {
        self.tell(|status| {
            status.state = standing;
            status.problem = None;
            match standing {
                AttachState::Filling => status.tree = TreeKnowledge::Partial,
                AttachState::Reaching | AttachState::Attached => {
                    status.tree = TreeKnowledge::Complete;
                }
                AttachState::Refused => {}
            }
        });
    }

    /// Refuses this state. Nothing is published any more.
    pub fn refuse(&self, reason: String) {
        self.tell(|status| {
            status.state = AttachState::Refused;
            status.problem = Some(reason);
        });
    }

    /// Sets the reason why it makes no progress; `None` when it makes progress again.
    pub fn tell_problem(&self, problem: Option<String>) {
        self.tell(|status| {
            if status.state != AttachState::Refused {
                status.problem = problem;
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut StoreStatus)) {
        self.core.store_status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}
