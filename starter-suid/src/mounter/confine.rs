//! What the mounter may do: a few capabilities, a few system calls, no network, nobody outside to signal.

use crate::mounter::privilege;
use crate::namespaces::NOSUID;
use crate::refusal::{Refusal, Step};
use crate::sys;
use landlock::{ABI, Access, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use linux_raw_sys::loop_device;
use nix::unistd::{Pid, getppid};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Which arguments a call may have.
#[derive(Clone, Copy)]
enum When {
    /// Any.
    Any,
    /// The argument of this number has all of these bits.
    Has(u8, u64),
    /// The argument of this number has none of these bits.
    HasNot(u8, u64),
    /// The argument of this number is one of these.
    OneOf(u8, &'static [u64]),
}
use When::{Any, Has, HasNot, OneOf};

/// `OPEN_TREE_CLONE` of `linux/mount.h`.
const CLONE: u64 = 1;
const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
const IOCTLS: &[u64] = &[
    loop_device::LOOP_CTL_GET_FREE as u64,
    loop_device::LOOP_CONFIGURE as u64,
    loop_device::LOOP_GET_STATUS64 as u64,
];
const PRCTLS: &[u64] = &[libc::PR_SET_PDEATHSIG as u64, libc::PR_SET_DUMPABLE as u64];
const FCNTLS: &[u64] = &[libc::F_DUPFD_CLOEXEC as u64, libc::F_GETFD as u64, libc::F_GETFL as u64];

/// Every system call the mounter may make, with which arguments, and what for. On another architecture's or the
/// x32 entry no number is in the list.
const CALLS: &[(i64, When, &str)] = &[
    (libc::SYS_fsopen, Any, "a new file system"),
    (libc::SYS_fsconfig, Any, "its options"),
    (libc::SYS_fsmount, Has(2, NOSUID), "a detached mount of it"),
    (libc::SYS_open_tree, Has(2, CLONE), "clones of session directories and of parts of images"),
    (libc::SYS_move_mount, Any, "attaching"),
    (libc::SYS_mount_setattr, Any, "read-only for a plain root"),
    (libc::SYS_pivot_root, Any, "into the container"),
    (libc::SYS_umount2, Has(1, libc::MNT_DETACH as u64), "the host's tree goes"),
    (libc::SYS_fchdir, Any, "into the container"),
    (libc::SYS_chdir, Any, "into the container"),
    (libc::SYS_ioctl, OneOf(1, IOCTLS), "loop devices"),
    (libc::SYS_openat, Any, "loop devices, the session, the mount table"),
    (libc::SYS_openat2, Any, "places in images and in the container"),
    (libc::SYS_mkdirat, Any, "mount points in the session, upper and work"),
    (libc::SYS_symlinkat, Any, "links of a minimal /dev"),
    (libc::SYS_readlinkat, Any, "links on the way to a missing mount point"),
    (libc::SYS_newfstatat, Any, "looking at what was opened"),
    (libc::SYS_fstat, Any, "looking at what was opened"),
    (libc::SYS_getdents64, Any, "the parts of an image that an underlay shows"),
    (libc::SYS_read, Any, "the mount table, the kernel's explanation of an error"),
    (libc::SYS_close, Any, "descriptors"),
    (libc::SYS_fcntl, OneOf(1, FCNTLS), "copies of descriptors"),
    (libc::SYS_sendmsg, Any, "the report"),
    (libc::SYS_setfsuid, Any, "acting as the caller"),
    (libc::SYS_prctl, OneOf(0, PRCTLS), "what a change of ids undid"),
    (libc::SYS_capset, Any, "capabilities, raised around a call"),
    (libc::SYS_clock_nanosleep, Any, "the pause after a lost race for a loop device"),
    (libc::SYS_brk, Any, "memory"),
    (libc::SYS_mmap, HasNot(2, EXECUTABLE), "memory"),
    (libc::SYS_munmap, Any, "memory"),
    (libc::SYS_mremap, Any, "memory"),
    (libc::SYS_exit_group, Any, "the end"),
    (libc::SYS_rt_sigreturn, Any, "the end of a stop"),
    (libc::SYS_restart_syscall, Any, "the end of a stop"),
];

impl When {
    /// The rules of a call, any of which must hold; none for a call that may have any arguments.
    fn rules(self) -> Result<Vec<SeccompRule>, BackendError> {
        let rule = |argument, operator, value| {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
            SeccompRule::new(vec![condition])
        };
        match self {
            Any => Ok(Vec::new()),
            Has(argument, bits) => Ok(vec![rule(argument, SeccompCmpOp::MaskedEq(bits), bits)?]),
            HasNot(argument, bits) => Ok(vec![rule(argument, SeccompCmpOp::MaskedEq(bits), 0)?]),
            OneOf(argument, values) => {
                values.iter().map(|value| rule(argument, SeccompCmpOp::Eq, *value)).collect()
            }
        }
    }
}

/// Confines this process for good, and ties its life to the starter's.
pub fn confine(starter: Pid) -> Result<(), Refusal> {
    privilege::keep_to_the_starter()?;
    if getppid() != starter {
        return Err(Refusal::new("the starter is gone"));
    }
    sys::detach_ids_from_capabilities()?;
    privilege::raise(privilege::ALWAYS)?;
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
    restrict().map(drop).map_err(|error| Refusal::new(format!("while confining the mounter: {error}")))
}

fn allow_only_listed_calls() -> Result<(), Refusal> {
    let apply = || -> Result<(), seccompiler::Error> {
        apply_filter(&filter().map_err(seccompiler::Error::Backend)?)
    };
    apply().map_err(|error| Refusal::new(format!("while confining the mounter: {error}")))
}

fn filter() -> Result<BpfProgram, BackendError> {
    let rules = CALLS.iter().map(|(call, when, _)| Ok((*call, when.rules()?)));
    SeccompFilter::new(
        rules.collect::<Result<_, BackendError>>()?,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_makes_a_filter_and_names_each_call_once() {
        assert!(filter().is_ok_and(|program| !program.is_empty()));
        let mut numbers: Vec<i64> = CALLS.iter().map(|(number, ..)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CALLS.len());
    }
}
