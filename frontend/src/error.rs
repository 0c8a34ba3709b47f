//! How a command fails: what was being done, to what, why, and what to do next.

use crate::message::shown;
use nix::errno::Errno;
use std::{fmt, io};

/// The exit status of every failure of ours, as scripts of the incumbents expect.
pub const FAILURE_STATUS: u8 = 255;

/// A failure that ends the command with `FATAL:` and [`FAILURE_STATUS`].
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

/// The result of anything that can end a command.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure described by one sentence: what was being done, to what, and why it did not work. Of a limit that is
    /// reached, it knows what to do next.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        let hint = remedy(&message).map(Into::into);
        Self { message, hint }
    }

    /// Adds what the user can do next, as one sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds why, in parentheses.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.message = format!("{} ({why})", self.message);
        self
    }

    /// Puts what was being done in front, as the incumbents chain their messages: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What the user can do next, if anything is known.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Turns an operating system error into a [`Failure`] that says what was being done.
pub trait Doing<T> {
    /// `doing` reads like "opening image /a/b".
    ///
    /// # Errors
    /// The error it was given, described.
    fn doing(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        // Errors of libraries repeat what they read, and that may be anybody's.
        self.map_err(|error| Failure::new(format!("while {}: {}", doing(), shown(reason_of(&error)))))
    }
}

/// What an error says to people: without the number that the standard library adds to the kernel's words, without the path
/// of a file under a made-up name that `tempfile` adds to that, and without the name that `nix` puts in front of them.
pub(crate) fn reason_of(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((words, rest)) = text.rsplit_once(" (os error ")
        && let Some((number, path)) = rest.split_once(')')
        && digits(number)
        && (path.is_empty() || path.starts_with(" at path \""))
    {
        let too_many_files = number.parse() == Ok(Errno::EMFILE as i32);
        return if too_many_files { FILES_SPENT } else { words }.to_owned();
    }
    let is_name = |text: &str| {
        let of_a_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        text.starts_with('E') && text.len() > 2 && text.bytes().all(of_a_name)
    };
    match text.split_once(": ") {
        Some((name, words)) if is_name(name) => words.to_owned(),
        _ => text,
    }
}

/// What the kernel means where it says of starting a process that it should be tried again.
const PROCESSES_SPENT: &str = "the limit on processes ('ulimit -u') is reached";
/// The kernel's words for a limit that may be met anywhere. C libraries have others.
const FILES_SPENT: &str = "Too many open files";

/// What to do about a limit that a message ends with.
fn remedy(message: &str) -> Option<&'static str> {
    if message.ends_with(FILES_SPENT) {
        Some("raise the limit on open files: 'ulimit -n 1024'")
    } else if message.ends_with(PROCESSES_SPENT) {
        Some("end some of your processes, or raise the limit as far as 'ulimit -Hu' allows")
    } else {
        None
    }
}

/// Why a process was not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotStarted(Errno);

impl From<Errno> for NotStarted {
    fn from(error: Errno) -> Self {
        Self(error)
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Errno::EAGAIN { f.write_str(PROCESSES_SPENT) } else { self.0.fmt(f) }
    }
}

impl std::error::Error for NotStarted {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_kernel_is_told_in_words_alone() {
        let closed = nix::errno::Errno::EACCES;
        assert_eq!(reason_of(&closed), "Permission denied");
        assert_eq!(reason_of(&std::io::Error::from(closed)), "Permission denied");
        let of_tempfile = tempfile::tempdir_in("/nonexistent").unwrap_err();
        assert_eq!(reason_of(&of_tempfile), "No such file or directory");
        for other in ["E: no", "invalid type: map", "EISDIR", "x (os error y)", "line 3: ENOENT: x"] {
            assert_eq!(reason_of(&other), other);
        }
    }

    #[test]
    fn a_limit_that_is_met_is_named_with_its_remedy() {
        let next = |failure: Outcome<()>| failure.unwrap_err().next_step().unwrap_or_default().to_owned();
        let full = Errno::EMFILE;
        for failure in [
            Err(full).doing(String::new),
            Err(io::Error::from(full)).doing(String::new),
            Err(NotStarted::from(full)).doing(String::new),
        ] {
            assert!(next(failure).contains("'ulimit -n 1024'"));
        }
        for error in [NotStarted::from(Errno::EAGAIN), io::Error::from(Errno::EAGAIN).into()] {
            let failure = Err::<(), _>(error).doing(|| "starting x".into()).unwrap_err();
            assert!(failure.to_string().ends_with("('ulimit -u') is reached"), "{failure}");
            assert!(failure.next_step().is_some_and(|next| next.contains("ulimit")));
        }
        // Of reading, it says something else.
        assert_eq!(next(Err(io::Error::from(Errno::EAGAIN)).doing(String::new)), "");
    }

    #[test]
    fn what_a_library_repeats_of_a_file_cannot_reach_the_terminal() {
        let failure =
            Err::<(), _>("no number: \u{1b}[31m\nFATAL:   x").doing(|| "reading".into()).unwrap_err();
        assert_eq!(failure.to_string(), "while reading: no number: \\u{1b}[31m\\nFATAL:   x");
    }
}
