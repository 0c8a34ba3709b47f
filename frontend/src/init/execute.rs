//! Finding the program in the container and becoming it.

use crate::error::{Failure, Outcome};
use crate::init::environment::Environment;
use crate::init::machine::{self, Kind};
use crate::message::shown;
use crate::payload::Text;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, stat};
use nix::unistd::execve;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Runs scripts that name no interpreter of their own.
pub(super) const SHELL: &str = "/bin/sh";

/// A program that was found, with its arguments.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<Text>,
}

/// Why a place holds no program.
enum Unfit {
    /// Nothing is there, or it cannot be reached.
    Unreachable(Errno),
    /// It is a directory.
    Directory,
    /// Nobody may execute it.
    NotExecutable,
}

impl Program {
    /// Looks a command up as a shell would: a name with a slash is a path, any other is searched for in `PATH`.
    ///
    /// # Errors
    /// When there is no such program, in the incumbents' words.
    pub(super) fn find(arguments: Vec<Text>, environment: &Environment) -> Outcome<Self> {
        let name = arguments.first().ok_or_else(|| Failure::new("no command to execute"))?;
        let path = locate(OsStr::from_bytes(name), environment.get("PATH").unwrap_or_default())?;
        Ok(Self { path, arguments })
    }

    /// Becomes the program, or says why not.
    pub(super) fn execute(self, environment: &Environment) -> Failure {
        let variables = environment.to_c_strings();
        let result = match execute(&self.path, &self.arguments, &variables) {
            Err(Errno::ENOEXEC)
                if machine::of_file(&self.path) == Kind::Other && self.path != Path::new(SHELL) =>
            {
                let mut arguments = vec![SHELL.into(), self.path.clone().into_os_string().into_vec()];
                arguments.extend(self.arguments.into_iter().skip(1));
                execute(Path::new(SHELL), &arguments, &variables)
            }
            result => result,
        };
        let Err(error) = result;
        failure(&self.path, error)
    }
}

fn execute(path: &Path, arguments: &[Text], variables: &[CString]) -> Result<Infallible, Errno> {
    let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let arguments = arguments.iter().map(|argument| c_string(argument)).collect::<Result<Vec<_>, _>>()?;
    execve(&c_string(path.as_os_str().as_bytes())?, &arguments, variables)
}

/// Why a program that is there could not be started.
fn failure(path: &Path, error: Errno) -> Failure {
    let interpreter = machine::interpreter(path);
    if let (Errno::ENOEXEC, Some(target)) = (error, foreign_machine(path, interpreter.as_deref())) {
        return Failure::new(format!("image targets '{target}', cannot run on '{}'", machine::HERE));
    }
    let why = match error {
        Errno::ENOENT => "a shared library is likely missing in the image".to_owned(),
        error => reason(error),
    };
    let failure = Failure::new(format!("exec {} failed: {why}", shown(path)));
    match interpreter.filter(|interpreter| error == Errno::ENOENT && !interpreter.exists()) {
        Some(missing) => {
            failure.hint(format!("it is a script for {}, which the image does not have", shown(missing)))
        }
        None => failure,
    }
}

/// The machine that the program, its interpreter or the image's shell is for, where that is another one.
fn foreign_machine(path: &Path, interpreter: Option<&Path>) -> Option<&'static str> {
    let executables = [Some(path), interpreter, Some(Path::new(SHELL))];
    executables.into_iter().flatten().find_map(|path| match machine::of_file(path) {
        Kind::Elf(target) if target != Some(machine::HERE) => Some(target.unwrap_or("unknown architecture")),
        _ => None,
    })
}

fn locate(name: &OsStr, search: &[u8]) -> Outcome<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        let path = absolute(Path::new(name));
        return match judge(&path) {
            Ok(()) => Ok(path),
            Err(unfit) => Err(unfit.describe(&path)),
        };
    }
    let directories = search.split(|byte| *byte == b':');
    directories
        .filter(|_| !name.is_empty() && !search.is_empty())
        .map(|directory| {
            Path::new(OsStr::from_bytes(if directory.is_empty() { b"." } else { directory })).join(name)
        })
        .find(|path| judge(path).is_ok())
        .ok_or_else(|| Failure::new(format!("\"{}\": executable file not found in $PATH", shown(name))))
}

/// A path as the incumbents show it: a relative one is joined to the working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether this place holds something that may be executed by somebody; the kernel judges the rest.
fn judge(path: &Path) -> Result<(), Unfit> {
    let mode = stat(path).map_err(Unfit::Unreachable)?.st_mode;
    if SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR {
        return Err(Unfit::Directory);
    }
    if !Mode::from_bits_truncate(mode).intersects(Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH) {
        return Err(Unfit::NotExecutable);
    }
    Ok(())
}

impl Unfit {
    fn describe(&self, path: &Path) -> Failure {
        let path = shown(path);
        Failure::new(match self {
            Self::Unreachable(error) => format!("stat {path}: {}", reason(*error)),
            Self::Directory => format!("{path}: is a directory"),
            Self::NotExecutable => format!("{path}: permission denied"),
        })
    }
}

/// Whether this place holds something that the user may execute: the shell's `test -x`.
pub(super) fn is_executable(path: &str) -> bool {
    judge(Path::new(path)).is_ok() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// An error of the kernel in the incumbents' words, which begin in lower case.
pub(super) fn reason(error: Errno) -> String {
    let mut characters = error.desc().chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

/// A command line from text.
pub(super) fn command(words: &[&str], arguments: &[Text]) -> Vec<Text> {
    words.iter().map(|word| OsString::from(word).into_vec()).chain(arguments.iter().cloned()).collect()
}
