//! Availability of the library: whether it can be changed now, and whether its tree is known in full.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use crate::model::{
    AttachState, ErrorKind, FsError, FsResult, StoreStatus, TreeKnowledge, WriteMode,
};

/// Conditions for a change: the mode of the mount, the store of the library, and the leftovers of
/// the last run.
#[derive(Debug)]
pub struct Availability {
    store: watch::Receiver<StoreStatus>,
    mode: AtomicU8,
    /// Set while the leftovers of the last run still have to be taken up. A change made before that
    /// could be mistaken for one of them.
    has_leftovers: watch::Sender<bool>,
}

impl Availability {
    pub fn new(store: watch::Receiver<StoreStatus>) -> Self {
        Self {
            store,
            mode: AtomicU8::new(WriteMode::Writable as u8),
            has_leftovers: watch::Sender::new(false),
        }
    }

    /// Sets whether this mount accepts changes.
    pub fn set_write_mode(&self, mode: WriteMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Refuses changes until [`Self::leftovers_are_done`] is called.
    pub fn await_leftovers(&self) {
        self.has_leftovers.send_replace(true);
    }

    /// Allows changes again once the leftovers have been taken up.
    pub fn leftovers_are_done(&self) {
        self.has_leftovers.send_replace(false);
    }

    /// Returns whether the leftovers still have to be taken up.
    pub fn awaits_leftovers(&self) -> bool {
        *self.has_leftovers.borrow()
    }

    /// Returns the state of the library's store.
    pub fn store_status(&self) -> StoreStatus {
        self.store.borrow().clone()
    }

    /// Checks that the library can be changed now.
    ///
    /// # Errors
    /// `ReadOnly`, with the reason, while nothing can be changed.
    pub fn require_writable(&self) -> FsResult<()> {
        let refuse = |reason: &str| Err(FsError::new(ErrorKind::ReadOnly, reason));
        if self.mode.load(Ordering::Relaxed) == WriteMode::ReadOnly as u8 {
            return refuse("mounted read-only");
        }
        {
            let status = self.store.borrow();
            if matches!(status.state, AttachState::Filling | AttachState::Refused) {
                return refuse(&status.explain().unwrap_or_default());
            }
        }
        match self.awaits_leftovers() {
            true => refuse("tgfs takes up what the last run left; try again in a moment"),
            false => Ok(()),
        }
    }

    /// Refuses to answer while the tree is being read from the store. A name that is missing then is
    /// only unknown so far, and an empty directory would make other programs forget its files.
    ///
    /// # Errors
    /// `RemoteUnavailable` until the tree is complete.
    pub fn require_complete(&self) -> FsResult<()> {
        let status = self.store.borrow();
        match status.tree {
            TreeKnowledge::Partial => Err(FsError::new(
                ErrorKind::RemoteUnavailable,
                status.explain().unwrap_or_default(),
            )),
            TreeKnowledge::Complete => Ok(()),
        }
    }

    /// Returns whether the tree cannot be used yet, and will be soon unless the store stays away. A refused
    /// library is not being loaded: waiting for it would be in vain.
    pub fn is_loading(&self) -> bool {
        match self.store.borrow().state {
            AttachState::Filling => true,
            AttachState::Refused => false,
            AttachState::Reaching | AttachState::Attached => self.awaits_leftovers(),
        }
    }

    /// Waits until the library is no longer being loaded.
    pub async fn loaded(&self) {
        let (mut store, mut leftovers) = (self.store.clone(), self.has_leftovers.subscribe());
        while self.is_loading() {
            // An error says that the index is gone. The daemon is ending then.
            let goes_on = tokio::select! {
                changed = store.changed() => changed.is_ok(),
                changed = leftovers.changed() => changed.is_ok(),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Replaces `NotFound` by `RemoteUnavailable` while the tree is not complete.
    pub fn unless_incomplete<T>(&self, found: FsResult<T>) -> FsResult<T> {
        match found {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.require_complete().and(Err(error))
            }
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<T>(result: FsResult<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind)
    }

    #[test]
    fn each_condition_alone_refuses_changes() {
        let status = |state, tree| StoreStatus {
            state,
            problem: None,
            troubles: Vec::new(),
            tree,
        };
        let attached = || status(AttachState::Attached, TreeKnowledge::Complete);
        let (store, watched) = watch::channel(attached());
        let library = Availability::new(watched);
        assert_eq!(kind(library.require_writable()), None);
        library.set_write_mode(WriteMode::ReadOnly);
        assert_eq!(kind(library.require_writable()), Some(ErrorKind::ReadOnly));
        library.set_write_mode(WriteMode::Writable);
        library.await_leftovers();
        assert_eq!(kind(library.require_writable()), Some(ErrorKind::ReadOnly));
        library.leftovers_are_done();
        store.send_replace(status(AttachState::Filling, TreeKnowledge::Partial));
        assert!(library.is_loading());
        assert_eq!(kind(library.require_writable()), Some(ErrorKind::ReadOnly));
        let missing: FsResult<()> = Err(ErrorKind::NotFound.into());
        assert_eq!(
            kind(library.unless_incomplete(missing.clone())),
            Some(ErrorKind::RemoteUnavailable)
        );
        // A refusal before the tree was read does not make a missing name certain.
        store.send_replace(status(AttachState::Refused, TreeKnowledge::Partial));
        assert!(!library.is_loading());
        assert_eq!(
            kind(library.unless_incomplete(missing.clone())),
            Some(ErrorKind::RemoteUnavailable)
        );
        store.send_replace(attached());
        assert_eq!(
            kind(library.unless_incomplete(missing)),
            Some(ErrorKind::NotFound)
        );
    }
}
