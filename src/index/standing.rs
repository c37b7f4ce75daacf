//! Whether this index and the library's store are known to belong together: what goes out, and
//! what may be changed, waits for it.

use tokio::sync::watch;

use super::Index;
use super::record::{FillV1, MetaV1};
use crate::model::{Standing, StoreStatus};

/// Before anything was asked of the store. A state that was never used with one knows no tree.
pub(super) fn at_open(meta: &MetaV1) -> StoreStatus {
    let is_known = meta.fill == FillV1::Complete && !meta.identity.store.is_empty();
    StoreStatus {
        standing: match is_known {
            true => Standing::Reaching,
            false => Standing::Filling,
        },
        problem: None,
    }
}

impl Index {
    /// Changes when the store is reached, fills the tree, refuses, or does not get on.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<StoreStatus> {
        self.shared.standing.subscribe()
    }

    pub fn set_standing(&self, standing: Standing) {
        self.tell(|status| {
            status.standing = standing;
            status.problem = None;
        });
    }

    /// Nothing goes out any more.
    pub fn refuse(&self, reason: String) {
        self.tell(|status| {
            status.standing = Standing::Refused;
            status.problem = Some(reason);
        });
    }

    /// Why it does not get on; `None` when it does again.
    pub fn tell_problem(&self, problem: Option<String>) {
        self.tell(|status| {
            if status.standing != Standing::Refused {
                status.problem = problem;
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut StoreStatus)) {
        self.shared.standing.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}
