//! Who may use the gateway: the token file, links that sign in once, and sessions of browsers.
//!
//! A request shows the token or a session's cookie, and gets a [`Principal`]. Sign-in links hold a code
//! of [`codes`]; using one starts a session in [`sessions`]. [`attempts`] slows clients that guess.

pub mod attempts;
pub mod codes;
mod guard;
pub mod principal;
mod secret;
pub mod sessions;
pub mod token;

pub use guard::{Access, read_token};
pub use principal::{Identity, Principal, Role};
pub use secret::{SecretText, secret_digest};
