//! Ending instances: a signal, some patience, and then the signal that nobody can refuse.

use super::{Folder, Record};
use crate::cgroup;
use crate::error::{Doing, Failure, Outcome};
use crate::message;
use crate::process::Process;
use nix::errno::Errno;
use nix::unistd::Pid;
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
/// One is somebody else's, or does not end even when it is killed, or its images take longer than that to be written.
pub fn stop(folder: &Folder, instances: Vec<(Record, Process)>, how: Stopping) -> Outcome<()> {
    let deadline = Instant::now() + how.patience;
    // Who has ended is in no group.
    let groups: Vec<_> = instances.iter().map(|(record, _)| cgroup::of(Pid::from_raw(record.pid))).collect();
    for (record, process) in &instances {
        message::info(format!("Stopping {} instance of {} (PID={})", record.name, record.image, record.pid));
        send(record, process, how.signal)?;
    }
    for ((record, process), group) in instances.into_iter().zip(groups) {
        let waiting = || format!("waiting for instance {} to end", record.name);
        if !process.ended_by(deadline).doing(waiting)? {
            message::info(format!(
                "Killing {} instance of {} (PID={}) (Timeout)",
                record.name, record.image, record.pid
            ));
            send(&record, &process, libc::SIGKILL)?;
            if !process.ended_by(Instant::now() + KILL_TIME_MAX).doing(waiting)? {
                return Err(Failure::new(format!(
                    "instance {} does not end although it was killed",
                    record.name
                ))
                .hint("the kernel waits for something, often a file server: 'ps -o wchan' tells"));
            }
        }
        wait_for_images(&record)?;
        // One that somebody is still in stays, and goes with the next start.
        let _ = group.map(std::fs::remove_dir);
        folder.clear(&record.name);
    }
    Ok(())
}

/// Waits for the process that waits for the instance: where servers show its images, it ends when these are on disk.
fn wait_for_images(record: &Record) -> Outcome<()> {
    let waiting = || format!("waiting for the images of instance {} to be written", record.name);
    let Some(monitor) = Process::find(Pid::from_raw(record.ppid), record.parent_started) else {
        return Ok(());
    };
    if monitor.ended_by(Instant::now() + KILL_TIME_MAX).doing(waiting)? {
        return Ok(());
    }
    Err(Failure::new(format!("the images of instance {} are still being written", record.name))
        .hint(format!("they are complete when process {} has ended", record.ppid)))
}

/// Sends a signal; one that has ended meanwhile needs none.
fn send(record: &Record, process: &Process, signal: i32) -> Outcome<()> {
    match process.send(signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).doing(|| format!("stopping instance {}", record.name)),
    }
}
