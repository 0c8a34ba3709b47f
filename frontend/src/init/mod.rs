//! `lamina-init`: what happens between the mounts and the user's program.
//!
//! The starter made the container, gave up everything and executed this program inside, as the user. It writes the
//! caller into the account files, works out the environment, finds the program and becomes it. Nothing here trusts
//! the image: it may change what the user's program sees, and nothing else.

mod accounts;
mod action;
mod environment;
mod execute;
mod fakeroot;
mod fusemount;
mod instance;
mod machine;
mod restrictions;
mod runtime;
mod monitor;
mod shell;
mod shim;
mod signals;
mod working_directory;

use crate::envelope::{self, Contents, Inherited};
use crate::error::{Doing, FAILURE_STATUS, Failure, Outcome};
use crate::message::{self, Level};
use crate::payload::{self, PAYLOAD_BYTES_MAX, Payload, Text};
use crate::sys::descriptors;
use environment::Environment;
use execute::Program;
pub(crate) use shell::matches_pattern;
use std::convert::Infallible;
use std::os::unix::fs::FileExt;

/// The word that makes this program wait outside for process 1 of a PID namespace.
const MONITOR: &str = "monitor";

/// How a run ends when no program takes this process over.
enum Ending {
    /// With this exit status; everything there is to say was said.
    Status(i32),
    /// With a failure to be told.
    Failed(Failure),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Carries out the payload, or what the first argument asks for. Never returns: either another program takes over, or
/// the process exits.
pub fn main() -> ! {
    let mut arguments = std::env::args_os().skip(1);
    let result = match (arguments.next(), arguments.next()) {
        (Some(mode), Some(descriptor)) if mode == environment::DUMP => environment::dump(&descriptor),
        (Some(mode), Some(process)) if mode == MONITOR => monitor::run(&process),
        _ => enter_container(),
    };
    let Err(ending) = result;
    std::process::exit(status_of(&ending))
}

/// The exit status of an ending; tells a failure.
fn status_of(ending: &Ending) -> i32 {
    match ending {
        Ending::Status(status) => *status,
        Ending::Failed(failure) => {
            message::say(Level::Fatal, &failure.to_string());
            if let Some(next) = failure.next_step() {
                message::info(next);
            }
            FAILURE_STATUS.into()
        }
    }
}

/// The whole run inside the container.
fn enter_container() -> Result<Infallible, Ending> {
    let (payload, originals, Contents { door, inherited, .. }) = receive()?;
    message::configure(payload.message_level, payload.colour);
    if payload.oci.is_some() {
        runtime::take_over().doing(|| "taking over from the OCI runtime".into())?;
    }
    accounts::write(&payload, &originals);
    drop(originals);
    signals::set_umask(payload.umask);
    if payload.instance {
        return Err(instance::run(&payload, door));
    }
    let served = match (door, payload.keeper) {
        (Some(door), _) => Some(fusemount::mount(&payload, door)?),
        (None, Some(keeper)) => {
            fusemount::join(keeper)?;
            None
        }
        (None, None) => None,
    };
    let (command, mut environment) = prepare(&payload)?;
    let program = find(&payload, command, &mut environment)?;
    // The daemon of the fakeroot command ends with this process, so this process ends with the program.
    if served.is_some() || payload.fakeroot || (payload.shim && nix::unistd::getpid().as_raw() == 1) {
        return Err(shim::run(&payload, program, &environment, served, inherited));
    }
    Err(become_program(&payload, program, &environment, inherited).into())
}

/// Goes where the program starts, and works out its command line and environment. An instance may have none.
fn prepare(payload: &Payload) -> Result<(Vec<Text>, Environment), Ending> {
    let directory = working_directory::enter(payload)?;
    let mut environment = environment::compute(payload, &directory)?;
    let command = action::choose(payload, &mut environment)?;
    Ok((command, environment))
}

/// The program of a command line, and what its environment needs beside it.
fn find(payload: &Payload, command: Vec<Text>, environment: &mut Environment) -> Outcome<Program> {
    let program = Program::find(command, environment)?;
    if payload.fakeroot {
        fakeroot::prepare(environment);
    }
    Ok(program)
}

/// Becomes the program with the caller's signals and what he left open, or says why not.
fn become_program(
    payload: &Payload,
    program: Program,
    environment: &Environment,
    inherited: Inherited,
) -> Failure {
    signals::restore(payload);
    match inherited.place().and_then(|()| restrictions::apply(&payload.restrictions)) {
        Ok(()) => program.execute(environment),
        Err(failure) => failure,
    }
}

/// The payload, the image's own account files in the order of [`protocol::AccountFile`], and what came with the payload.
fn receive() -> Outcome<(Payload, accounts::Originals, Contents)> {
    let doing = || "reading the payload".to_owned();
    let payload = descriptors::adopt(protocol::PAYLOAD_FD).doing(doing)?;
    let originals = accounts::Originals::adopt();
    let contents = envelope::open(payload)?;
    let file = &contents.payload;
    let length = usize::try_from(file.metadata().doing(doing)?.len()).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX {
        return Err(Failure::new("while reading the payload: it is longer than 8 MiB"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).doing(doing)?;
    Ok((payload::decode(&bytes)?, originals, contents))
}
