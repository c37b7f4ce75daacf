//! Filter of system calls (seccomp) for media tools. They decode a file that is open and write to pipes,
//! so whatever reaches other processes, the network, the kernel's own machinery or another session is
//! denied. Most calls answer EPERM, which programs survive; those that the C library only tries first
//! answer ENOSYS, so that it takes the older way, which can be checked.
//!
//! The filter lists what is denied and not what is allowed, since libraries of codecs and drivers of
//! graphics processors are many. Calls that are newer than the list are denied as unknown.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use super::limits::Devices;

/// The first number that is not assigned in the kernel that the list was made for (6.18). All
/// architectures use the same numbers for new calls. It also is below the numbers of the x32 calls.
const FIRST_UNKNOWN: u32 = 470;
/// Requests by which a terminal takes input from a program.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// Calls that are always denied, by what they reach.
const DENIED: &[i64] = &[
    // Sockets of all kinds.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Other processes.
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pidfd_getfd,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_ioprio_set,
    libc::SYS_execveat,
    // The process group and the session, by which a tool is ended.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Users.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    // Objects that live on, and that other processes share.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Much code of the kernel that no tool needs.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// Calls that exist on x86-64 only.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[i64] = &[];

/// Calls that drivers of graphics processors need between their own threads and descriptors.
const NOT_FOR_GRAPHICS: &[i64] = &[libc::SYS_socketpair, libc::SYS_kcmp];

/// Denies the calls for this process and whatever it becomes. It must have one thread.
///
/// # Errors
/// A sentence, when the kernel has no such filters or the architecture is not known.
pub fn deny(devices: Devices) -> Result<(), String> {
    let newer = unknown_calls();
    let named = named_calls(devices).map_err(|error| error.to_string())?;
    for program in [&named, &newer] {
        seccompiler::apply_filter(program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Returns a program that answers ENOSYS for unknown calls and for `clone3`, whose flags lie in memory
/// where a filter cannot read them.
fn unknown_calls() -> BpfProgram {
    let statement = |code: u32, k: u32| sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let skip = |condition: u32, k: u32, yes: u8, no: u8| sock_filter {
        code: (libc::BPF_JMP | condition | libc::BPF_K) as u16,
        jt: yes,
        jf: no,
        k,
    };
    let answer = libc::BPF_RET | libc::BPF_K;
    let refusal = libc::SECCOMP_RET_ERRNO | (libc::ENOSYS as u32 & libc::SECCOMP_RET_DATA);
    vec![
        // The number of the call is the first word.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        skip(libc::BPF_JGE, FIRST_UNKNOWN, 2, 0),
        skip(libc::BPF_JEQ, libc::SYS_clone3 as u32, 1, 0),
        statement(answer, libc::SECCOMP_RET_ALLOW),
        statement(answer, refusal),
    ]
}

fn named_calls(devices: Devices) -> Result<BpfProgram, seccompiler::BackendError> {
    let own = u64::from(std::process::id());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let graphics: &[i64] = match devices {
        Devices::None => NOT_FOR_GRAPHICS,
        Devices::Graphics => &[],
    };
    for call in DENIED.iter().chain(DENIED_HERE).chain(graphics) {
        rules.insert(*call, Vec::new());
    }
    let threads = libc::CLONE_THREAD as u64;
    let namespace = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET) as u64;
    let with = |number, operator, value| argument(number, operator, value).and_then(rule);
    // Threads are allowed, processes are not.
    rules.insert(
        libc::SYS_clone,
        vec![
            with(0, SeccompCmpOp::MaskedEq(threads), 0)?,
            with(0, SeccompCmpOp::MaskedEq(namespace), namespace)?,
        ],
    );
    // A program may end itself, as `abort` does.
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![with(0, SeccompCmpOp::Ne, own)?]);
    }
    // 0 is the caller itself.
    let of_others = SeccompRule::new(vec![
        argument(0, SeccompCmpOp::Ne, 0)?,
        argument(0, SeccompCmpOp::Ne, own)?,
    ])?;
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
    ] {
        rules.insert(call, vec![of_others.clone()]);
    }
    rules.insert(libc::SYS_setpriority, vec![with(1, SeccompCmpOp::Ne, 0)?]);
    // The signal at the daemon's end stays set.
    let death = libc::PR_SET_PDEATHSIG as u64;
    rules.insert(libc::SYS_prctl, vec![with(0, SeccompCmpOp::Eq, death)?]);
    // Signals to the owner of a descriptor, and input for a terminal.
    let owners = [libc::F_SETOWN as u64, F_SETOWN_EX];
    let owners = owners.map(|command| with(1, SeccompCmpOp::Eq, command));
    rules.insert(
        libc::SYS_fcntl,
        owners.into_iter().collect::<Result<_, _>>()?,
    );
    let inputs = [TIOCSTI, TIOCLINUX].map(|request| with(1, SeccompCmpOp::Eq, request));
    rules.insert(
        libc::SYS_ioctl,
        inputs.into_iter().collect::<Result<_, _>>()?,
    );
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// Command of fcntl(2) that sets the owner of a descriptor to a thread, a process or a group.
const F_SETOWN_EX: u64 = 15;

/// Returns a condition on the lower 32 bits of an argument, which are all that the kernel reads of it.
fn argument(
    number: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, value)
}

fn rule(condition: SeccompCondition) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition])
}
