//! Ending instances: a signal, some patience, and then the signal that nobody can refuse.

use super::{Folder, Record};
use crate::error::{Doing, Failure, Outcome};
use crate::message;
use crate::process::Process;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How an instance is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopping {
    /// The signal that asks it to end.
    pub signal: i32,
    /// How long it may take until it is killed.
    pub patience: Duration,
}

/// How long the kernel may take to end a killed process before it is said that it does not.
const KILL_TIME_MAX: Duration = Duration::from_secs(30);

/// Ends these instances: all are asked at once, so that one that takes its time does not keep the others.
///
/// # Errors
/// One is somebody else's, or does not end even when it is killed.
pub fn stop(folder: &Folder, instances: Vec<(Record, Process)>, how: Stopping) -> Outcome<()> {
    let deadline = Instant::now() + how.patience;
    for (record, process) in &instances {
        message::info(format!("Stopping {} instance of {} (PID={})", record.name, record.image, record.pid));
        send(record, process, how.signal)?;
    }
    for (record, process) in instances {
        if !ended_by(&process, deadline)? {
            message::info(format!(
                "Killing {} instance of {} (PID={}) (Timeout)",
                record.name, record.image, record.pid
            ));
            send(&record, &process, libc::SIGKILL)?;
            if !ended_by(&process, Instant::now() + KILL_TIME_MAX)? {
                return Err(Failure::new(format!(
                    "instance {} does not end although it was killed",
                    record.name
                ))
                .hint("the kernel waits for something, often a file server: 'ps -o wchan' tells"));
            }
        }
        folder.remove(&record.name);
    }
    Ok(())
}

/// Sends a signal; one that has ended meanwhile needs none.
fn send(record: &Record, process: &Process, signal: i32) -> Outcome<()> {
    match process.send(signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).doing(|| format!("stopping instance {}", record.name)),
    }
}

fn ended_by(process: &Process, deadline: Instant) -> Outcome<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            other => return other.map(|_| true).doing(|| "waiting for an instance to end".into()),
        }
    }
}
