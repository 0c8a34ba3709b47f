//! Processes that may be gone at any moment: a number stands for another one then, so it never comes alone.

use crate::message::shown;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// A descriptor that stands for a process, ended or not, and is readable once it has ended.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn hold(pid: Pid) -> Result<OwnedFd, Errno> {
    let number = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    pidfd_open(number, PidfdFlags::empty()).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// When a process was started, in clock ticks since boot; `None` when there is no such process.
#[must_use]
pub fn start_of(pid: Pid) -> Option<u64> {
    Some(Stat::read(pid)?.started)
}

/// The name of a process's program, as the kernel keeps it.
#[must_use]
pub fn name_of(pid: Pid) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(shown(String::from_utf8_lossy(&name).trim_end()))
}

/// Whether a process has a handler for a signal; `false` when there is no such process.
#[must_use]
pub fn catches(pid: Pid, signal: nix::sys::signal::Signal) -> bool {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught >> (signal as i32 - 1) & 1 == 1
}

/// What the kernel says of a process in `/proc/PID/stat`.
struct Stat {
    /// Whether it has ended, and only its parent has not heard of it.
    dead: bool,
    started: u64,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The second field is a name in parentheses that may hold anything. The third and the 22nd are wanted.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        Some(Self { dead: matches!(fields.next()?, "Z" | "X"), started: fields.nth(18)?.parse().ok()? })
    }
}

/// A running process, held so that its number cannot become another's.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process with this number that was started at this moment; `None` when it has ended.
    #[must_use]
    pub fn find(pid: Pid, started: u64) -> Option<Self> {
        let held = hold(pid).ok()?;
        let stat = Stat::read(pid)?;
        (stat.started == started && !stat.dead).then_some(Self(held))
    }

    /// A child of this process, which nobody has waited for.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn of_child(pid: Pid) -> Result<Self, Errno> {
        Ok(Self(hold(pid)?))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `EPERM`; `ESRCH` when it has ended; `EINVAL` for no signal's number.
    pub fn send(&self, signal: i32) -> Result<(), Errno> {
        let signal = Signal::from_named_raw(signal).ok_or(Errno::EINVAL)?;
        pidfd_send_signal(&self.0, signal).map_err(|error| Errno::from_raw(error.raw_os_error()))
    }

    /// Waits until it has ended, or until the deadline; whether it has ended.
    ///
    /// # Errors
    /// The kernel has no memory left.
    pub fn ended_by(&self, deadline: Instant) -> Result<bool, Errno> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if Instant::now() >= deadline => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                other => return other.map(|_| true),
            }
        }
    }
}

/// Readable once the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> Self {
        process.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_told_from_none() {
        use nix::sys::signal::Signal as Number;
        // The Rust runtime handles faults of memory, to tell of an overflown stack.
        assert!(catches(Pid::this(), Number::SIGSEGV));
        assert!(!catches(Pid::this(), Number::SIGTERM));
    }
}
