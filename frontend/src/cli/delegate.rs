//! Commands that a program of their own carries out, so that `lamina` starts without what only they link.
//!
//! `lamina` knows every command: it answers `--help`, refuses what cannot be understood and then becomes the other
//! program, with the same arguments. That program reads them again through [`super::main_of`] and does the work.

use super::given::Given;
use super::{Invocation, Stop};
use crate::error::Failure;
use crate::launch;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A command's name and what carries it out, given what was typed before and after the positionals began.
pub type Handler = (&'static str, fn(&Invocation, &Given, &[OsString]) -> Result<(), Stop>);

/// Becomes the program of this name in the installation's own folder.
///
/// # Errors
/// It is missing, cannot be started, or this program is one that `lamina` became and should have known the command.
pub fn become_program(name: &str, invocation: &Invocation) -> Result<(), Stop> {
    let path = launch::own_program(name);
    if !invocation.handlers.is_empty() {
        return Err(Failure::new(format!("this program does not carry out this command, {path} does")).into());
    }
    // The other program is called as this one was, so that it speaks the same dialect.
    let error = Command::new(&path).arg0(&invocation.program).args(std::env::args_os().skip(1)).exec();
    Err(Failure::new(format!("while starting {path}: {error}"))
        .hint("ask the administrator to repair the installation: this command is a program of its own there")
        .into())
}
