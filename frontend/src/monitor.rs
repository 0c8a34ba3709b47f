//! A process that waits for a container in its caller's place.
//!
//! It passes on what it is sent. The signals of a terminal reach the program by themselves, because it is in the same
//! process group; so those that the kernel sends are not passed on.

use crate::error::{Doing, FAILURE_STATUS, Outcome};
use crate::sys::children::{self, Fate};
use crate::sys::signal::{self, Disposition};
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use std::time::Duration;

/// How long to sleep at most between two looks at what happened.
const NAP: Duration = Duration::from_secs(3600);

/// How a container ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// What became of it.
    pub fate: Fate,
    /// Whether somebody asked this process to end it. A hangup does not count: programs take it for a request to read
    /// their configuration anew.
    pub asked: bool,
}

/// Waits for a child of this process. Every signal is blocked from then on.
///
/// # Errors
/// It is no child of this process.
pub fn follow(container: Pid) -> Outcome<End> {
    let _ = signal::set_disposition(libc::SIGCHLD, Disposition::Default);
    let _ = signal::set_blocked(&signal::ALL);
    let mut asked = false;
    loop {
        match children::look_at(container).doing(|| format!("waiting for process {container}"))? {
            Some(Fate::Stopped) => stop_with(container),
            Some(fate) => return Ok(End { fate, asked }),
            None => {}
        }
        if let Some(arrival) = signal::wait(&signal::ALL, NAP) {
            asked |= arrival.is_for_others()
                && matches!(arrival.number, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT);
            handle(container, arrival);
        }
    }
}

fn handle(container: Pid, arrival: signal::Arrival) {
    if arrival.is_for_others() {
        // A container that is gone is found at the next look.
        let _: Result<(), Errno> = signal::send(container, arrival.number);
    }
    if matches!(arrival.number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
        stop_with(container);
    }
}

/// Stops, so that the caller's shell takes the terminal back, until somebody says to go on; then the container goes on
/// too.
fn stop_with(container: Pid) {
    let _ = signal::send(getpid(), libc::SIGSTOP);
    let _ = signal::send(container, libc::SIGCONT);
}

/// Ends as a child did: dies of the signal that it died of, or returns its status.
#[must_use]
pub fn end_like(fate: Fate) -> i32 {
    if let Fate::Killed(number) = fate {
        // The container's memory is what is worth a core dump, not this process's.
        let _ = nix::sys::prctl::set_dumpable(false);
        let _ = signal::set_disposition(number, Disposition::Default);
        let _ = signal::set_blocked(&[]);
        let _ = signal::send(getpid(), number);
    }
    fate.status().unwrap_or(FAILURE_STATUS.into())
}
