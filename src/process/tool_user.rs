//! The user that a media tool becomes when root starts it.
//!
//! The tool becomes `tgfs-media` if the system has that user, and `nobody` otherwise. It opens its input
//! by [`INPUT_PATH`](super::INPUT_PATH), which checks the file's mode once more, and ffmpeg before 6
//! cannot take an open descriptor and stay able to seek. For a file that only its owner may read, the
//! tool therefore keeps one capability, that of reading any file; Landlock leaves it the one input.
//! A container without that capability leaves only the owner of the file.

use std::os::unix::fs::MetadataExt;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

use super::limits::Devices;

/// Name of the user that an administrator may make for media tools alone.
const OWN_USER: &str = "tgfs-media";
/// Uid and gid of `nobody` if the system has no such user.
const NOBODY: u32 = 65534;
/// Capabilities that let a user read any file; the first that we have is taken. Containers often have
/// the second only. Landlock and a file size limit of 0 leave nothing to write.
const READ_ALL: [Capability; 2] = [
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_DAC_OVERRIDE,
];

/// Owner of an input that others may not read.
#[derive(Debug, Clone, Copy)]
pub struct OnlyReader {
    pub uid: u32,
    pub gid: u32,
}

/// Leaves root for good.
///
/// # Errors
/// A sentence, when the kernel refuses.
pub fn leave_root(reader: Option<OnlyReader>, devices: Devices) -> Result<(), String> {
    let groups = match devices {
        Devices::None => Vec::new(),
        Devices::Graphics => groups_of_graphics(),
    };
    let all = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let (uid, gid) = tool_user();
    let Some(reader) = reader else {
        return become_user(uid, gid, &groups);
    };
    let Some(capability) = READ_ALL.into_iter().find(|one| all.contains(one)) else {
        return become_user(reader.uid, reader.gid, &groups);
    };
    prctl::set_keepcaps(true).map_err(|error| error.to_string())?;
    become_user(uid, gid, &groups)?;
    keep(capability).map_err(|error| error.to_string())
}

/// Makes one capability survive the change to the program, and drops all others.
fn keep(capability: Capability) -> Result<(), caps::errors::CapsError> {
    let only = CapsHashSet::from([capability]);
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::set(None, set, &only)?;
    }
    caps::raise(None, CapSet::Ambient, capability)
}

fn become_user(uid: u32, gid: u32, groups: &[Gid]) -> Result<(), String> {
    setgroups(groups)
        .and_then(|()| setgid(Gid::from_raw(gid)))
        .and_then(|()| setuid(Uid::from_raw(uid)))
        .map_err(|error| error.to_string())
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

fn tool_user() -> (u32, u32) {
    [OWN_USER, "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map_or((NOBODY, NOBODY), |user| {
            (user.uid.as_raw(), user.gid.as_raw())
        })
}
