//! The process that waits outside a PID namespace: the caller's shell sees it in place of the program.
//!
//! It passes on what it is sent. The signals of a terminal reach the program by themselves, because it is in the same
//! process group; so those that the kernel sends are not passed on.

use crate::error::{Doing, Failure};
use crate::init::Ending;
use crate::sys::children::{self, Fate};
use crate::sys::signal::{self, Disposition};
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::time::Duration;

/// How long to sleep at most between two looks at what happened.
const NAP: Duration = Duration::from_secs(3600);
/// What a shell adds to the number of a signal that killed a program.
const KILLED_BASE: i32 = 128;

/// Waits for a child of this process, by its id, and ends as it does.
///
/// # Errors
/// Always: how to end.
pub(super) fn run(process: &OsStr) -> Result<Infallible, Ending> {
    let _ = signal::set_disposition(libc::SIGCHLD, Disposition::Default);
    let _ = signal::set_blocked(&signal::ALL);
    let number: Option<i32> =
        process.to_str().and_then(|number| number.parse().ok()).filter(|number| *number > 1);
    let container =
        number.map(Pid::from_raw).ok_or_else(|| Failure::new("the monitor needs a process id"))?;
    loop {
        match children::look_at(container).doing(|| format!("waiting for process {container}"))? {
            Some(Fate::Exited(status)) => return Err(Ending::Status(status)),
            Some(Fate::Killed(signal)) => return Err(die_of(signal)),
            Some(Fate::Stopped) => stop_with(container),
            None => {}
        }
        if let Some(arrival) = signal::wait(&signal::ALL, NAP) {
            handle(container, arrival);
        }
    }
}

fn handle(container: Pid, arrival: signal::Arrival) {
    if arrival.sent && !matches!(arrival.number, libc::SIGCHLD | libc::SIGURG) {
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

/// Dies of the signal the container died of.
fn die_of(number: i32) -> Ending {
    // The container's memory is what is worth a core dump, not this process's.
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = signal::set_disposition(number, Disposition::Default);
    let _ = signal::set_blocked(&[]);
    let _ = signal::send(getpid(), number);
    Ending::Status(KILLED_BASE + number)
}
