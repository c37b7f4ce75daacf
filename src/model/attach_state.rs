//! State of the connection between a state directory and the store of its library.

use serde::{Deserialize, Serialize};

/// Knowledge of this run about whether tree and store match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachState {
    /// The store was not reached yet. The tree is the one that this state knows. Changes are accepted and
    /// wait here.
    Reaching,
    /// The tree is being read from the store. Entries may be missing, and nothing can be changed.
    Filling,
    /// Tree and store match; changes are published.
    Attached,
    /// The store refuses this state, or another writer has the library. Nothing is published, and
    /// nothing can be changed, until the next start.
    Refused,
}

/// Whether all names of the library are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TreeKnowledge {
    /// A name that is missing here does not exist.
    #[default]
    Complete,
    /// Names that are missing here may exist in the store.
    Partial,
}

/// The attach state and the problem behind it, as users see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The state, serialised as `standing`, which scripts read.
    #[serde(rename = "standing")]
    pub state: AttachState,
    /// Reason why it makes no progress, or why it is refused.
    pub problem: Option<String>,
    /// What goes wrong with the store now although it works, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// Whether the tree can be believed. A refusal leaves it as it was.
    #[serde(skip)]
    pub tree: TreeKnowledge,
}

impl StoreStatus {
    /// Returns whether tree and store are in step.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.state == AttachState::Attached
    }

    /// Returns one line for users; `None` when all is well.
    #[must_use]
    pub fn explain(&self) -> Option<String> {
        let problem = self.problem.as_deref();
        let behind = |text: &str| match problem {
            Some(problem) => format!("{text}: {problem}"),
            None => text.to_owned(),
        };
        match self.state {
            AttachState::Attached => problem.map(|problem| format!("publishing waits: {problem}")),
            AttachState::Reaching => Some(behind(
                "the store was not reached since the start, and what changes is kept here until \
                 it is",
            )),
            AttachState::Filling => Some(match problem {
                Some(problem) => format!(
                    "the library is not loaded yet, because the store cannot be read; retrying ({problem})"
                ),
                None => "the library is being read from the store and cannot be changed until that is done"
                    .to_owned(),
            }),
            AttachState::Refused => Some(behind("the library cannot be changed")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed step is a failed test.
mod tests {
    use super::*;

    #[test]
    fn a_library_that_cannot_be_loaded_says_why_and_that_it_is_retried() {
        let status = |problem: Option<&str>| StoreStatus {
            state: AttachState::Filling,
            problem: problem.map(str::to_owned),
            troubles: Vec::new(),
            tree: TreeKnowledge::Partial,
        };
        let text = status(Some("bot 2: no route")).explain().unwrap();
        assert!(text.ends_with("retrying (bot 2: no route)"), "{text}");
        assert!(!status(None).explain().unwrap().contains("retrying"));
    }
}
