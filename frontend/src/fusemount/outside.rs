//! The process that starts FUSE servers on the host, as the caller, when `init` has mounted what they serve. It ends with
//! the container, and its servers before it.

use super::{FAILED, PATIENCE, STARTED, arguments, before_serving, receive, send};
use crate::error::{NotStarted, reason_of};
use crate::message::shown;
use crate::payload::FuseMount;
use crate::sys::children;
use crate::sys::fork::fork_to;
use crate::sys::signal::{self, Disposition};
use crate::sys::{child, descriptors};
use nix::sys::prctl;
use nix::unistd::{Pid, setsid};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The lowest number that is no standard stream.
const FIRST_FD: i32 = 3;
/// How long to sleep at most between two looks at what became of the servers.
const NAP: Duration = Duration::from_millis(100);

/// Leaves a process behind that answers on `socket` for as long as anybody holds its other end.
///
/// # Errors
/// The kernel has no processes left.
pub(super) fn attend(socket: &OwnedFd, file_systems: &[FuseMount]) -> Result<(), NotStarted> {
    fork_to(|| match let_go(socket) {
        Ok(socket) => {
            answer(&socket, file_systems);
            end_servers();
            0
        }
        Err(_) => 1,
    })
    .map(drop)
}

/// Lets go of what the caller had open: an image is free when its container has ended, and his terminal is the container's.
fn let_go(socket: &OwnedFd) -> io::Result<OwnedFd> {
    setsid()?;
    // Servers that go into the background are this process's children all the same.
    prctl::set_child_subreaper(true)?;
    signal::set_disposition(libc::SIGCHLD, Disposition::Default)?;
    let socket = descriptors::copy_above(socket, FIRST_FD + 1)?;
    descriptors::place(&socket, FIRST_FD)?;
    descriptors::close_from(FIRST_FD + 1)?;
    std::mem::forget(socket);
    descriptors::place(&File::open("/dev/null")?.into(), 0)?;
    Ok(descriptors::adopt(FIRST_FD)?)
}

/// Starts the servers that are asked for until nobody can ask any more.
fn answer(socket: &OwnedFd, file_systems: &[FuseMount]) {
    while let Ok((words, mut descriptors)) = receive(socket) {
        let number = words.as_slice().try_into().map(usize::from_le_bytes);
        let (Ok(number), Some(connection)) = (number, descriptors.pop()) else { return };
        let Some(file_system) = file_systems.get(number) else { return };
        let said = match start(file_system, connection) {
            Ok(()) => send(socket, &[STARTED], &[]),
            Err(why) => send(socket, &[&[FAILED], why.as_bytes()].concat(), &[]),
        };
        if said.is_err() {
            return;
        }
    }
}

/// Starts a server; one that goes into the background has done so afterwards.
fn start(file_system: &FuseMount, connection: OwnedFd) -> Result<(), String> {
    let number = connection.as_raw_fd();
    let words = arguments(file_system, number);
    let mut words = words.iter().map(|word| OsStr::from_bytes(word));
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(words);
    child::before_exec(&mut command, move || before_serving(number));
    let mut server = command.spawn().map_err(|error| reason_of(&NotStarted::from(error)))?;
    drop(connection);
    if file_system.daemon {
        let status = server.wait().map_err(|error| reason_of(&error))?;
        if !status.success() {
            return Err(format!("{} ended with {status}", shown(program)));
        }
    }
    Ok(())
}

/// Asks every server to end, and waits for that. One that does not within its time is ended.
fn end_servers() {
    let _ = signal::set_blocked(&[libc::SIGCHLD]);
    send_all(libc::SIGTERM);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match children::reap() {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(_) => return,
        }
        if Instant::now() >= deadline {
            send_all(libc::SIGKILL);
        }
        let _ = signal::wait(&[libc::SIGCHLD], NAP);
    }
}

/// Sends a signal to each child of this process.
fn send_all(number: i32) {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for process in children.split_whitespace().filter_map(|process| process.parse().ok()) {
        let _ = signal::send(Pid::from_raw(process), number);
    }
}
