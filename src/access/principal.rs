//! Identities, and what they may do.

use serde::{Deserialize, Serialize};

/// Rights of a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees, plays and changes everything.
    Admin,
    /// Sees and plays what the modes of files open to everyone.
    Viewer,
}

/// Name of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// The owner of the state directory: whoever reads its token or its log.
    Owner,
    /// A named user.
    User(String),
}

/// Somebody whom a token or a session identifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub identity: Identity,
    pub role: Role,
}

impl Principal {
    /// Returns the owner of the library.
    #[must_use]
    pub const fn owner() -> Self {
        Self {
            identity: Identity::Owner,
            role: Role::Admin,
        }
    }
    /// Returns whether the principal may change the library and read what is private.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }
}
