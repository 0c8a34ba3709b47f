//! What a child does between fork and exec. The only unsafe code of the harness.

use crate::machine::User;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{setgroups, setresgid, setresuid, setsid};
use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;

/// A file that is shown at the place of another one.
#[derive(Clone, Debug)]
pub(crate) struct Stand {
    pub(crate) in_for: CString,
    pub(crate) file: CString,
}

/// Makes `command` start in a session of its own, as `user`, seeing `stand` where there is one.
pub(crate) fn start_as(command: &mut std::process::Command, user: &User, stand: Option<Stand>) {
    let user = user.clone();
    let in_child = move || become_user(&user, stand.as_ref());
    // SAFETY: between fork and exec of a process with several threads only async-signal-safe calls are allowed:
    // become_user makes system calls on values that were allocated before, and allocates nothing.
    unsafe { command.pre_exec(in_child) };
}

/// Whoever started the tests may ignore signals, as shells make their background jobs do.
fn default_signals() {
    for number in 1..libc::SIGRTMIN() {
        // SAFETY: installs no function; a number that cannot be changed is answered with an error.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

fn become_user(user: &User, stand: Option<&Stand>) -> io::Result<()> {
    const NONE: Option<&'static std::ffi::CStr> = None;
    setsid()?;
    default_signals();
    // What whoever started the tests left open would be the program's.
    // SAFETY: takes numbers only; nothing is closed before the exec.
    let kept =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    nix::errno::Errno::result(kept)?;
    if let Some(Stand { in_for, file }) = stand {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(NONE, c"/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some(file.as_c_str()), in_for.as_c_str(), NONE, MsFlags::MS_BIND, NONE)?;
    }
    setgroups(&user.groups)?;
    setresgid(user.gid, user.gid, user.gid)?;
    Ok(setresuid(user.uid, user.uid, user.uid)?)
}
