//! Authorization keys.

/// Authorization key, which a client and a server agreed on.
pub type AuthKeyBytes = [u8; 256];
