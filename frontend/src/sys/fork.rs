//! A forked copy of this process that runs one function and is gone.

use crate::error::NotStarted;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::{ForkResult, Pid};
use std::panic::AssertUnwindSafe;

/// The child's exit status when its function panicked.
const PANICKED: i32 = 101;

/// Forks. The child runs `work` and exits with the status it gives; it never returns to the caller, not by a panic
/// either, and runs no destructor of what `work` borrows. The parent gets the child's id.
///
/// # Errors
/// The kernel's reason for not making a process: `EAGAIN` at a process limit, `ENOMEM`.
pub fn fork_to(work: impl FnOnce() -> i32) -> Result<Pid, NotStarted> {
    // SAFETY: the frontend has one thread when it inspects images, so no lock of another thread can be held forever
    // in the child. Test binaries have more; what runs in the child then needs nothing but the allocator, whose
    // locks the C library itself puts in order around fork.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
            // SAFETY: ends the process without running anything of it; no precondition.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Lets `SIGALRM` end this process whatever was inherited, and arms it. For the child of [`fork_to`].
///
/// # Errors
/// None is known for a valid signal number.
pub fn die_after(seconds: u32) -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: installs no handler, so there is no function that a signal could find in a bad state.
    unsafe { nix::sys::signal::sigaction(Signal::SIGALRM, &default) }?;
    SigSet::from(Signal::SIGALRM).thread_unblock()?;
    nix::unistd::alarm::set(seconds);
    Ok(())
}
