//! What the mounter may do: a few capabilities, a few system calls, no network, nobody outside to signal.

use crate::mounter::privilege;
use crate::refusal::{Refusal, Step};
use crate::sys;
use caps::CapSet;
use landlock::{ABI, Access, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Every system call the mounter may make, and what for.
const CALLS: &[(i64, &str)] = &[
    (libc::SYS_fsopen, "a new file system"),
    (libc::SYS_fsconfig, "its options"),
    (libc::SYS_fsmount, "a detached mount of it"),
    (
        libc::SYS_open_tree,
        "clones of session directories and of parts of data images",
    ),
    (libc::SYS_move_mount, "attaching"),
    (libc::SYS_mount_setattr, "read-only for a plain root"),
    (libc::SYS_pivot_root, "into the container"),
    (libc::SYS_umount2, "the host's tree goes"),
    (libc::SYS_fchdir, "into the container"),
    (libc::SYS_chdir, "into the container"),
    (libc::SYS_ioctl, "loop devices"),
    (libc::SYS_openat, "loop devices, the session, the mount table"),
    (libc::SYS_openat2, "places in images and in the container"),
    (libc::SYS_mkdirat, "mount points in the session, upper and work"),
    (libc::SYS_symlinkat, "links of a minimal /dev"),
    (libc::SYS_readlinkat, "links on the way to a missing mount point"),
    (libc::SYS_newfstatat, "looking at what was opened"),
    (libc::SYS_fstat, "looking at what was opened"),
    (
        libc::SYS_getdents64,
        "the parts of an image that an underlay shows",
    ),
    (
        libc::SYS_read,
        "the mount table, the kernel's explanation of an error",
    ),
    (libc::SYS_close, "descriptors"),
    (libc::SYS_fcntl, "copies of descriptors"),
    (libc::SYS_sendmsg, "the report"),
    (libc::SYS_setfsuid, "acting as the caller"),
    (libc::SYS_capget, "capabilities, raised around a call"),
    (libc::SYS_capset, "capabilities, raised around a call"),
    (
        libc::SYS_clock_nanosleep,
        "the pause after a lost race for a loop device",
    ),
    (libc::SYS_brk, "memory"),
    (libc::SYS_mmap, "memory"),
    (libc::SYS_munmap, "memory"),
    (libc::SYS_mremap, "memory"),
    (libc::SYS_statx, "how long the mount table is"),
    (libc::SYS_lseek, "how long the mount table is"),
    (libc::SYS_getrandom, "hash maps of the capability sets"),
    (libc::SYS_exit_group, "the end"),
    (libc::SYS_rt_sigreturn, "the end of a stop"),
    (libc::SYS_restart_syscall, "the end of a stop"),
];

/// Confines this process for good, and ties its life to the starter's.
pub fn confine(starter: Pid) -> Result<(), Refusal> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).step("tying the mounter to the starter")?;
    if getppid() != starter {
        return Err(Refusal::new("the starter is gone"));
    }
    caps::clear(None, CapSet::Inheritable).step("emptying a capability set")?;
    sys::detach_ids_from_capabilities()?;
    let effective = privilege::ALWAYS.iter().copied().collect();
    caps::set(None, CapSet::Effective, &effective).step("choosing capabilities")?;
    caps::set(None, CapSet::Permitted, &privilege::permitted()).step("limiting capabilities")?;
    nix::sys::prctl::set_no_new_privs().step("setting no_new_privs")?;
    leave_the_network()?;
    allow_only_listed_calls()
}

/// No TCP, no abstract sockets, no signals to anybody outside. A domain that handled file access would forbid every
/// mount. Kernels without these rights are told apart by the library; seccomp forbids the calls in any case.
fn leave_the_network() -> Result<(), Refusal> {
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .set_compatibility(CompatLevel::BestEffort)
            .restrict_self()
    };
    restrict()
        .map(drop)
        .map_err(|error| Refusal::new(format!("while confining the mounter: {error}")))
}

fn allow_only_listed_calls() -> Result<(), Refusal> {
    let refuse =
        |error: &dyn std::fmt::Display| Refusal::new(format!("while confining the mounter: {error}"));
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| refuse(&error))?;
    let rules = CALLS.iter().map(|(call, _)| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        architecture,
    )
    .map_err(|error| refuse(&error))?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|error: seccompiler::BackendError| refuse(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| refuse(&error))
}
