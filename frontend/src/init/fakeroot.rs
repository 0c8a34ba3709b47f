//! The `fakeroot` command of the host, in front of a program: what the program does to owners and devices succeeds and
//! is remembered until it ends, although nothing of it takes place.

use crate::init::environment::Environment;
use crate::init::execute::{Program, SHELL};
use crate::message::{self, shown};
use crate::payload::{FAKEROOT_DAEMON, FAKEROOT_LIBRARY, FAKEROOT_SCRIPT, Text};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// The kernel refuses ids that the namespace has not, in other words than those that the library takes for a refusal:
/// with this variable it does not ask.
const DO_NOT_TRY: &str = "FAKEROOTDONTTRYCHOWN";

/// Has the program run by the command, unless the container is none in which the host's command works.
pub(super) fn around(program: Program, environment: &mut Environment) -> Program {
    match trial(environment) {
        Ok(()) => {
            environment.set(DO_NOT_TRY, "1");
            program.run_by(words())
        }
        Err(why) => {
            message::warning(format!("The fakeroot command of the host does not work in this image: {why}"));
            program
        }
    }
}

fn words() -> Vec<Text> {
    let words = [FAKEROOT_SCRIPT, "--lib", FAKEROOT_LIBRARY, "--faked", FAKEROOT_DAEMON, "--"];
    words.map(Text::from).into()
}

/// Runs a harmless program in this way: the image may lack a shell, or have another C library.
fn trial(environment: &Environment) -> Result<(), String> {
    let mut command = Command::new(FAKEROOT_SCRIPT);
    let words = words();
    let arguments = words.iter().skip(1).map(|word| OsStr::from_bytes(word));
    command.args(arguments).args([SHELL, "-c", ":"]).env_clear().stdin(Stdio::null());
    command.envs(environment.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
    let ended = command.output().map_err(|error| error.to_string())?;
    // The dynamic linker goes on without a library that it cannot load.
    match (ended.status.success(), ended.stderr.trim_ascii()) {
        (true, []) => Ok(()),
        (_, words) => Err(shown(OsStr::from_bytes(words))),
    }
}
