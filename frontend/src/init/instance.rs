//! Process 1 of an instance: it stays after its program, until somebody asks it to end.

use crate::error::{Doing, Outcome};
use crate::init::environment::Environment;
use crate::init::{Ending, become_program, find, shim, status_of};
use crate::instance::tell;
use crate::payload::{Payload, Text};
use crate::sys::signal;
use crate::sys::{children, descriptors, fork};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::fs::File;
use std::os::fd::OwnedFd;

/// Lowest number for descriptors that are kept, above those that have a meaning.
const KEPT_FD_FIRST: i32 = 32;
/// The signals by which an instance is asked to end.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// Everybody but process 1 itself.
const EVERYBODY: Pid = Pid::from_raw(-1);

/// Starts the program, if there is one, tells whoever waits, and stays until it is asked to end and nobody is left.
pub(super) fn run(payload: &Payload, command: Vec<Text>, environment: Environment) -> Ending {
    match start(payload, command, environment) {
        // The record is what makes this process one that may be joined: it is open as long as this process lives.
        Ok(record) => {
            stay();
            drop(record);
            Ending::Status(0)
        }
        Err(failure) => failure.into(),
    }
}

fn start(payload: &Payload, command: Vec<Text>, mut environment: Environment) -> Outcome<Option<OwnedFd>> {
    // Nobody can join where there is none, and the program must not have it.
    let record = descriptors::adopt(protocol::INSTANCE_FD).ok();
    let program = (!command.is_empty()).then(|| find(payload, command, &mut environment)).transpose()?;
    let waiting = take_standard_input()?;
    shim::prepare(payload);
    if let Some(program) = program {
        fork::fork_to(|| status_of(&become_program(payload, program, &environment).into()))
            .doing(|| "starting the program".into())?;
    }
    tell(&waiting)?;
    Ok(record)
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

/// Buries everybody's children and passes signals on to everybody.
fn stay() {
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
            // Where nobody is left, nobody hears it.
            let _ = signal::send(EVERYBODY, arrival.number);
        }
    }
}
