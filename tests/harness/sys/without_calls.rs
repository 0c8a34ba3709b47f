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
use syscalls::Sysno;

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
    let call: Sysno = name.parse().expect("a call that there is");
    let rules = condition.map(condition_rule).into_iter().collect();
    let filter = SeccompFilter::new(
        [(call.id().into(), rules)].into(),
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
