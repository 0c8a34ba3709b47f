//! Process 1 of an instance: it stays after its program, until somebody asks it to end.

use crate::envelope::Inherited;
use crate::error::{Doing, FAILURE_STATUS, Outcome};
use crate::fusemount::Door;
use crate::init::fusemount::{self, Served};
use crate::init::signals::{ENDING, EVERYBODY};
use crate::init::{Ending, become_program, find, prepare, shim, status_of};
use crate::instance::tell;
use crate::payload::Payload;
use crate::sys::{children, descriptors, fork, signal};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Lowest number for descriptors that are kept, above those that have a meaning.
const KEPT_FD_FIRST: i32 = 32;

/// Starts the program, if there is one, tells whoever waits, and stays until it is asked to end and nobody is left.
pub(super) fn run(payload: &Payload, door: Option<Door>) -> Ending {
    let started = match door {
        // Whoever joins enters the namespaces that this process was started in, so it may not leave them.
        Some(door) if !fusemount::may_mount() => start_with_keeper(payload, door),
        door => start_here(payload, door),
    };
    match started {
        Ok(instance) => {
            stay(true);
            instance.served.into_iter().for_each(Served::end);
            drop(instance.record);
            Ending::Status(0)
        }
        Err(ending) => ending,
    }
}

/// What ends with process 1.
struct Instance {
    /// What makes this process one that may be joined: it is open for as long as this process lives.
    record: Option<OwnedFd>,
    served: Option<Served>,
}

/// Nobody can join where there is no record, and the program must not have it.
fn adopt_record() -> Option<OwnedFd> {
    descriptors::adopt(protocol::INSTANCE_FD).ok()
}

fn start_here(payload: &Payload, door: Option<Door>) -> Result<Instance, Ending> {
    let record = adopt_record();
    let served = door.map(|door| fusemount::mount(payload, door)).transpose()?;
    let waiting = start_program(payload, take_standard_input)?;
    tell(&waiting, None)?;
    Ok(Instance { record, served })
}

/// Prepares the program, then starts it, if there is one. What `before` returns is made in between, and returned.
fn start_program<T>(payload: &Payload, before: impl FnOnce() -> Outcome<T>) -> Result<T, Ending> {
    let (command, mut environment) = prepare(payload)?;
    let program = (!command.is_empty()).then(|| find(payload, command, &mut environment)).transpose()?;
    let made = before()?;
    shim::prepare(payload);
    if let Some(program) = program {
        fork::fork_to(|| {
            status_of(&become_program(payload, program, &environment, Inherited::default()).into())
        })
        .doing(|| "starting the program".into())?;
    }
    Ok(made)
}

/// Starts everything in namespaces of its own, below a process that keeps them.
fn start_with_keeper(payload: &Payload, door: Door) -> Result<Instance, Ending> {
    let starting = || "starting the instance's FUSE file systems".to_owned();
    let record = adopt_record();
    let waiting = take_standard_input()?;
    let (ready, told) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(starting)?;
    shim::prepare(payload);
    let keeper = fork::fork_to(|| match keep(payload, door, told) {
        Ok(()) => 0,
        Err(ending) => status_of(&ending),
    })
    .doing(starting)?;
    let heard = await_ready(ready, &waiting).doing(starting)?;
    if !heard {
        return Err(Ending::Status(status_of_child(keeper)));
    }
    tell(&waiting, Some(keeper))?;
    Ok(Instance { record, served: None })
}

/// Whether the keeper is ready; it has failed or is going to when it is not. Nobody needs it once nobody waits for the
/// instance any more.
fn await_ready(ready: OwnedFd, waiting: &OwnedFd) -> io::Result<bool> {
    let mut watched = [ready.as_fd(), waiting.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut watched, PollTimeout::NONE)?;
    let told = watched[0].any() == Some(true);
    if !told {
        return Err(io::Error::other("nobody waits for it any more"));
    }
    Ok(File::from(ready).read(&mut [0])? == 1)
}

/// The exit status of a child that is about to end.
fn status_of_child(child: Pid) -> i32 {
    loop {
        match children::reap() {
            Ok(Some((process, fate))) if process == child => {
                return fate.status().unwrap_or(FAILURE_STATUS.into());
            }
            Ok(Some(_)) => {}
            Ok(None) => drop(signal::wait(&[libc::SIGCHLD], shim::NAP)),
            Err(_) => return FAILURE_STATUS.into(),
        }
    }
}

/// The keeper: mounts the file systems, starts the program where they can be seen, and stays until the instance ends.
fn keep(payload: &Payload, door: Door, told: OwnedFd) -> Result<(), Ending> {
    let served = fusemount::mount(payload, door)?;
    start_program(payload, || Ok(()))?;
    File::from(told).write_all(b"1").doing(|| "telling that file systems are served".into())?;
    stay(false);
    served.end();
    Ok(())
}

/// Moves the socket of whoever waits away from standard input, which is nothing from now on.
fn take_standard_input() -> Outcome<OwnedFd> {
    let taking = || "preparing standard input".to_owned();
    let socket = descriptors::copy_above(std::io::stdin(), KEPT_FD_FIRST).doing(taking)?;
    let nothing: OwnedFd = match File::open("/dev/null") {
        Ok(null) => null.into(),
        // A pipe that nobody writes to is at its end, too.
        Err(_) => nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(taking)?.0,
    };
    descriptors::place(&nothing, 0).doing(taking)?;
    Ok(socket)
}

/// Buries children until this process was asked to end and has none left. Process 1 passes signals on to everybody.
fn stay(passes_on: bool) {
    let mut ending = false;
    loop {
        let alone = loop {
            match children::reap() {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(error) => break error == Errno::ECHILD,
            }
        };
        if ending && alone {
            return;
        }
        if let Some(arrival) = signal::wait(&signal::ALL, shim::NAP)
            && arrival.is_for_others()
        {
            ending |= ENDING.contains(&arrival.number);
            if passes_on {
                // Where nobody is left, nobody hears it.
                let _ = signal::send(EVERYBODY, arrival.number);
            }
        }
    }
}
