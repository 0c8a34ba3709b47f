//! The `fakeroot` command of the host, done by this program: a daemon remembers what programs do to owners and devices, and
//! a library in each of them has it succeed, although nothing of it takes place.

use crate::error::{NotStarted, reason_of};
use crate::init::environment::Environment;
use crate::init::execute::SHELL;
use crate::message::{self, shown};
use crate::payload::{FAKEROOT_DAEMON, FAKEROOT_LIBRARY};
use crate::sys::child;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

/// Loads a library into every program.
const PRELOAD: &str = "LD_PRELOAD";
/// Where the daemon is to be found.
const KEY: &str = "FAKEROOTKEY";
/// The kernel refuses ids that the namespace has not, in other words than those that the library takes for a refusal:
/// with this variable it does not ask.
const DO_NOT_TRY: &str = "FAKEROOTDONTTRYCHOWN";
/// What nothing is remembered of belongs to root.
const MODE: (&str, &str) = ("FAKED_MODE", "unknown-is-root");

/// Starts the daemon, which ends with this process, and has programs with this environment use it; says so where the
/// container is none in which the host's command works.
pub(super) fn prepare(environment: &mut Environment) {
    let mut fake = environment.clone();
    let preloaded: Vec<&[u8]> =
        [FAKEROOT_LIBRARY.as_bytes()].into_iter().chain(environment.get(PRELOAD)).collect();
    fake.set(PRELOAD, preloaded.join(&b':'));
    fake.set(DO_NOT_TRY, "1");
    fake.set(MODE.0, MODE.1);
    match start().and_then(|key| {
        fake.set(KEY, key);
        try_out(&fake)
    }) {
        Ok(()) => *environment = fake,
        Err(why) => message::warning(format!(
            "The fakeroot command of the host does not work in this image: {}",
            shown(why.trim())
        )),
    }
}

/// Starts the daemon and returns its key.
fn start() -> Result<String, String> {
    // What it says when it cannot run: later nobody listens.
    output_of(Command::new(FAKEROOT_DAEMON).arg("--version"))?;
    let mut command = Command::new(FAKEROOT_DAEMON);
    command.arg("--foreground").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    child::before_exec(&mut command, || {
        // Ctrl-C is for the program.
        nix::unistd::setsid()?;
        Ok(prctl::set_pdeathsig(Signal::SIGTERM)?)
    });
    let mut daemon = command.spawn().map_err(|error| reason_of(&NotStarted::from(error)))?;
    let mut line = String::new();
    if let Some(said) = daemon.stdout.take() {
        BufReader::new(said).read_line(&mut line).map_err(|error| reason_of(&error))?;
    }
    // Its key, a colon, its process id.
    match line.split_once(':') {
        Some((key, _)) if !key.is_empty() => Ok(key.to_owned()),
        _ => Err("its daemon did not start".into()),
    }
}

/// Runs the image's shell with the library: it may be of another C library, and then only says so and goes on.
fn try_out(environment: &Environment) -> Result<(), String> {
    let variables =
        environment.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value)));
    let complaint = output_of(Command::new(SHELL).args(["-c", ":"]).env_clear().envs(variables))?.stderr;
    if complaint.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&complaint).into_owned()) }
}

/// What a program that ended well wrote, or why it did not.
fn output_of(command: &mut Command) -> Result<Output, String> {
    let ended = command.stdin(Stdio::null()).output().map_err(|error| reason_of(&error))?;
    match ended.stderr.as_slice() {
        _ if ended.status.success() => Ok(ended),
        [] => Err(ended.status.to_string()),
        complaint => Err(String::from_utf8_lossy(complaint).into_owned()),
    }
}
