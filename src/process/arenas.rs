//! glibc gives threads that allocate up to eight arenas a core, and an arena keeps what it once had.
//! Blocks come and go over all of them: a daemon with a cache of 256 MiB grew to 500 MiB under 64
//! readers, and to 350 MiB with two arenas (docs/adr/0008-two-arenas.md). The number is read from
//! the environment when a program starts, so a daemon starts itself once more.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The variable (mallopt(3)), and how many arenas a daemon has. One less would make threads wait.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
const ARENAS: &str = "2";
/// Where newer settings of glibc's allocator stand; whoever sets them knows.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Becomes the same program with few arenas, as the same process; does nothing where that is so
/// already, or does not work. To be called before anything is opened or started.
pub fn become_one_with_few() {
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set(VARIABLE) || is_set(TUNABLES) {
        return;
    }
    // The path and not /proc/self/exe: the process keeps its name.
    if let Ok(program) = std::env::current_exe() {
        let arguments = std::env::args_os().skip(1);
        // Comes back only when it failed; the daemon then needs more memory.
        let _ = Command::new(program)
            .args(arguments)
            .env(VARIABLE, ARENAS)
            .exec();
    }
}
