//! What confines the media tools on this machine.

use serde::{Deserialize, Serialize};

/// Degree to which media tools are confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfinementLevel {
    /// The kernel enforces everything.
    Full,
    /// The kernel enforces a part.
    Partial,
    /// It could not be found out, or tools cannot be confined and are not started.
    Failed,
}

/// What confines the media tools, as a process found that confined itself in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementInfo {
    pub level: ConfinementLevel,
    /// Version of Landlock that is in use; 0 if the kernel has none.
    pub landlock: u32,
    /// True if system calls are filtered.
    pub seccomp: bool,
    /// Uid of the tools.
    pub uid: u32,
    /// What is not enforced, a sentence each.
    pub missing: Vec<String>,
}

impl ConfinementInfo {
    /// Returns the answer for a machine where tools cannot be confined.
    #[must_use]
    pub fn failed(reason: String) -> Self {
        Self {
            level: ConfinementLevel::Failed,
            landlock: 0,
            seccomp: false,
            uid: 0,
            missing: vec![reason],
        }
    }

    /// Returns a line for people.
    #[must_use]
    pub fn explain(&self) -> String {
        match self.level {
            ConfinementLevel::Full => format!(
                "media tools are confined: Landlock {}, filtered system calls, user {}",
                self.landlock, self.uid
            ),
            ConfinementLevel::Partial => format!(
                "media tools are confined in part: {}",
                self.missing.join("; ")
            ),
            ConfinementLevel::Failed => {
                format!(
                    "media tools cannot be confined: {}",
                    self.missing.join("; ")
                )
            }
        }
    }
}
