//! Ctrl-C and its like, held back until what was begun is tidied up.

use crate::error::{Doing, Failure, Outcome};
use crate::sys::signal::{Disposition, ignored_signals, set_disposition};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// What asks a command to end.
const ASKING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// While this lives, the signals that ask a command to end are held back. Work looks at [`Interrupts::pending`] or
/// waits for [`Interrupts::as_fd`] and fails; destructors tidy up; and the drop of this value lets the signal do
/// what it does by default, so the shell sees the command die by it. Make it before anything that is to be tidied up.
#[derive(Debug)]
pub struct Interrupts {
    held: SigSet,
    arrivals: SignalFd,
}

impl Interrupts {
    /// Begins to hold back the signals that are neither ignored nor held back already.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn hold() -> Outcome<Self> {
        let holding = || "preparing for interruptions".to_string();
        let before = SigSet::thread_get_mask().doing(holding)?;
        // Inherited so from some daemons, it would have the kernel forget how helper programs ended.
        set_disposition(Signal::SIGCHLD as i32, Disposition::Default).doing(holding)?;
        // A limit on the size of files is then told by the call that meets it.
        set_disposition(Signal::SIGXFSZ as i32, Disposition::Ignore).doing(holding)?;
        let ignored = ignored_signals();
        let held: SigSet = ASKING
            .into_iter()
            .filter(|signal| !before.contains(*signal) && !ignored.contains(&(*signal as i32)))
            .collect();
        let arrivals =
            SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing(holding)?;
        held.thread_block().doing(holding)?;
        Ok(Self { held, arrivals })
    }

    /// For a child of this process: holds nothing back any more, so that what it becomes is as the caller wanted it.
    pub fn let_go(&self) {
        let _ = self.held.thread_unblock();
        let _ = set_disposition(Signal::SIGXFSZ as i32, Disposition::Default);
    }

    /// Whether the command was asked to end. The signal stays pending.
    #[must_use]
    pub fn pending(&self) -> bool {
        let mut arrival = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut arrival, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Fails when the command was asked to end.
    ///
    /// # Errors
    /// It was; nobody will read why, because the signal ends the command.
    pub fn check(&self) -> Outcome<()> {
        if self.pending() { Err(Failure::new("interrupted")) } else { Ok(()) }
    }
}

impl AsFd for Interrupts {
    /// Readable when the command was asked to end. It is not to be read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrivals.as_fd()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        let _ = self.held.thread_unblock();
    }
}
