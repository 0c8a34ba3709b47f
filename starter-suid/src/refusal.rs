//! Why there is no container: the words, and the one way out.

use crate::caller::Caller;
use crate::{drop_root, sys};
use nix::errno::Errno;
use std::fmt;
use std::io::Write;

/// Exit status of every refusal and failure, as the incumbents have it.
pub const EXIT_STATUS: i32 = 255;

/// A reason to stop. The text names nothing that the caller could not have named himself.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Refusal {
    text: String,
    hint: Option<String>,
}

impl Refusal {
    /// The caller asked for something that cannot be.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }

    /// The site said no: `text`, and the line of the configuration that says so, if one was written.
    pub fn by_site(text: &str, directive: &str, line: Option<u32>) -> Self {
        let written = line.map_or_else(|| "default".to_owned(), |line| format!("line {line}"));
        Self::new(format!("{text} ('{directive}', {} {written})", crate::site_config::path()))
            .hint("only the administrator of this site can change that")
    }

    /// Something did not work: `doing` reads like "attaching a loop device".
    pub fn failed(doing: impl fmt::Display, error: Errno) -> Self {
        let failure = Self::new(format!("while {doing}: {}", error.desc()));
        match error {
            Errno::ENOSYS => {
                failure.hint("the starter needs Linux 5.14 or later; 'uname -r' says which one this is")
            }
            _ => failure,
        }
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the kernel said about it.
    pub fn because(mut self, words: &str) -> Self {
        self.text = format!("{} ({words})", self.text);
        self
    }

    /// The text and, on a second line, the hint: how a refusal travels from the mounter.
    pub fn to_lines(&self) -> String {
        [Some(self.text.as_str()), self.hint.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// The other way round.
    pub fn from_lines(lines: Vec<String>) -> Self {
        let mut lines = lines.into_iter();
        Self { text: lines.next().unwrap_or_default(), hint: lines.next() }
    }

    /// Gives up root, says why, and ends the process. Nothing is written while privileged: standard error is a
    /// descriptor that the caller chose.
    pub fn leave(self, caller: &Caller) -> ! {
        if drop_root::holds_nothing(caller) || drop_root::give_up(caller).is_ok() {
            say("FATAL:   container creation failed: ", &self.text);
            if let Some(hint) = self.hint {
                say("         ", &hint);
            }
        }
        sys::exit_now(EXIT_STATUS)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Says one line to the caller. Only for a process that is not privileged any more.
pub fn say(label: &str, text: &str) {
    let _ = std::io::stderr().write_all(format!("{label}{text}\n").as_bytes());
}

/// Turns the error of a system call into a [`Refusal`] that says what was being done.
pub trait Step<T> {
    /// `doing` reads like "attaching a loop device".
    fn step(self, doing: impl fmt::Display) -> Result<T, Refusal>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, doing: impl fmt::Display) -> Result<T, Refusal> {
        self.map_err(|error| Refusal::failed(doing, error))
    }
}

impl<T> Step<T> for Result<T, rustix::io::Errno> {
    fn step(self, doing: impl fmt::Display) -> Result<T, Refusal> {
        self.map_err(errno).step(doing)
    }
}

/// The same error in the words of the other library.
pub fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

impl<T> Step<T> for Result<T, caps::errors::CapsError> {
    fn step(self, doing: impl fmt::Display) -> Result<T, Refusal> {
        self.map_err(|_| Refusal::failed(doing, Errno::last()))
    }
}
