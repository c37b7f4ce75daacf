//! What keeps index and remote in step: filling and recovering the index, verifying the remote,
//! deleting packs that nothing needs.

mod asking;
mod catch_up;
pub mod cleanup;
pub mod fill;
pub mod moving;
pub mod recover;
pub mod spare;
pub mod verify;

#[cfg(test)]
mod tests;
