//! A clean process, whatever the caller left behind: descriptors, environment, signals, umask, working directory.

use crate::proc::HostProc;
use crate::refusal::{EXIT_STATUS, Refusal, Step};
use crate::sys;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{alarm, chdir};

/// Seconds until the kernel ends a starter that is stuck before its mounts are made, for example on an image
/// whose file system never answers.
const DEADLINE_SECONDS: u32 = 10;
/// Inode number of the initial user namespace: `PROC_USER_INIT_INO` in the kernel's `proc_ns.h`.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Makes the process undumpable first, so that from here on nobody can look in, then removes everything inherited.
pub fn clean_process() -> Result<(), Refusal> {
    nix::sys::prctl::set_dumpable(false).step("becoming undumpable")?;
    std::panic::set_hook(Box::new(|_| sys::exit_now(EXIT_STATUS)));
    sys::close_range(3, true)?;
    sys::clear_environment()?;
    sys::default_signals();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).step("unblocking signals")?;
    alarm::set(DEADLINE_SECONDS);
    umask(Mode::empty());
    chdir("/").step("leaving the working directory")
}

/// From here on only the kernel's own work takes time, and an image on a slow disk may take its own.
pub fn lift_deadline() {
    alarm::cancel();
}

/// Whether this is the user namespace that the machine started with.
pub fn in_initial_user_namespace() -> Result<bool, Refusal> {
    Ok(HostProc::open()?.namespace("user")? == INITIAL_USER_NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_user_namespace_is_known_by_its_number() {
        let link = rustix::fs::readlink("/proc/self/ns/user", Vec::new()).expect("it has a name");
        let is_initial = link.to_bytes() == b"user:[4026531837]";
        assert_eq!(in_initial_user_namespace().ok(), Some(is_initial));
    }
}
