//! Confinement of a process, applied inside that process before it becomes the program.
//!
//! - All: no_new_privs, no core file, no file may grow, few descriptors, bounded address space, a limit of
//!   threads.
//! - Landlock, where the kernel has it: the process may read below the system's library directories and
//!   may read its one input. It gets no write, no other file, no TCP, and reaches no abstract socket and
//!   no process outside. Older kernels know less, and [`restrict`] returns what is missing.
//! - A filter of system calls, see [`syscalls`].
//! - As root: the process becomes another user, see [`tool_user`].
//! - SIGKILL arrives when the daemon's thread that started the process ends. The process cannot leave
//!   its process group and cannot start another, so ending the group ends everything.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::limits::{Devices, INPUT_PATH};
use super::syscalls;
use super::tool_user::{self, OnlyReader};
use crate::model::{ConfinementInfo, ConfinementLevel};

/// Exit status when confinement itself failed; the program was not started.
pub const CONFINE_FAILED: u8 = 125;
/// Largest number of open files: standard streams, libraries while they load, one reopened input.
const MAX_OPEN_FILES: u64 = 64;
/// Directories where programs and libraries are. They may be read and executed.
const SYSTEM_DIRECTORIES: [&str; 7] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/nix/store",
];
/// Devices that programs expect to be able to read.
const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];
/// Graphics processors, and the files that their drivers need from the system.
const GRAPHICS: [&str; 8] = [
    "/dev/dri",
    "/dev/nvidia0",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/sys",
    "/proc/driver/nvidia",
];
/// Largest number of open files of a program that uses graphics processors.
const MAX_GRAPHICS_FILES: u64 = 512;
/// Increment passed to `nice`. It leaves little to the program if anything else wants to run.
const NICENESS: &str = "15";
/// Threads that a tool may start beyond all that the system has. The kernel counts those of all processes
/// of the user, whose number no other limit fits.
const MORE_THREADS: u64 = 256;
/// Limit of threads where the system does not say how many it has.
const MOST_THREADS: u64 = 4096;
/// Version of Landlock that we ask for. What older kernels do not know is left out.
const NEWEST: ABI = ABI::V9;
/// Version that has all that is asked for: the filter of system calls does what later ones add.
const ENOUGH: ABI = ABI::V6;
/// Flag in place of `--` that asks to report the confinement and to start no program.
pub const REPORT: &str = "--report";

/// Permissions of the confined process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfineSpec {
    pub input: Input,
    /// Address space in bytes.
    pub memory: u64,
    /// Path of the `nice` program, which starts the program so that it takes only what others leave.
    #[serde(default)]
    pub nice: Option<PathBuf>,
    #[serde(default)]
    pub devices: Devices,
}

/// Place of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    None,
    /// The input is open as standard input.
    Stdin,
}

impl ConfineSpec {
    /// Returns the value of `--spec`.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of an enum and a number cannot fail to serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Runs the hidden command `confine --spec JSON -- program args…`: restricts this process, then
/// becomes the program. Returns only on failure. `args` is everything behind `confine`. With `--report`
/// in place of the program it prints a [`ConfinementInfo`] instead.
#[must_use]
pub fn confine_main(args: &[OsString]) -> ExitCode {
    let message = match args {
        [flag, spec, report] if flag == "--spec" && report == REPORT => match report_for(spec) {
            Ok(info) => {
                println!("{info}");
                return ExitCode::SUCCESS;
            }
            Err(message) => message,
        },
        _ => match parse(args) {
            Ok((spec, program, rest)) => become_program(&spec, program, rest),
            Err(message) => message,
        },
    };
    eprintln!("confine: {message}");
    ExitCode::from(CONFINE_FAILED)
}

/// Restricts this process and becomes the program. Returns why that failed.
fn become_program(spec: &ConfineSpec, program: &OsStr, rest: &[OsString]) -> String {
    if let Err(message) = restrict(spec, Some(Path::new(program))) {
        return message;
    }
    let mut command = match &spec.nice {
        Some(nice) => Command::new(nice),
        None => Command::new(program),
    };
    if spec.nice.is_some() {
        command.args(["-n", NICENESS]).arg(program);
    }
    let error = command
        .args(rest)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .exec();
    format!(
        "{} could not be started: {error}",
        program.to_string_lossy()
    )
}

fn report_for(spec: &OsStr) -> Result<String, String> {
    let info = restrict(&parse_spec(spec)?, None)?;
    serde_json::to_string(&info).map_err(|error| error.to_string())
}

fn parse_spec(spec: &OsStr) -> Result<ConfineSpec, String> {
    let spec = spec.to_str().ok_or("the spec is not UTF-8")?;
    serde_json::from_str(spec).map_err(|error| format!("bad spec: {error}"))
}

fn parse(args: &[OsString]) -> Result<(ConfineSpec, &OsStr, &[OsString]), String> {
    let [flag, spec, dashes, program, rest @ ..] = args else {
        return Err("usage: confine --spec JSON -- PROGRAM ARGS".to_owned());
    };
    if flag != "--spec" || dashes != "--" {
        return Err("usage: confine --spec JSON -- PROGRAM ARGS".to_owned());
    }
    Ok((parse_spec(spec)?, program, rest))
}

/// Restricts this process, and returns what the kernel enforces.
fn restrict(spec: &ConfineSpec, program: Option<&Path>) -> Result<ConfinementInfo, String> {
    let input = match spec.input {
        Input::None => None,
        Input::Stdin => Some(
            File::open(INPUT_PATH)
                .and_then(|file| Ok((file.metadata()?, file)))
                .map_err(|error| format!("the input cannot be opened: {error}"))?,
        ),
    };
    prctl::set_no_new_privs().map_err(|error| format!("no_new_privs: {error}"))?;
    set_limits(spec)?;
    let landlock = restrict_files(input.as_ref().map(|(_, file)| file), program, spec.devices)
        .map_err(|error| format!("landlock: {error}"))?;
    if geteuid().is_root() {
        // A report tells of the worst case.
        let reader = match (&input, program) {
            (Some((file, _)), _) => only_reader(file),
            (None, Some(_)) => None,
            (None, None) => Some(OnlyReader { uid: 0, gid: 0 }),
        };
        tool_user::leave_root(reader, spec.devices)
            .map_err(|error| format!("changing the user: {error}"))?;
    }
    // This comes after the change of user, which clears it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("pdeathsig: {error}"))?;
    // This comes last, because it denies what the steps before need.
    let filtered = syscalls::deny(spec.devices);
    Ok(describe(landlock, filtered))
}

fn only_reader(file: &Metadata) -> Option<OnlyReader> {
    const OTHERS_READ: u32 = 0o004;
    (file.mode() & OTHERS_READ == 0).then(|| OnlyReader {
        uid: file.uid(),
        gid: file.gid(),
    })
}

fn describe(landlock: LandlockStatus, filtered: Result<(), String>) -> ConfinementInfo {
    let mut missing = Vec::new();
    let version = match landlock {
        LandlockStatus::Available { effective_abi, .. } => {
            if effective_abi < ENOUGH {
                missing.push(format!(
                    "the kernel's Landlock is version {}, and version {} (Linux 6.12) keeps tools from all processes and sockets outside",
                    effective_abi as u32, ENOUGH as u32
                ));
            }
            effective_abi as u32
        }
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => {
            missing.push(
                "the kernel has no Landlock (or `lsm=` at boot leaves it out), so tools can read what their user can"
                    .to_owned(),
            );
            0
        }
    };
    let seccomp = filtered.is_ok();
    if let Err(reason) = filtered {
        missing.push(format!("system calls are not filtered: {reason}"));
    }
    let uid = geteuid();
    if uid.is_root() {
        missing.push("tools run as root for files that only root may read".to_owned());
    }
    ConfinementInfo {
        level: match missing.is_empty() {
            true => ConfinementLevel::Full,
            false => ConfinementLevel::Partial,
        },
        landlock: version,
        seccomp,
        uid: uid.as_raw(),
        missing,
    }
}

fn set_limits(spec: &ConfineSpec) -> Result<(), String> {
    let (files, memory) = match spec.devices {
        Devices::None => (MAX_OPEN_FILES, spec.memory),
        // A graphics driver maps all memory of its processor.
        Devices::Graphics => (MAX_GRAPHICS_FILES, RLIM_INFINITY),
    };
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).map_err(|error| error.to_string())?;
    for (resource, limit) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, files),
        (Resource::RLIMIT_AS, memory),
        (Resource::RLIMIT_NPROC, thread_limit().min(most)),
    ] {
        setrlimit(resource, limit, limit).map_err(|error| format!("{resource:?}: {error}"))?;
    }
    Ok(())
}

/// Returns the threads of the system and those that a tool may add.
fn thread_limit() -> u64 {
    // The fourth field is `running/all`.
    let all = std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| {
            let (_, all) = text.split_whitespace().nth(3)?.split_once('/')?;
            all.parse::<u64>().ok()
        });
    all.map_or(MOST_THREADS, |all| all + MORE_THREADS)
}

fn restrict_files(
    input: Option<&File>,
    program: Option<&Path>,
    devices: Devices,
) -> Result<LandlockStatus, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let home = program.and_then(Path::parent).map(Path::to_path_buf);
    let directories = SYSTEM_DIRECTORIES.iter().map(PathBuf::from).chain(home);
    for path in directories.filter(|path| path.exists()) {
        if let Ok(fd) = PathFd::new(&path) {
            let access = if path.is_dir() {
                read
            } else {
                AccessFs::ReadFile.into()
            };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    for path in DEVICES {
        if let Ok(fd) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(fd, AccessFs::ReadFile))?;
        }
    }
    let graphics: &[&str] = match devices {
        Devices::None => &[],
        Devices::Graphics => &GRAPHICS,
    };
    for path in graphics {
        if let Ok(fd) = PathFd::new(path) {
            let of_device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
            let access = if Path::new(path).is_dir() {
                of_device | AccessFs::ReadDir
            } else {
                of_device
            };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    if let Some(file) = input {
        rules = rules.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
    }
    rules.restrict_self().map(|status| status.landlock)
}
