//! Whether a server answers.

use crate::error::{Doing, Failure, Outcome};
use crate::making::Interrupts;
use crate::process;
use crate::sys::fork::fork_to;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use std::os::fd::AsFd;
use std::path::Path;

/// Asks for the root of a mount, in a child that may be stuck for as long as the server is at work, and returns what was
/// answered: `ENOTCONN` or `ECONNABORTED` by the kernel, once the server's last copy of the connection is closed; any other
/// error by the server itself.
///
/// # Errors
/// The command was asked to end meanwhile.
pub(super) fn await_answer(at: &Path, interrupts: &Interrupts) -> Outcome<Result<(), Errno>> {
    let asking = || "waiting for a FUSE server".to_string();
    let ask = || nix::sys::stat::stat(at).map_or_else(|errno| errno as i32, |_| 0);
    let asker = fork_to(ask).doing(asking)?;
    let awaited = wait_for(&process::hold(asker).doing(asking)?, interrupts);
    if awaited.is_err() {
        let _ = kill(asker, Signal::SIGKILL);
    }
    let end = waitpid(asker, None).doing(asking)?;
    awaited.map(|()| match end {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, number) => Err(Errno::from_raw(number)),
        _ => Err(Errno::ENOTCONN),
    })
}

fn wait_for(process: &impl AsFd, interrupts: &Interrupts) -> Outcome<()> {
    let mut waiting = [process.as_fd(), interrupts.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    loop {
        match nix::poll::poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new(format!("while waiting for a FUSE server: {errno}"))),
        }
    }
    interrupts.check()
}
