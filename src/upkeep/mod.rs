//! Upkeep keeps index and remote in step: it fills and recovers the index, verifies the remote, moves
//! a library to another store, and deletes packs that nothing needs.

pub mod attach_error;
mod catch_up;
pub mod cleanup;
pub mod fill;
mod known_log;
mod log_checks;
pub mod moving;
pub mod orphans;
mod patient_request;
pub mod recover;
pub mod verify;

#[cfg(test)]
mod tests;
