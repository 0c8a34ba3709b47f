//! The image's own shell, for environment scripts that are more than the small shell knows.
//!
//! It runs the script and then becomes this program again, which writes the environment it was given into a memory
//! file: no tool of the image has to be trusted to print it unharmed.

use super::Environment;
use crate::error::{Doing, Failure, Outcome};
use crate::init::{Ending, execute};
use crate::payload::{PAYLOAD_BYTES_MAX, Text};
use crate::sys::{descriptors, signal};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long environment scripts may take, as with the incumbents.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The word that makes this program write its environment.
pub(in crate::init) const DUMP: &str = "dump-environment";
/// Follows the last variable in the memory file: proof that it is whole.
const END: u8 = 0;
/// Variables that shells set for themselves.
const OF_THE_SHELL: [&str; 3] = ["_", "SHLVL", "OLDPWD"];

/// A shell in the image.
pub(super) struct ImageShell {
    path: &'static str,
    init: File,
}

/// Finds a shell, and this program to become afterwards; nothing where either is out of reach. bash comes first: the
/// incumbents' own shell understands its language, so images use it.
pub(super) fn find() -> Option<ImageShell> {
    let path = ["/bin/bash", execute::SHELL].into_iter().find(|path| execute::is_executable(path))?;
    let init = File::options().read(true).custom_flags(libc::O_PATH).open("/proc/self/exe").ok()?;
    Some(ImageShell { path, init })
}

impl ImageShell {
    /// Runs the script with these variables and returns what it exports.
    ///
    /// # Errors
    /// When the script exits, with its status; when it is killed or takes too long.
    pub(super) fn evaluate(
        &self,
        script: &[u8],
        start: &Environment,
        arguments: &[Text],
    ) -> Result<Environment, Ending> {
        let doing = || format!("starting {} for the environment scripts", self.path);
        let (mut source, result) = (memory_file().doing(doing)?, memory_file().doing(doing)?);
        let end = format!("exec {} {DUMP} {}\n", numbered(self.init.as_raw_fd()), result.as_raw_fd());
        source.write_all(&[script, end.as_bytes()].concat()).doing(doing)?;
        fcntl(&self.init, FcntlArg::F_SETFD(FdFlag::empty())).doing(doing)?;
        signal::set_blocked(&[libc::SIGCHLD]).doing(doing)?;
        let child = Command::new(self.path)
            .arg(numbered(source.as_raw_fd()))
            .args(arguments.iter().map(|argument| OsStr::from_bytes(argument)))
            .env_clear()
            .envs(start.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))))
            .spawn()
            .doing(doing)?;
        let status = wait(child)?;
        match (read(&result)?, status.code(), status.signal()) {
            (Some(environment), ..) => Ok(environment),
            (None, Some(status), _) => Err(Ending::Status(status)),
            (None, None, signal) => {
                let signal = signal.unwrap_or_default();
                let message = format!("the image's environment scripts were killed by signal {signal}");
                Err(Failure::new(message).into())
            }
        }
    }
}

/// A file in memory that the shell inherits.
fn memory_file() -> Result<File, Errno> {
    memfd_create(c"environment", MFdFlags::empty()).map(File::from)
}

fn numbered(descriptor: RawFd) -> String {
    format!("/proc/self/fd/{descriptor}")
}

fn wait(mut child: Child) -> Outcome<ExitStatus> {
    let doing = || "waiting for the environment scripts".to_owned();
    let deadline = Instant::now() + TIME_MAX;
    loop {
        if let Some(status) = child.try_wait().doing(doing)? {
            return Ok(status);
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            // It is gone as soon as it is killed, or nothing can be done about it.
            let _ = child.kill();
            let _ = child.wait();
            let seconds = TIME_MAX.as_secs();
            return Err(Failure::new(format!(
                "the image's environment scripts took longer than {seconds} seconds"
            ))
            .hint("Look for a script in /.singularity.d/env that waits for something"));
        };
        // Who asks again sooner than needed loses nothing.
        let _ = signal::wait(&[libc::SIGCHLD], left);
    }
}

/// What [`dump`] wrote; nothing when it did not run to its end.
fn read(file: &File) -> Outcome<Option<Environment>> {
    let doing = || "reading the environment of the image's shell".to_owned();
    let length = usize::try_from(file.metadata().doing(doing)?.len()).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX {
        return Err(Failure::new("the image's environment scripts set more than 8 MiB of variables"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).doing(doing)?;
    let Some(variables) = bytes.strip_suffix(&[END]) else {
        return Ok(None);
    };
    let pairs = variables.split(|byte| *byte == 0).filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at(equals);
        Some((name, value.get(1..).unwrap_or_default()))
    });
    Ok(Some(pairs.filter(|(name, _)| !OF_THE_SHELL.iter().any(|own| own.as_bytes() == *name)).collect()))
}

/// Writes this process's environment to a descriptor, for [`ImageShell::evaluate`]: each variable with a NUL, and one
/// more NUL at the end.
///
/// # Errors
/// Always: a success too is a way for this process to end.
pub(in crate::init) fn dump(descriptor: &OsStr) -> Result<Infallible, Ending> {
    write_environment(descriptor)?;
    Err(Ending::Status(0))
}

fn write_environment(descriptor: &OsStr) -> Outcome<()> {
    let doing = || "writing the environment".to_owned();
    let number = descriptor
        .to_str()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Failure::new("no descriptor"))?;
    let mut file = File::from(descriptors::adopt(number).doing(doing)?);
    let mut bytes = Vec::new();
    for (name, value) in std::env::vars_os() {
        bytes.extend([name.into_vec(), value.into_vec()].join(&b'='));
        bytes.push(0);
    }
    bytes.push(END);
    file.write_all(&bytes).doing(doing)
}
