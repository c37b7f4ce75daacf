//! Programs that use files in a mount, as `/proc` shows them. Never touches the mount, whose daemon may be
//! dead.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::output::printable;
use super::paths::TgfsMount;

/// A process that uses files in a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) program: String,
}

/// Finds the processes that have a file of the mount open, map one, or work in one of its directories.
/// Processes of other users are seen by root alone.
pub(super) fn holders_of(mount: &TgfsMount) -> Vec<Holder> {
    let mut found = BTreeMap::new();
    for item in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = item.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        if uses(&item.path(), mount) {
            let program = program_of(&item.path());
            found.insert(pid, Holder { pid, program });
        }
    }
    found.into_values().collect()
}

/// Returns a text such as `vlc (pid 12) and bash (pid 7)`.
pub(super) fn names(holders: &[Holder]) -> String {
    let one = |holder: &Holder| format!("{} (pid {})", printable(&holder.program), holder.pid);
    let names: Vec<_> = holders.iter().map(one).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

impl Holder {
    /// Returns whether the process still runs.
    pub(super) fn is_alive(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }
}

fn program_of(process: &Path) -> String {
    let name = fs::read(process.join("comm")).unwrap_or_default();
    crate::model::shown::readable(name.trim_ascii())
}

fn uses(process: &Path, mount: &TgfsMount) -> bool {
    has_open(process, mount) || works_in(process, mount) || maps(process, mount)
}

/// Looks at `mnt_id` of each open file; see proc_pid_fdinfo(5).
fn has_open(process: &Path, mount: &TgfsMount) -> bool {
    let files = fs::read_dir(process.join("fdinfo")).into_iter().flatten();
    files.flatten().any(|file| {
        let info = fs::read_to_string(file.path()).unwrap_or_default();
        let mut lines = info.lines().filter_map(|line| line.strip_prefix("mnt_id:"));
        lines.any(|id| id.trim() == mount.id)
    })
}

fn works_in(process: &Path, mount: &TgfsMount) -> bool {
    ["cwd", "root"].iter().any(|link| {
        fs::read_link(process.join(link)).is_ok_and(|place| place.starts_with(&mount.path))
    })
}

/// Looks at the device of each mapping, which is written in hexadecimal there; see proc_pid_maps(5).
fn maps(process: &Path, mount: &TgfsMount) -> bool {
    let numbers: Option<Vec<u32>> = mount
        .device
        .split(':')
        .map(|number| number.parse().ok())
        .collect();
    let Some([major, minor]) = numbers.as_deref() else {
        return false;
    };
    let device = format!("{major:02x}:{minor:02x}");
    let table = fs::read(process.join("maps")).unwrap_or_default();
    let mut lines = table.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        fields.nth(3) == Some(device.as_bytes())
    })
}
