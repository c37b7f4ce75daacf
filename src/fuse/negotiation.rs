//! Negotiation with the kernel at the start of a mount.

use fuser::{InitFlags, KernelConfig};

/// Longest write that the kernel sends, in bytes. The kernel's own ceiling is 256 pages.
const MAX_WRITE_BYTES: u32 = 1024 * 1024;

/// Largest number of readahead and other requests without a waiting process that the kernel keeps
/// open at a time. Requests with a waiting process are bounded by the processes. A file has one
/// write at a time, because the kernel holds its lock, so copied data is bounded by
/// `MAX_WRITE_BYTES` for each file being written.
const MAX_BACKGROUND_REQUESTS: u16 = 64;

/// Capabilities requested from the kernel beyond those that fuser requests (`ASYNC_READ`, `MAX_PAGES`).
/// `WRITEBACK_CACHE` is left out, because errors of a write would show only after its `close`.
const CAPABILITIES: [InitFlags; 7] = [
    // Without this flag each WRITE is preceded by a GETXATTR of security.capability (1.75 to 3.1
    // times slower).
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    // The kernel then asks for an inode that it has forgotten by `.`, and for the parent of a directory by
    // `..`. Without that, a server of NFS answers ESTALE as soon as memory gets short.
    InitFlags::FUSE_EXPORT_SUPPORT,
    // Bytes that changed without the kernel's doing (an upload over the socket) have another mtime
    // or size. The kernel drops its cached pages when it sees that.
    InitFlags::FUSE_AUTO_INVAL_DATA,
];

/// Requests the options that tgfs works best with. Options that an older kernel lacks are left out.
pub(super) fn ask(config: &mut KernelConfig) {
    for capability in CAPABILITIES {
        if let Err(missing) = config.add_capabilities(capability) {
            tracing::debug!(?missing, "the kernel does not offer a FUSE capability");
        }
    }
    // A refusal carries the nearest allowed value.
    if let Err(nearest) = config.set_max_write(MAX_WRITE_BYTES) {
        tracing::debug!(nearest, "the kernel takes only shorter writes");
    }
    if let Err(nearest) = config.set_max_background(MAX_BACKGROUND_REQUESTS) {
        tracing::debug!(nearest, "the kernel takes fewer background requests");
    }
}
