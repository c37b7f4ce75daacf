//! A library over a directory, as the daemon wires one.

use std::path::Path;

use tgfs::vfs::Vfs;
use tokio::runtime::Runtime;

pub struct Library {
    vfs: Vfs,
}

impl Library {
    pub fn open(_state: &Path, _runtime: &Runtime) -> Self {
        Self { vfs: Vfs {} }
    }
    pub fn vfs(&self) -> Vfs {
        self.vfs.clone()
    }
    pub fn close(self, _runtime: &Runtime) {}
}
