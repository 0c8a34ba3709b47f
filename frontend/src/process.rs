//! Processes that may be gone at any moment: a number stands for another one then, so it never comes alone.

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;

/// When a process was started, in clock ticks since boot; `None` when there is no such process.
#[must_use]
pub fn start_of(pid: Pid) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The second field is a name in parentheses that may hold anything; the 22nd of all is wanted.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A running process, held so that its number cannot become another's.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process with this number that was started at this moment; `None` when it has ended.
    #[must_use]
    pub fn find(pid: Pid, started: u64) -> Option<Self> {
        let held = pidfd_open(rustix::process::Pid::from_raw(pid.as_raw())?, PidfdFlags::empty()).ok()?;
        (start_of(pid)? == started && !is_dead(pid)).then_some(Self(held))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `EPERM`; `ESRCH` when it has ended; `EINVAL` for no signal's number.
    pub fn send(&self, signal: i32) -> Result<(), Errno> {
        let signal = Signal::from_named_raw(signal).ok_or(Errno::EINVAL)?;
        pidfd_send_signal(&self.0, signal).map_err(|error| Errno::from_raw(error.raw_os_error()))
    }

    /// The descriptor, which is readable once the process has ended.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// The same.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }
}

/// Whether it has ended and only its parent has not heard of it.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    matches!(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()), None | Some('Z' | 'X'))
}
