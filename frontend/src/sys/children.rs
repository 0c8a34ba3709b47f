//! What became of child processes, whatever signal they died of: nix knows no real-time signals.

use nix::errno::Errno;
use nix::unistd::Pid;

/// What became of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It ended with this status.
    Exited(i32),
    /// It died of this signal.
    Killed(i32),
    /// It is stopped; told only once, and only by [`look_at`].
    Stopped,
}

/// What a shell adds to the number of a signal that killed a program.
const KILLED_BASE: i32 = 128;

impl Fate {
    /// The exit status that a shell gives it; `None` for a child that lives.
    #[must_use]
    pub fn status(self) -> Option<i32> {
        match self {
            Self::Exited(status) => Some(status),
            Self::Killed(signal) => Some(KILLED_BASE + signal),
            Self::Stopped => None,
        }
    }
}

/// Looks whether this child ended or stopped.
///
/// # Errors
/// `ECHILD` when it is no child of this process.
pub fn look_at(child: Pid) -> Result<Option<Fate>, Errno> {
    Ok(wait(child.as_raw(), libc::WNOHANG | libc::WUNTRACED)?.map(|(_, fate)| fate))
}

/// Takes one child that has ended, whichever it is.
///
/// # Errors
/// `ECHILD` when there are no children.
pub fn reap() -> Result<Option<(Pid, Fate)>, Errno> {
    wait(-1, libc::WNOHANG)
}

fn wait(which: libc::pid_t, options: libc::c_int) -> Result<Option<(Pid, Fate)>, Errno> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer to the place given.
    let found = unsafe { libc::waitpid(which, &raw mut status, options) };
    let found = Pid::from_raw(Errno::result(found)?);
    if found.as_raw() == 0 {
        return Ok(None);
    }
    Ok(Some((
        found,
        if libc::WIFEXITED(status) {
            Fate::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Fate::Killed(libc::WTERMSIG(status))
        } else {
            Fate::Stopped
        },
    )))
}
