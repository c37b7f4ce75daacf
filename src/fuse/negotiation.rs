//! What is asked of the kernel when a mount begins.

use fuser::{InitFlags, KernelConfig};

/// Longest write the kernel sends, in bytes: its own ceiling is 256 pages.
const MAX_WRITE_BYTES: u32 = 1024 * 1024;

/// Readahead and other requests without a waiting process that the kernel keeps open at a time.
/// Requests with one are bounded by the processes; a file has one write at a time (the kernel
/// holds its lock), so copied data is bounded by `MAX_WRITE_BYTES` for each file being written.
const MAX_BACKGROUND_REQUESTS: u16 = 64;

/// What is asked of the kernel beyond what fuser asks for (`ASYNC_READ`, `MAX_PAGES`). No
/// `WRITEBACK_CACHE`: errors of a write would show after its `close`.
const CAPABILITIES: [InitFlags; 6] = [
    // Without it each WRITE costs a GETXATTR security.capability before (1.75 to 3.1 times slower).
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    // Bytes that changed without the kernel's doing (an upload over the socket) have another mtime
    // or size; cached pages go when the kernel sees that.
    InitFlags::FUSE_AUTO_INVAL_DATA,
];

/// Asks for what tgfs works best with; what an older kernel lacks is left out.
pub(super) fn ask(config: &mut KernelConfig) {
    for capability in CAPABILITIES {
        if let Err(missing) = config.add_capabilities(capability) {
            tracing::debug!(?missing, "the kernel does not offer a FUSE capability");
        }
    }
    // Refusals carry the nearest allowed value.
    if let Err(nearest) = config.set_max_write(MAX_WRITE_BYTES) {
        tracing::debug!(nearest, "the kernel takes only shorter writes");
    }
    if let Err(nearest) = config.set_max_background(MAX_BACKGROUND_REQUESTS) {
        tracing::debug!(nearest, "the kernel takes fewer background requests");
    }
}
