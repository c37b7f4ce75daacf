//! How a state stands with the store of its library.

use serde::{Deserialize, Serialize};

/// Whether tree and store are known to belong together since this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The tree is what this state knows; the store was not reached yet. Changes are taken and
    /// wait here.
    Reaching,
    /// The tree is being read from the store: what is not there may only not be known yet, and
    /// nothing can be changed.
    Filling,
    /// In step: what changes here goes out.
    Attached,
    /// The store refuses this state, or another writer has the library: nothing goes out any more,
    /// and nothing can be changed until the next start.
    Refused,
}

/// What people see of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub standing: Standing,
    /// Why it does not get on at the moment, or why it is refused.
    pub problem: Option<String>,
}

impl StoreStatus {
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.standing == Standing::Attached
    }

    /// One line for people; `None` when all is well.
    #[must_use]
    pub fn explain(&self) -> Option<String> {
        let problem = self.problem.as_deref();
        let behind = |text: &str| match problem {
            Some(problem) => format!("{text}: {problem}"),
            None => text.to_owned(),
        };
        match self.standing {
            Standing::Attached => problem.map(|problem| format!("publishing waits: {problem}")),
            Standing::Reaching => Some(behind(
                "the store was not reached since the start, and what changes is kept here until \
                 it is",
            )),
            Standing::Filling => Some(behind(
                "the library is being read from the store and cannot be changed until that is done",
            )),
            Standing::Refused => Some(behind("the library cannot be changed")),
        }
    }
}
