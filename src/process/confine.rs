//! Confinement of a process, applied inside that process before it becomes the program.
//!
//! - All: no_new_privs, no core file, no file may grow, few descriptors, bounded address space.
//! - Landlock, where the kernel has it: the process may read below the system's library directories and
//!   may read its one input. It gets no write, no other file and no network. This is best effort, because
//!   older kernels know less.
//! - As root: the process becomes `nobody` if the input's mode lets others read it, otherwise the input's
//!   owner. Root is kept only for an input that belongs to root and is readable by nobody else. This is
//!   necessary because opening [`INPUT_PATH`] checks the file's mode again, and ffmpeg before 6 cannot
//!   take an open descriptor and stay able to seek. Landlock is then what confines the process.
//! - SIGKILL arrives when the daemon's thread that started the process ends.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr,
};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, geteuid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

use super::limits::{Devices, INPUT_PATH};

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
/// Uid and gid of `nobody` if the system has no such user.
const NOBODY: u32 = 65534;

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
/// becomes the program. Returns only on failure. `args` is everything behind `confine`.
#[must_use]
pub fn confine_main(args: &[OsString]) -> ExitCode {
    let message = match parse(args) {
        Ok((spec, program, rest)) => match restrict(&spec, Path::new(program)) {
            Ok(()) => {
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
            Err(message) => message,
        },
        Err(message) => message,
    };
    eprintln!("confine: {message}");
    ExitCode::from(CONFINE_FAILED)
}

fn parse(args: &[OsString]) -> Result<(ConfineSpec, &OsStr, &[OsString]), String> {
    let [flag, spec, dashes, program, rest @ ..] = args else {
        return Err("usage: confine --spec JSON -- PROGRAM ARGS".to_owned());
    };
    if flag != "--spec" || dashes != "--" {
        return Err("usage: confine --spec JSON -- PROGRAM ARGS".to_owned());
    }
    let spec = spec.to_str().ok_or("the spec is not UTF-8")?;
    let spec = serde_json::from_str(spec).map_err(|error| format!("bad spec: {error}"))?;
    Ok((spec, program, rest))
}

fn restrict(spec: &ConfineSpec, program: &Path) -> Result<(), String> {
    let input = match spec.input {
        Input::None => None,
        Input::Stdin => Some(
            File::open(INPUT_PATH)
                .and_then(|file| Ok((file.metadata()?, file)))
                .map_err(|error| format!("the input cannot be opened: {error}"))?,
        ),
    };
    prctl::set_no_new_privs().map_err(|error| format!("no_new_privs: {error}"))?;
    let (files, memory) = match spec.devices {
        Devices::None => (MAX_OPEN_FILES, spec.memory),
        // A graphics driver maps all memory of its processor.
        Devices::Graphics => (MAX_GRAPHICS_FILES, RLIM_INFINITY),
    };
    for (resource, limit) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, files),
        (Resource::RLIMIT_AS, memory),
    ] {
        setrlimit(resource, limit, limit).map_err(|error| format!("{resource:?}: {error}"))?;
    }
    restrict_files(input.as_ref().map(|(_, file)| file), program, spec.devices)
        .map_err(|error| format!("landlock: {error}"))?;
    if geteuid().is_root() {
        drop_root(input.as_ref().map(|(metadata, _)| metadata), spec.devices)
            .map_err(|error| format!("changing the user: {error}"))?;
    }
    // This comes after the change of user, which clears it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("pdeathsig: {error}"))
}

fn restrict_files(
    input: Option<&File>,
    program: &Path,
    devices: Devices,
) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V4;
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(landlock::AccessNet::from_all(abi))?
        .create()?;
    let home = program.parent().map(Path::to_path_buf);
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
            let access = if Path::new(path).is_dir() {
                AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir
            } else {
                AccessFs::ReadFile | AccessFs::WriteFile
            };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    if let Some(file) = input {
        rules = rules.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
    }
    rules.restrict_self().map(|_status| ())
}

fn drop_root(input: Option<&Metadata>, devices: Devices) -> nix::Result<()> {
    let (uid, gid) = user_for(input);
    let groups = match devices {
        Devices::None => Vec::new(),
        Devices::Graphics => groups_of_graphics(),
    };
    setgroups(&groups)?;
    setgid(gid)?;
    setuid(uid)
}

/// Returns the groups that may use the render nodes, e.g. `render`.
fn groups_of_graphics() -> Vec<Gid> {
    let nodes = std::fs::read_dir("/dev/dri")
        .into_iter()
        .flatten()
        .flatten();
    let owners = nodes.filter_map(|node| node.metadata().ok());
    let mut groups: Vec<u32> = owners
        .map(|found| found.gid())
        .filter(|gid| *gid != 0)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into_iter().map(Gid::from_raw).collect()
}

/// Returns the least privileged user who can still open the input; see the head of this module.
fn user_for(input: Option<&Metadata>) -> (Uid, Gid) {
    const OTHERS_READ: u32 = 0o004;
    match input {
        Some(file) if file.mode() & OTHERS_READ == 0 => {
            (Uid::from_raw(file.uid()), Gid::from_raw(file.gid()))
        }
        _ => match User::from_name("nobody") {
            Ok(Some(user)) => (user.uid, user.gid),
            _ => (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)),
        },
    }
}
