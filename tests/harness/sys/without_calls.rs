//! Runs a program on a kernel that seems to lack some calls: `without-calls CALL[:ARGUMENT=VALUE]/ERROR... -- PROGRAM...`.
//!
//! `openat2/ENOSYS` answers every openat2; `fsconfig:1=5/EINVAL` every fsconfig whose argument 1 is 5. The filter is
//! installed by root and without `no_new_privs`, so that setuid programs still work under it.

use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The calls that the tests take away.
const CALLS: &[(&str, i64)] = &[
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("faccessat2", libc::SYS_faccessat2),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("ioctl", libc::SYS_ioctl),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
    ("memfd_create", libc::SYS_memfd_create),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("seccomp", libc::SYS_seccomp),
    ("statx", libc::SYS_statx),
];

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    for rule in arguments.by_ref().take_while(|argument| argument != "--") {
        install(&filter(rule.to_str().expect("a rule is text")));
    }
    let program = arguments.next().expect("a program after --");
    let error = Command::new(program).args(arguments).exec();
    panic!("cannot start the program: {error}");
}

fn filter(rule: &str) -> BpfProgram {
    let (what, error) = rule.split_once('/').expect("CALL/ERROR");
    let error = match error {
        "EINVAL" => Errno::EINVAL,
        "EPERM" => Errno::EPERM,
        "EOPNOTSUPP" => Errno::EOPNOTSUPP,
        "ENOSYS" => Errno::ENOSYS,
        other => panic!("no error {other}"),
    };
    let (name, condition) = what.split_once(':').map_or((what, None), |(name, rest)| (name, Some(rest)));
    let (_, number) = CALLS.iter().find(|(known, _)| *known == name).expect("a call of the table");
    let rules = condition.map(condition_rule).into_iter().collect();
    let filter = SeccompFilter::new(
        [(*number, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(error as u32),
        std::env::consts::ARCH.try_into().expect("an architecture with filters"),
    );
    filter.expect("a filter").try_into().expect("that compiles")
}

fn condition_rule(text: &str) -> SeccompRule {
    let (argument, value) = text.split_once('=').expect("ARGUMENT=VALUE");
    let argument = argument.parse().expect("a number");
    let value = value.parse().expect("a number");
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    SeccompRule::new(vec![condition.expect("a condition")]).expect("a rule")
}

/// The library's own installer sets `no_new_privs` first, which would make setuid programs powerless.
fn install(filter: &[sock_filter]) {
    let program = libc::sock_fprog {
        len: filter.len().try_into().expect("a short filter"),
        filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the program and the filter it points to are alive during the call, which reads them only; the two
    // types of an instruction have the same layout, the kernel's.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    assert_eq!(result, 0, "a filter can be installed: {}", std::io::Error::last_os_error());
}
