//! Limits glibc's malloc to few arenas, by starting the daemon once more with a variable set. glibc
//! gives threads that allocate up to eight arenas per core, and an arena keeps the memory that it
//! once had. Blocks come and go over all arenas: a daemon with a cache of 256 MiB grew to 500 MiB
//! under 64 readers, and to 350 MiB with two arenas (docs/adr/0008-two-arenas.md). The number is
//! read from the environment only when a program starts.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Variable that sets the number of arenas (mallopt(3)), and that number. One less would make threads wait.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
const ARENAS: &str = "2";
/// Variable of the newer settings of glibc's allocator. A user who sets it has made their own choice.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Replaces this program by itself with few arenas, in the same process. Does nothing if that was
/// already done, or if it does not work. Has to be called before anything is opened or started.
pub fn become_one_with_few() {
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set(VARIABLE) || is_set(TUNABLES) {
        return;
    }
    // The path is used and not /proc/self/exe, so that the process keeps its name.
    if let Ok(program) = std::env::current_exe() {
        let arguments = std::env::args_os().skip(1);
        // `exec` returns only when it failed. The daemon then needs more memory.
        let _ = Command::new(program)
            .args(arguments)
            .env(VARIABLE, ARENAS)
            .exec();
    }
}
