//! Commands that a program of their own carries out, so that `lamina` starts without what only they link.
//!
//! `lamina` knows every command: it answers `--help`, refuses what cannot be understood and then becomes the other
//! program, with the same arguments. That program reads them again through [`super::main_of`] and does the work.

use super::given::Given;
use super::{Invocation, Stop};
use crate::error::{FAILURE_STATUS, Failure, reason_of};
use crate::launch;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A command's name and what carries it out, given what was typed before and after the positionals began.
pub type Handler = (&'static str, fn(&Invocation, &Given, &[OsString]) -> Result<(), Stop>);

/// Becomes the program of this name in the installation's own folder.
///
/// # Errors
/// It is missing, cannot be started, or this program is one that `lamina` became and should have known the command.
pub fn become_program(name: &str, invocation: &Invocation) -> Result<(), Stop> {
    let error = program(name, invocation)?.args(std::env::args_os().skip(1)).exec();
    Err(not_started(name, &error).into())
}

/// Runs the program of this name with these words, and with variables beside those of this process, and returns what it
/// writes to standard output. What goes wrong it says itself.
///
/// # Errors
/// As [`become_program`]; or the program failed, and said why.
pub fn ask_program(
    name: &str,
    invocation: &Invocation,
    words: &[OsString],
    variables: Vec<(String, OsString)>,
) -> Result<Vec<u8>, Stop> {
    let mut program = program(name, invocation)?;
    program.args(words).envs(variables);
    answer_of(program, name)
}

fn answer_of(mut program: Command, name: &str) -> Result<Vec<u8>, Stop> {
    program.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let ended = program.output().map_err(|error| not_started(name, &error))?;
    match ended.status.code() {
        Some(0) => Ok(ended.stdout),
        code => Err(Stop::Said(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILURE_STATUS))),
    }
}

fn program(name: &str, invocation: &Invocation) -> Result<Command, Stop> {
    let path = launch::own_program(name);
    if !invocation.handlers.is_empty() {
        return Err(Failure::new(format!("this program does not carry out this command, {path} does")).into());
    }
    let mut command = Command::new(path);
    // The other program is called as this one was, so that it speaks the same dialect.
    command.arg0(&invocation.program);
    Ok(command)
}

fn not_started(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("while starting {}: {}", launch::own_program(name), reason_of(error)))
        .hint("ask the administrator to repair the installation: this command is a program of its own there")
}
