//! The launcher alone, for tests of confinement: `confine confine --spec JSON -- program args…`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(2).collect();
    tgfs::process::confine::confine_main(&args)
}
